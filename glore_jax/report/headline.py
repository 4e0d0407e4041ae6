"""What a reader has to know first: the result with its interval, beside its best fair rival."""

import textwrap

from glore_jax.report import patterns, system
from glore_jax.report.names import MODELS, RIVALS
from glore_jax.report.reading import Results, at, difference, number, told
from glore_jax.report.table import left_out, points, side

_VERDICTS = {
    patterns.HOLDS: "hold",
    patterns.FAILS: "do not",
    patterns.OPEN: "cannot be judged from this run",
}


def best_rival(results: Results) -> str | None:
    """The rival of highest accuracy, by its key in `pipeline`; None if none was measured.

    It is picked in hindsight, on the same questions, which favours the rivals.
    """
    found = {key: number(results, f"pipeline.{key}.acc") for key in RIVALS}
    known = {key: acc for key, acc in found.items() if acc is not None}
    return max(known, key=lambda key: known[key]) if known else None


def sentences(results: Results) -> list[str]:
    """The result in a few sentences; one that says why if there is none."""
    draft = number(results, "draft.acc")
    if draft is None:
        return [left_out(["result"], "draft")]
    found = [_result(results, draft)]
    if number(results, "pipeline.rerank.acc") is not None:
        found += [_rival(results), _oracle(results)]
    found += [_patterns(results), *_unlearned(results)]
    return [sentence for sentence in found if sentence]


def text(results: Results, width: int) -> str:
    """The same for a terminal, in lines of up to `width` characters."""
    return "\n".join(textwrap.fill(sentence, width) for sentence in sentences(results))


def _result(results: Results, draft: float) -> str:
    n = number(results, "draft.n")
    over = f"{n:,.0f} test questions" if n else "the test questions"
    if stories := told(at(results, "draft")):
        over += f", variations of {stories:,.0f} stories"
    beginning = f"Of {over}, the student's greedy draft solves {draft:.1%}"
    rerank = number(results, "pipeline.rerank.acc")
    if rerank is None:
        return f"{beginning}."
    gain = difference(results, "rerank_over_draft")
    by = f": {points(gain)}" if gain else " (too few different questions for an interval)"
    return (
        f"{beginning}, the system, which chooses among {system.among(results)}, {rerank:.1%}{by}."
    )


def _rival(results: Results) -> str:
    key = best_rival(results)
    if key is None:
        return "No rival was measured, so this does not say what refinement is worth."
    acc = number(results, f"pipeline.{key}.acc")
    name = RIVALS[key]
    draft = number(results, "draft.acc")
    below = " (less than the draft alone)" if acc and draft and acc < draft else ""
    beginning = f"Best rival: {name[0].lower()}{name[1:]}, with {acc:.1%}{below}"
    gain = difference(results, f"rerank_over_{key}")
    if gain is None:
        return f"{beginning}."
    verdict = {
        "above 0": "the system is ahead of it",
        "below 0": "the system is behind it",
        "includes 0": "the interval includes 0, so it is not shown to be better",
    }[side(gain)]
    return f"{beginning}; system against it: {points(gain)}, {verdict}."


def _oracle(results: Results) -> str:
    oracle = number(results, "pipeline.oracle.acc")
    if oracle is None:
        return ""
    beginning = f"An oracle choice among the candidates would solve {oracle:.1%}"
    closed = difference(results, "gap_closed")
    if closed is None:
        return f"{beginning}."
    return (
        f"{beginning}; the system closes {closed.value:.0%} of that gap "
        f"(95% interval {closed.low:.0%} to {closed.high:.0%})."
    )


def _patterns(results: Results) -> str:
    """Which of the paper's patterns hold, and which do not."""
    judged = at(results, "patterns") or []
    if not judged:
        return ""
    parts = []
    for verdict, words in _VERDICTS.items():
        places = [str(row["number"]) for row in judged if row["verdict"] == verdict]
        which = f" ({', '.join(places)})" if places else ""
        parts.append(f"{len(places)} {words}{which}")
    text = f"Of the paper's {len(judged)} patterns {', '.join(parts)}."
    failed = [
        f"{row['number']}, {row['claim']}" for row in judged if row["verdict"] == patterns.FAILS
    ]
    return f"{text} Not so here: {'; '.join(failed)}." if failed else text


def _unlearned(results: Results) -> list[str]:
    """A line for each reward model that learned nothing, or nothing of steps."""
    found = []
    for model, look in (at(results, "looks") or {}).items():
        name = MODELS.get(model, model)
        if look.get("learned") is False:
            found.append(f"{name} learned nothing: {look.get('why')}.")
        if why := at(look, "steps.why"):
            found.append(f"{name}: {why}.")
    return found
