"""Tables of how the figures came about: patterns, what was left out, settings, versions."""

from collections.abc import Mapping
from typing import Any

from glore_jax.report.names import MODELS
from glore_jax.report.reading import Results, at, finite, number
from glore_jax.report.table import NONE, Table, count, count_at, left_out, rate, rate_at


def patterns(results: Results) -> Table:
    """The verdict on each pattern of the paper."""
    title = "Patterns of the paper"
    judged = at(results, "patterns") or []
    if not judged:
        return Table(title, note=left_out(["verdicts on the paper's patterns"], "patterns"))
    rows = [
        (
            f"{row['number']}. {row['claim']} ({row['source']})",
            str(row["verdict"]),
            str(row["why"]),
        )
        for row in judged
    ]
    note = (
        "Holds: the 95% interval lies within what the paper shows; does not hold: outside of it; "
        "cannot be said: across its end, or not measured. About the same is within 0.03, clearly "
        "above is by more than that."
    )
    header = ("pattern", "this run", "rests on")
    return Table(title, header, tuple(rows), (1,), prose=True, note=note)


def left_out_items(results: Results) -> Table:
    """What stages did not use, or did not see to its end."""
    title = "Not used or cut off"
    entries = at(results, "left_out") or []
    if not entries:
        return Table(title, note=left_out(["counts of what was left out"], "left_out"))
    rows = [
        (f"{entry['stage']}: {entry['what']}", count_at(entry, "n"), count_at(entry, "of"))
        for entry in entries
    ]
    return Table(title, ("", "this run", "of"), tuple(rows), (1,))


def looks(results: Results) -> Table:
    """Whether the reward models learned anything."""
    title = "Did the reward models learn anything?"
    found = at(results, "looks") or {}
    if not found:
        return Table(title, note=left_out(["looks at the reward models"], "looks"))
    rows = []
    for model, look in found.items():
        verdict = {True: "yes", False: "no", None: "not known"}[look.get("learned")]
        why = f": {look['why']}" if look.get("why") else ""
        low, high = (rate(number(look, end)) for end in ("low", "high"))
        within = f"{rate_at(look, 'within_pair')} ({low} to {high})"
        figures = [rate_at(look, key) for key in ("spread", "acc", "majority")]
        counts = (count_at(look, "pairs"), count_at(look, "n"))
        loglik = rate_at(look, "within_pair_loglik")
        name = MODELS.get(model, model)
        rows.append((name, *figures, within, loglik, *counts, f"{verdict}{why}"))
    header = (
        *("", "spread", "accuracy", "majority class", "within pair", "log-lik."),
        *("pairs", "solutions", "learned"),
    )
    note = (
        "On solutions of training questions that were held out, at a threshold of 0.5. Spread: "
        "standard deviation of the scores."
    )
    return Table(title, header, tuple(rows), (1, 2, 4), note=note)


# The block `about`.

_BLOCKS = {
    "seeds": "seed",
    "samples": "K",
    "temperatures": "temperature",
    "settings": "setting",
    "devices": "ran on",
    "versions": "version",
}


def conditions(results: Results) -> Table:
    """Under which conditions the figures came about, but for the config."""
    title = "How the figures came about"
    block = at(results, "about") or {}
    if not block:
        return Table(title, note=left_out(["conditions of the run"], "about"))
    rows = [("config", str(block.get("config") or NONE))]
    rows.append(("commit of glore_jax", str(block.get("commit") or "not known")))
    rows.append(("what the base has read", str(block.get("base") or "not known")))
    rows += _marks(at(results, "marks") or {})
    for key, name in _BLOCKS.items():
        rows += [(f"{name}: {of}", _text(value)) for of, value in (block.get(key) or {}).items()]
    return Table(title, ("", "this run"), tuple(rows), (), prose=True)


def _marks(marks: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What decides, and of how many items of dev each was chosen."""
    rows = []
    counts = marks.get("dev_items") or {}
    for key, value in marks.items():
        values = {key: value}
        if isinstance(value, Mapping):
            values = {f"{key}.{of}": one for of, one in value.items()}
        for name, one in values.items():
            if key == "dev_items" or one is None:
                continue
            n = counts.get(name, counts.get(key))
            chosen = "" if n is None else f" (of {_text(n)} dev items)"
            rows.append((f"in force: {name}", f"{_text(one)}{chosen}"))
    return rows


def config(results: Results) -> Table:
    """The fields of the config that differ from the default."""
    title = "Fields that differ from the default"
    changed: Mapping[str, Any] = at(results, "about.changed") or {}
    if not changed:
        return Table(title, note=left_out(["the config"], "about.changed"))
    rows = tuple((f"`{field}`", _text(value)) for field, value in changed.items())
    return Table(title, ("field", "value"), rows, (), prose=True)


def _text(value: Any) -> str:
    """A number without needless digits, or a text as it is."""
    value_as_number = finite(value)
    if value_as_number is None:
        return str(value)
    whole = float(value_as_number).is_integer()
    return count(value_as_number) if whole else f"{value_as_number:.4g}"


def warnings(results: Results) -> Table:
    """What the stages warned of."""
    found = at(results, "warnings") or []
    return Table("Warnings", ("",), tuple((text,) for text in found), prose=True)
