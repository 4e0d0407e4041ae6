"""Tables of how the figures came about: patterns, what was left out, settings, versions."""

from collections.abc import Mapping
from typing import Any

from glore_jax.report.names import MODELS
from glore_jax.report.reading import Results, at, difference_at, finite, number
from glore_jax.report.table import NONE, Table, count, count_at, gain_text, left_out, rate, rate_at


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
    rows = [_look(MODELS.get(model, model), look) for model, look in found.items()]
    header = (
        *("", "spread", "accuracy", "majority class", "within pair", "log-lik.", "over it"),
        *("pairs", "solutions", "steps: accuracy", "their majority", "steps over it", "steps"),
        "learned",
    )
    note = (
        "On solutions of training questions that were held out, at a threshold of 0.5. Spread: "
        "standard deviation of the scores. Steps: of held-out drafts, against rollout labels. In "
        "brackets 95% intervals; those of differences are paired. A model whose score counts the "
        "log-likelihood begins with it, so that it has to be better than that."
    )
    return Table(title, header, tuple(rows), (1, 2, 4, 9), note=note)


def _look(name: str, look: Mapping[str, Any]) -> tuple[str, ...]:
    """The row of one reward model."""
    verdict = {True: "yes", False: "no", None: "not known"}[look.get("learned")]
    said = [look.get("why"), at(look, "steps.why")]
    why = "; ".join(text for text in said if text)
    low, high = (rate(number(look, end)) for end in ("low", "high"))
    return (
        name,
        *(rate_at(look, key) for key in ("spread", "acc", "majority")),
        f"{rate_at(look, 'within_pair')} ({low} to {high})",
        rate_at(look, "within_pair_loglik"),
        _gain(look, "over_loglik"),
        *(count_at(look, key) for key in ("pairs", "n")),
        *(rate_at(look, f"steps.{key}") for key in ("acc", "majority")),
        _gain(look, "steps.over_majority"),
        count_at(look, "steps.n"),
        f"{verdict}: {why}" if why else verdict,
    )


def _gain(look: Mapping[str, Any], path: str) -> str:
    """A difference of rates with its interval, of however few stories the look thought enough."""
    gain = difference_at(look, path, fewest=0)
    return gain_text(gain) if gain else NONE


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
