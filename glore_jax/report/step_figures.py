"""Figures of decisions about steps and answers: the reward models', and those of the labels."""

import dataclasses

from glore_jax.report.contract import Figures, count, number, rate, rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decisions(Figures):
    """Scores as judges of right and wrong: an item is called wrong if its score is no higher than
    the threshold in force (`marks`)."""

    acc: float | None = rate("share of items called what they are")
    majority: float | None = rate("the same for calling all items what most of them are")
    f1: float | None = rate("harmonic mean of precision and recall in finding the wrong items")
    false_alarm: float | None = rate("share of right items called wrong")
    missed: float | None = rate("share of wrong items called right")
    n: int | None = count("items: drafts, or steps of drafts with the last one included")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepDecisions(Decisions):
    """Scores as judges of steps, and of where a solution goes wrong first."""

    first_error_acc: float | None = rate(
        "share of drafts, right ones too, for which the first step at or below the mark is the "
        "first wrong one, or there is neither"
    )
    auc: float | None = rate("area under the ROC curve over all steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Located(Figures):
    """Where a reward model's mark, `[BAD]`, stands, at the mark in force (`marks`)."""

    found: float | None = rate("share of wrong drafts marked at their first wrong step", "n_wrong")
    early: float | None = rate("share of wrong drafts marked before it", "n_wrong")
    late: float | None = rate("share of wrong drafts marked behind it", "n_wrong")
    missed: float | None = rate("share of wrong drafts without a mark", "n_wrong")
    offset: float | None = number(
        "mean of the marked step minus the first wrong one over wrong drafts with a mark, in steps"
    )
    n_wrong: int | None = count("drafts with a wrong step")
    false_alarm: float | None = rate("share of right drafts with a mark", "n_right")
    n_right: int | None = count("drafts without a wrong step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsOfStep(Figures):
    """Rollout labels of one step of the drafts graded wrong, against the truth."""

    step: int | None = count("which step, from 1")
    acc: float | None = rate("share of labels that agree with the truth")
    n: int | None = count("labels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsByK(Figures):
    """What k of the rollouts of each prefix would have said of the drafts graded wrong.

    A prefix that all rollouts settled hides what comes before it, so that fewer rollouts leave two
    bounds.
    """

    k: int | None = count("rollouts of a prefix")
    settled: float | None = rate("share of drafts whose labels would be the same")
    first_error_low: float | None = rate("least share with the true first error")
    first_error_high: float | None = rate("most share with the true first error")
    n: int | None = count("drafts graded wrong that have a wrong step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelTruth(Figures):
    """Rollout labels against the truth, over steps before the last (whose label is graded)."""

    acc: float | None = rate("share of labels that agree with the truth")
    n: int | None = count("labels")
    strict_acc: float | None = rate(
        "agreement with the truth that also counts slips which can still come out right"
    )
    false_positive: float | None = rate("share of the truly wrong prefixes that are labelled good")
    false_negative: float | None = rate("share of the truly right prefixes that are labelled bad")
    wrong_acc: float | None = rate("`acc` of drafts graded wrong alone", "wrong_n")
    wrong_n: int | None = count("labels of drafts graded wrong")
    by_step: tuple[LabelsOfStep, ...] | None = rows(LabelsOfStep, "`wrong_acc` step by step")
    errors: int | None = count("drafts graded wrong that have a wrong step")
    first_error_acc: float | None = rate(
        "share of these whose labels turn bad at the first wrong step", "errors"
    )
    offset: float | None = number(
        "mean of the first step labelled bad minus the first wrong one over these, in steps"
    )
    by_k: tuple[LabelsByK, ...] | None = rows(
        LabelsByK, "the same with fewer rollouts, where the records tell"
    )
