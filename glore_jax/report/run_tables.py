"""The tables that the paper does not have: rivals, lengths, expert iteration, cost."""

from collections.abc import Mapping

from glore_jax.report import system
from glore_jax.report.names import REFINEMENTS, RIVALS
from glore_jax.report.reading import (
    Difference,
    Results,
    at,
    difference,
    difference_at,
    number,
    stage_seconds,
    told,
)
from glore_jax.report.table import (
    NONE,
    Table,
    count,
    count_at,
    dependence,
    gain_range,
    gain_text,
    left_out,
    range_text,
    rate,
    rate_at,
    side,
    signed,
)


def answers(results: Results) -> Table:
    """The system beside the draft, its rivals and the oracle, each with the difference."""
    title = "The system and its rivals"
    if number(results, "pipeline.rerank.acc") is None:
        return Table(title, note=left_out(["the system and its rivals"], "pipeline"))
    ways = {"draft": "Draft", **RIVALS, "bo3_oracle": "Best of 3 samples, oracle"}
    rows = [_answer(results, "rerank", "System", None)]
    for key, name in ways.items():
        if number(results, f"pipeline.{key}.acc") is not None:
            rows.append(_answer(results, key, name, difference(results, f"rerank_over_{key}")))
    if number(results, "pipeline.oracle.acc") is not None:
        turned = _turned(difference(results, "oracle_over_rerank"))
        rows.append(_answer(results, "oracle", "Oracle choice among the candidates", turned))
    header = ("", "accuracy", "tokens", "n", "system against it", "95% interval")
    note = (
        f"The system chooses among {system.among(results)}. {system.how(results)} Intervals are "
        "paired: both answer the same questions, which a bootstrap draws anew"
        f"{_whole_stories(results)}. Tokens are those drawn for a question, "
        "where they were counted. Oracles know the right answers."
    )
    if closed := difference(results, "gap_closed"):
        note += (
            f" Of the gap between draft and oracle the system closes {signed(closed.value)} "
            f"({gain_range(closed)}), over the {count(closed.n)} questions that only the oracle "
            "solves."
        )
    return Table(title, header, tuple(rows), (1,), note=note)


def _whole_stories(results: Results) -> str:
    """How the bootstrap draws questions that are variations of each other; empty if none are."""
    stories = told(at(results, "draft") or {})
    return f", all those of a story together ({count(stories)} stories)" if stories else ""


def _answer(results: Results, key: str, name: str, gain: Difference | None) -> tuple[str, ...]:
    """One way to answer; `gain`: of the system over it."""
    base = f"pipeline.{key}"
    figures = (count_at(results, f"{base}.tokens"), count_at(results, f"{base}.n"))
    cells = (signed(gain.value), gain_range(gain)) if gain else (NONE, NONE)
    return (name, rate_at(results, f"{base}.acc"), *figures, *cells)


def _turned(gain: Difference | None) -> Difference | None:
    """The same difference the other way round."""
    return gain and Difference(-gain.value, -gain.high, -gain.low, gain.n)


def gains(results: Results, title: str, labels: Mapping[str, str], note: str = "") -> Table:
    """Those of the gains `labels` (their names by key) that the run has."""
    rows = []
    for key, name in labels.items():
        if gain := difference(results, key):
            cells = (signed(gain.value), gain_range(gain), count(gain.n), side(gain))
            rows.append((name, *cells))
    if not rows:
        return Table(title, note=left_out(["differences with their intervals"], "gains"))
    header = ("", "difference", "95% interval", "questions", "interval is")
    return Table(title, header, tuple(rows), (1,), note=note)


def by_steps(results: Results) -> Table:
    """The system by the length of the question's worked solution."""
    title = "By number of steps"
    entries = at(results, "by_steps") or []
    if not entries:
        return Table(title, note=left_out(["figures by number of steps"], "by_steps"))
    rows = []
    for entry in entries:
        n = number(entry, "n")
        accs = [number(entry, key) for key in ("draft", "rerank", "oracle")]
        cells = [text for acc in accs[:2] for text in (rate(acc), range_text(acc, n))]
        rows.append((count_at(entry, "steps"), count(n), *cells, rate(accs[2])))
    header = ("steps", "n", "draft", "95% interval", "system", "95% interval", "oracle")
    note = "Steps of the worked solution, the answer line not counted."
    note += dependence(at(results, "draft"))
    return Table(title, header, tuple(rows), (2, 4), note=note)


def rounds(results: Results) -> Table:
    """The rounds of expert iteration (EI)."""
    title = "Rounds of expert iteration"
    entries = at(results, "student.rounds") or []
    if not entries:
        return Table(title, note=left_out(["rounds of expert iteration"], "student.rounds"))
    rows = []
    for entry in entries:
        acc = number(entry, "acc")
        n = number(entry, "n")
        solutions = [count_at(entry, key) for key in ("examples", "too_long")]
        training = [rate_at(entry, key) for key in ("loss", "token_accuracy", "gradient_norm")]
        cells = (rate(acc), range_text(acc, n), count(n), count_at(entry, "truncated"))
        name = f"round {entry.get('round')}"
        rows.append((name, *cells, *solutions, *training, rate_at(entry, "fill")))
    header = (
        *("", "maj@1 on dev", "95% interval", "n", "cut off"),
        *("training solutions", "too long", "loss", "tokens guessed", "gradient", "fill"),
    )
    note = (
        "Round 0 is supervised fine-tuning (SFT) alone. Cut off: dev solutions that ran out of "
        "length; too long: training solutions that no row holds. Loss (nats a token), share of "
        "tokens guessed and norm of the gradient are means over the last updates; fill is the "
        "share of a batch that is no padding."
    ) + dependence(entries[0])
    return Table(title, header, tuple(rows), (1,), note=note)


def breaks(results: Results) -> Table:
    """Share of right drafts that a refinement makes wrong."""
    title = "Break rate on right drafts"
    rows = []
    for key, name in REFINEMENTS.items():
        value = number(results, f"refine.{key}.break_rate")
        n = number(results, f"refine.{key}.n_right")
        if value is not None:
            rows.append((name, rate(value), range_text(value, n), count(n)))
    if not rows:
        return Table(title, note=left_out(["break rates"], "refine"))
    header = ("", "this run", "95% interval", "n")
    note = "Share of right drafts whose refinement is wrong. The paper reports none."
    note += dependence(at(results, "draft"))
    return Table(title, header, tuple(rows), (1,), note=note)


def templates(results: Results) -> Table:
    """The pipeline on questions of templates that were never trained on."""
    title = "Unseen templates"
    if number(results, "templates.draft") is None:
        return Table(title, note=left_out(["unseen templates"], "templates"))
    n = number(results, "templates.n")
    kinds = (
        ("Draft", "draft", "draft.acc"),
        (system.row(results), "rerank", "pipeline.rerank.acc"),
        (system.oracle_row(results), "oracle", "pipeline.oracle.acc"),
    )
    rows = []
    for name, key, test_path in kinds:
        value = number(results, f"templates.{key}")
        if value is not None:
            test = rate_at(results, test_path)
            rows.append((name, rate(value), range_text(value, n), count(n), test))
    header = ("", "unseen templates", "95% interval", "n", "test set")
    note = "Question templates held out of all training, beside the test set."
    if gain := difference_at(results, "templates.rerank_over_draft"):
        note += f" On them system − draft is {gain_text(gain)}, paired."
    return Table(title, header, tuple(rows), (1,), beside=4, note=note)


def cost(results: Results) -> Table:
    """What the step labels cost and how long each stage took."""
    title = "Cost"
    kinds = (
        ("Rollouts for step labels", "rollouts"),
        ("The same with K rollouts at every step", "rollouts_full"),
        ("Tokens generated for them", "tokens"),
    )
    rows = []
    for name, key in kinds:
        if (value := number(results, f"cost.{key}")) is not None:
            rows.append((name, count(value)))
    if (seconds := number(results, "cost.seconds")) is not None:
        rows.append(("Seconds for them", f"{seconds:,.1f}"))
    stages = stage_seconds(results)
    rows += [(f"Stage {name}, seconds", f"{value:,.1f}") for name, value in stages.items()]
    if stages:
        rows.append(("All stages, seconds", f"{sum(stages.values()):,.1f}"))
    if not rows:
        return Table(title, note=left_out(["cost"], "cost"))
    return Table(title, ("", "this run"), tuple(rows), (1,))
