"""Differences of figures on the same questions, each with its paired bootstrap interval.

A gain is named FIRST_over_SECOND, behind the figure that it is a difference of where that is not
the accuracy of answers: `rerank_over_draft`, `fix_local_sorm_over_local_orm`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from glore_jax.labels import metrics
from glore_jax.labels.bootstrap import Interval, Ratio, paired_intervals
from glore_jax.report import figures
from glore_jax.stages.evaluation.candidates import BASE_KINDS
from glore_jax.stages.evaluation.draft_figures import Labels, Outcomes, Refined, Scores, first_wrong
from glore_jax.stages.evaluation.sample_figures import Samples

Pairs = dict[str, tuple[Ratio, Ratio]]

# Where errors of reward models are told apart: the paper's threshold. One that is chosen for the
# highest accuracy has taken away what is asked for, that a model is too pessimistic.
_HALF = 0.5


def gains(stories: Sequence[str], pairs: Pairs, seed: int) -> dict[str, figures.Gain]:
    """The gains of `pairs` by name, without those that are not defined.

    `stories`: the name of each question's story, in the order of the drafts.
    """
    found = paired_intervals(stories, pairs, seed)
    return {name: _gain(interval) for name, interval in found.items() if interval is not None}


def _gain(interval: Interval) -> figures.Gain:
    return figures.Gain(
        value=interval.value,
        low=interval.low,
        high=interval.high,
        n=interval.n,
        stories=interval.clusters,
    )


# What can be compared. Ratios have one entry a question, in the order of the drafts.


def of_answers(right: Mapping[str, Outcomes]) -> Pairs:
    """The system against the draft and each rival, and its share of the oracle's gain."""
    ratio = {name: Ratio.share(outcomes) for name, outcomes in right.items()}
    system = ratio["rerank"]
    pairs = {
        f"rerank_over_{name}": (system, rival)
        for name, rival in ratio.items()
        if name not in ("rerank", "oracle")
    }
    pairs["oracle_over_rerank"] = (ratio["oracle"], system)
    draft = ratio["draft"].hits
    closed = Ratio.make(system.hits - draft, ratio["oracle"].hits - draft)
    pairs["gap_closed"] = (closed, Ratio.constant(0.0, closed))
    return pairs


def of_refinements(draft: Outcomes, refined: Sequence[Refined]) -> Pairs:
    """Fix rates against each other and against the untrained base's, where it was asked, and what
    refining every draft, or only wrong ones, brings."""
    before = np.asarray(draft, bool)
    wrong = (~before).astype(float)
    after = {
        kind: np.array([record[kind]["correct"] for record in refined], bool)
        for kind in ("global", "local_orm", "local_sorm", *BASE_KINDS)
        if all(kind in record for record in refined)
    }
    after["union_sorm"] = after["global"] | after["local_sorm"]
    fixed = {kind: Ratio.make(wrong * right, wrong) for kind, right in after.items()}
    pairs = {
        f"fix_{a}_over_{b}": (fixed[a], fixed[b])
        for a, b in (
            ("local_sorm", "local_orm"),
            ("global", "local_sorm"),
            ("union_sorm", "global"),
            ("union_sorm", "local_sorm"),
            ("global", "base_global"),
            ("local_sorm", "base_local"),
        )
        if b in fixed
    }
    drafts = Ratio.share(before)
    for kind in ("global", "local_sorm"):
        pairs[f"every_{kind}_over_draft"] = (Ratio.share(after[kind]), drafts)
        pairs[f"only_wrong_{kind}_over_draft"] = (Ratio.share(before | after[kind]), drafts)
    return pairs


def of_steps(
    name: str, scores: Mapping[str, Scores], labels: Labels, thresholds: Mapping[str, float]
) -> Pairs:
    """ORM and SORM as judges of steps, against each other and against the majority class.

    Which of their wrong calls are false alarms is counted at .5, whatever the thresholds are.

    `name`: of what the labels are (`steps`: rollouts, `truth`), in front of the gains' names.
    """
    calls = {m: _Calls.of(scores[m], labels, thresholds[m]) for m in ("orm", "sorm")}
    majority = _majority(labels)
    acc = {model: of.right for model, of in calls.items()}
    pairs = {
        f"{name}_sorm_over_orm": (acc["sorm"], acc["orm"]),
        f"{name}_sorm_over_majority": (acc["sorm"], majority),
        f"{name}_orm_over_majority": (acc["orm"], majority),
    }
    alarms = {model: _Calls.of(scores[model], labels, _HALF).alarms for model in calls}
    for model, share in alarms.items():
        pairs[f"{name}_{model}_alarms_over_half"] = (share, Ratio.constant(0.5, share))
    pairs[f"{name}_orm_alarms_over_sorm"] = (alarms["orm"], alarms["sorm"])
    return pairs


class _Calls:
    """Calls of one reward model. `right`: right calls over steps; `alarms`: false alarms over wrong
    calls."""

    def __init__(self, right: Ratio, alarms: Ratio):
        self.right = right
        self.alarms = alarms

    @classmethod
    def of(cls, scores: Scores, labels: Labels, threshold: float) -> "_Calls":
        rows = []
        for step_scores, step_labels in zip(scores, labels, strict=True):
            good = np.asarray(step_labels or (), bool)
            called_bad = np.asarray(step_scores if step_labels else (), float) <= threshold
            right = int((called_bad == ~good).sum())
            rows.append((right, len(good), int((called_bad & good).sum()), len(good) - right))
        hits, steps, alarms, errors = np.array(rows, float).reshape(-1, 4).T
        return cls(Ratio.make(hits, steps), Ratio.make(alarms, errors))


def _majority(labels: Labels) -> Ratio:
    """Calling every step what most steps are."""
    good = np.array([sum(map(bool, steps or ())) for steps in labels], float)
    steps = np.array([len(steps or ()) for steps in labels], float)
    mostly_good = good.sum() >= steps.sum() / 2
    return Ratio.make(good if mostly_good else steps - good, steps)


def of_marks(name: str, marked: Mapping[str, Sequence[int | None]], labels: Labels) -> Pairs:
    """First errors found on wrong drafts, by the SORM's mark and by the ORM's.

    `marked`: by reward model, the index of the step behind the mark of each draft.
    """
    first = [first_wrong(steps) if steps else -1 for steps in labels]
    wrong = np.array([index >= 0 for index in first], float)
    found = {}
    for model, places in marked.items():
        hits = [place == index for place, index in zip(places, first, strict=True)]
        found[model] = Ratio.make(wrong * np.array(hits, float), wrong)
    return {f"{name}_found_sorm_over_orm": (found["sorm"], found["orm"])}


def of_finals(
    finals: Mapping[str, Sequence[float]], draft: Outcomes, thresholds: Mapping[str, float]
) -> Pairs:
    """ORM and SORM as judges of final answers. `finals`: scores of the drafts' last steps."""
    right = np.asarray(draft, bool)
    acc = {}
    for model in ("orm", "sorm"):
        called_right = np.asarray(finals[model], float) > thresholds[model]
        acc[model] = Ratio.share(called_right == right)
    majority = Ratio.share(right == (right.mean() >= 0.5))
    return {
        "final_orm_over_sorm": (acc["orm"], acc["sorm"]),
        "final_orm_over_majority": (acc["orm"], majority),
    }


def of_samples(samples: Samples, questions: Sequence[str]) -> Pairs:
    """Scorers of whole solutions: pairs of samples, and the best of K."""
    place = {question: i for i, question in enumerate(samples.questions)}
    order = [place[question] for question in questions]
    pairs_of = {}
    for scorer in ("orm", "loglik"):
        rows = zip(samples.by_question(samples.scores[scorer]), samples.correct, strict=True)
        won = np.array([metrics.pair_wins(*row) for row in rows], float).reshape(-1, 2)[order]
        pairs_of[scorer] = Ratio.make(won[:, 0], won[:, 1])
    best = {m: Ratio.share(np.array(samples.best(m), float)[order]) for m in ("orm", "sorm")}
    return {
        "pairs_orm_over_loglik": (pairs_of["orm"], pairs_of["loglik"]),
        "best_of_k_orm_over_sorm": (best["orm"], best["sorm"]),
    }
