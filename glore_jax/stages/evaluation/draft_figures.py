"""Figures of the test drafts: how good they are, what the reward models say of them, and what
refinement makes of them.

Scores of a draft are one probability a step. Labels of a draft are 1 or 0 a step (right or wrong,
by the truth or by rollouts), or None where nobody knows.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from glore_jax.labels import metrics
from glore_jax.labels.balance import label_rates
from glore_jax.records import LabelledDraft, Sample
from glore_jax.report import figures
from glore_jax.report.step_figures import Decisions, Located, StepDecisions
from glore_jax.stages.evaluation.split_records import Refined, Scores

Labels = Sequence[Sequence[int | bool] | None]
Outcomes = Sequence[int | float]  # one a question, in 0..1: is the answer right, or how often

LOCAL_KINDS = ("local_orm", "local_sorm")


def last_scores(scores: Iterable[Sequence[float] | np.ndarray]) -> list[float]:
    """`metrics.last_score` of each solution."""
    return [metrics.last_score(steps) for steps in scores]


# The drafts themselves.


def draft(drafts: Sequence[Sample], labels: Labels, stories: Sequence[str]) -> figures.Draft:
    """How good the drafts are, and where those that go wrong do so first according to `labels`.

    `stories`: the name of the story of each draft's question.
    """
    errors = [first_wrong(steps) + 1 for steps in labels if steps and 0 in map(int, steps)]
    # The last step is the answer line; an empty draft has no steps, not minus one.
    lengths = [max(len(d["steps"]) - 1, 0) for d in drafts]
    return figures.Draft(
        acc=float(np.mean([d["correct"] for d in drafts])),
        n=len(drafts),
        stories=len(set(stories)),
        truncated=sum(not d["ended"] for d in drafts),
        steps_mean=float(np.mean(lengths)),
        first_error_histogram=tuple((step, errors.count(step)) for step in sorted(set(errors))),
    )


def first_wrong(labels: Sequence[int | bool]) -> int:
    """Index of the first step labelled wrong, -1 if there is none."""
    wrong = [i for i, label in enumerate(labels) if not label]
    return wrong[0] if wrong else -1


# The reward models as judges.


def _labelled_steps(scores: Scores, labels: Labels) -> tuple[list[float], list[int]]:
    """(scores, labels) of all steps of the drafts that have labels, one after the other."""
    flat_scores: list[float] = []
    flat_labels: list[int] = []
    for step_scores, step_labels in zip(scores, labels, strict=True):
        if step_labels is None:
            continue
        for score, label in zip(step_scores, step_labels, strict=True):
            flat_scores.append(score)
            flat_labels.append(int(label))
    return flat_scores, flat_labels


def steps(scores: Scores, labels: Labels, threshold: float, mark: float) -> StepDecisions:
    """Scores as judges of steps, over all steps with the final one, as in the paper's table 1.

    `threshold`: at or below it a step is called wrong; `mark`: the first step at or below it is
    taken for the first wrong one.
    """
    flat_scores, flat_labels = _labelled_steps(scores, labels)
    called = []
    true = []
    for step_scores, step_labels in zip(scores, labels, strict=True):
        if step_labels:
            called.append(metrics.first_error(step_scores, mark))
            true.append(first_wrong(step_labels))
    decisions = {
        **metrics.binary_scores(flat_scores, flat_labels, threshold),
        "first_error_acc": metrics.first_error_accuracy(called, true)["acc"],
        "auc": metrics.auc(flat_scores, flat_labels)[0],
    }
    return StepDecisions.from_json(decisions)


def located(marked: Sequence[int | None], labels: Labels) -> Located:
    """Where marks stand against the first steps labelled wrong.

    `marked`: index of the step behind the mark of each draft, None without a mark. Drafts without
    labels or steps do not count.
    """
    pairs = [
        (-1 if place is None else place, first_wrong(of_draft))
        for place, of_draft in zip(marked, labels, strict=True)
        if of_draft
    ]
    places = np.array([place for place, _ in pairs], np.int64)
    first = np.array([first for _, first in pairs], np.int64)
    wrong = first >= 0
    is_marked = places >= 0
    found = metrics.first_error_accuracy(places, first)
    return Located.from_json(
        {
            "found": found["wrong_acc"],
            "early": metrics.mean((is_marked & (places < first))[wrong]),
            "late": metrics.mean((places > first)[wrong]),
            "missed": metrics.mean(~is_marked[wrong]),
            "offset": found["offset"],
            "n_wrong": found["wrong_n"],
            "false_alarm": metrics.mean(is_marked[~wrong]),
            "n_right": found["right_n"],
        }
    )


def final(scores: Scores, drafts: Sequence[Sample], threshold: float) -> Decisions:
    """The scores at the last step as judges of the final answers, as in the paper's table 2."""
    correct = [int(d["correct"]) for d in drafts]
    decisions = metrics.binary_scores(last_scores(scores), correct, threshold)
    return Decisions.from_json(decisions)


def reliability(scores: Scores, labels: Labels) -> figures.Reliability:
    """What the step scores promise against what holds, in the bins that have a step."""
    bins = metrics.reliability(*_labelled_steps(scores, labels))["bins"]
    filled = [row for row in bins if row["n"]]
    return figures.Reliability(
        p=tuple(row["prob"] for row in filled),
        rate=tuple(row["rate"] for row in filled),
        n=tuple(row["n"] for row in filled),
    )


def score_histogram(scores: Scores, labels: Labels) -> figures.ScoreHistogram:
    """The scores of right and of wrong steps, counted in equal bins."""
    flat = list(zip(*_labelled_steps(scores, labels), strict=True))
    right = metrics.histogram01([score for score, label in flat if label == 1])
    wrong = metrics.histogram01([score for score, label in flat if label == 0])
    return figures.ScoreHistogram(right=tuple(right["counts"]), wrong=tuple(wrong["counts"]))


def label_rate(labelled: Sequence[LabelledDraft]) -> figures.LabelRates:
    """Good rollout labels by the length of their prefix."""
    return rate_curve(label_rates(labelled))


def rate_curve(rows: Sequence[Mapping[str, Any]]) -> figures.LabelRates:
    """The rows of `balance.label_rates` as a curve."""
    columns = {key: [row[key] for row in rows] for key in ("length", "rate", "n")}
    return figures.LabelRates.from_json(columns)


# Refinement.


def refinements(
    drafts: Sequence[Sample], refined: Sequence[Refined]
) -> dict[str, figures.Refinement]:
    """By kind of refinement, and for the unions of the global one with either local one."""
    before = np.array([d["correct"] for d in drafts], bool)
    kinds = dict.fromkeys(("global", *LOCAL_KINDS))
    kinds |= dict.fromkeys(kind for record in refined for kind in record)

    def correct(kind: str) -> np.ndarray:
        # A draft without a refinement of this kind stays as it is.
        rows = zip(drafts, refined, strict=True)
        return np.array([record.get(kind, d)["correct"] for d, record in rows], bool)

    after = {kind: correct(kind) for kind in kinds}
    for kind in LOCAL_KINDS:
        union = kind.replace("local", "union")
        after[union] = after["global"] | after[kind]
    return {kind: _refinement(before, fixed) for kind, fixed in after.items()}


def _refinement(before: np.ndarray, after: np.ndarray) -> figures.Refinement:
    """`before`, `after`: bool [drafts], is the draft right, is what replaces it."""
    wrong = ~before
    return figures.Refinement(
        fix_rate=float(after[wrong].mean()) if wrong.any() else None,
        n_wrong=int(wrong.sum()),
        break_rate=float((~after[before]).mean()) if before.any() else None,
        n_right=int(before.sum()),
        all_acc=float(after.mean()),
        oracle_when_acc=float((before | after).mean()),
        n=len(before),
    )


def by_steps(lengths: Sequence[int], right: Mapping[str, Outcomes]) -> tuple[figures.OfLength, ...]:
    """The system by the length of the question's worked solution.

    `lengths`: its steps without the answer line; below 1 where there is none.
    """
    of = np.array(lengths, np.int64)
    rows = []
    for steps in np.unique(of[of > 0]).tolist():
        here = of == steps
        shares = {
            name: float(np.mean(np.asarray(right[name], float)[here]))
            for name in ("draft", "rerank", "oracle")
        }
        rows.append(figures.OfLength(steps=steps, n=int(here.sum()), **shares))
    return tuple(rows)
