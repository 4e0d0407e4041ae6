"""What is measured on one split: one type a group of figures, each field with its meaning.

Stage `evaluate` makes `SplitFigures` and keeps them in `evaluate/results.json`; the whole of
`report.json` is `run_figures.Report`. Groups are checked when they are made and turn into JSON and
back (see `contract.py`). The order of the fields is the order of the keys in the files.

Models go by their names: `orm`, `sorm`, `balanced_orm` (an ORM trained on balanced labels) and,
where solutions are compared, `loglik` (the student's own log-likelihood).
"""

import dataclasses
from collections.abc import Mapping

from glore_jax.report.contract import (
    Figures,
    count,
    counts,
    group,
    groups,
    number,
    rate,
    rates,
    rows,
    step_counts,
)
from glore_jax.report.step_figures import Decisions, LabelTruth, Located, StepDecisions

# JSON lists of numbers, of which single ones may be missing.
Numbers = tuple[float | None, ...]


# Solutions and their steps.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Draft(Figures):
    """The student's greedy solutions, which the rest of the system works on."""

    acc: float | None = rate("share of questions whose draft is right")
    n: int | None = count("questions")
    stories: int | None = count("stories that they tell: variations of one count once")
    truncated: int | None = count("drafts cut off at the length limit")
    steps_mean: float | None = number("mean number of steps, the answer line not counted")
    first_error_histogram: tuple[tuple[int, int], ...] | None = step_counts(
        "[first wrong step, drafts], by the truth where the task knows it, else by rollout labels"
    )


# Refinement and choice.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refinement(Figures):
    """Drafts after one kind of refinement. A union counts a draft as right if either kind is."""

    fix_rate: float | None = rate("share of wrong drafts made right", over="n_wrong")
    n_wrong: int | None = count("wrong drafts")
    break_rate: float | None = rate("share of right drafts made wrong", over="n_right")
    n_right: int | None = count("right drafts")
    all_acc: float | None = rate("accuracy if every draft is replaced")
    oracle_when_acc: float | None = rate("accuracy if only the wrong drafts are replaced")
    n: int | None = count("drafts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice(Figures):
    """One way to choose one of several solutions to a question."""

    acc: float | None = rate("share of questions whose chosen solution is right")
    n: int | None = count("questions")
    tokens: float | None = number("tokens drawn for a question, the mean")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pipeline(Figures):
    """The whole system beside its rivals.

    The system's candidates are the draft, its global refinement and its local one (located by the
    SORM), and what `evaluate.suspects`, `.backtrack` and `.extra_samples` add. Samples are drawn at
    the temperature that serves the draft and two samples best on `dev`.
    """

    draft: Choice | None = group(Choice, "the draft is all")
    rerank: Choice | None = group(Choice, "the system chooses among the candidates")
    oracle: Choice | None = group(Choice, "a right candidate is chosen wherever there is one")
    rerank_loglik: Choice | None = group(Choice, "the likeliest of the candidates is chosen")
    base_judge: Choice | None = group(
        Choice, "the candidate that the untrained base finds likeliest is chosen"
    )
    base_refiner: Choice | None = group(
        Choice, "the ORM chooses among the draft and what the untrained base makes of it"
    )
    base_refiner_system: Choice | None = group(
        Choice, "among the same it is chosen as the system chooses, where that is not by the ORM"
    )
    greedy2_orm: Choice | None = group(Choice, "the ORM chooses among the draft and two samples")
    greedy2_system: Choice | None = group(
        Choice, "among the same it is chosen as the system chooses, where that is not by the ORM"
    )
    greedy2_loglik: Choice | None = group(Choice, "the likeliest of the same is chosen")
    majority3: Choice | None = group(
        Choice, "the commonest answer of the same, of equally common ones the likeliest's"
    )
    weighted3: Choice | None = group(
        Choice, "the answer of the same with the largest sum of ORM scores"
    )
    bo3: Choice | None = group(Choice, "the ORM chooses among three samples")
    bo3_oracle: Choice | None = group(Choice, "an oracle chooses among three samples")
    equal_orm: Choice | None = group(
        Choice,
        "the ORM chooses among the draft and as many samples as it takes to spend no fewer tokens "
        "than the system, or all there are; left out where two samples do",
    )
    equal_system: Choice | None = group(
        Choice, "among the same it is chosen as the system chooses, where that is not by the ORM"
    )
    equal_loglik: Choice | None = group(Choice, "the likeliest of the same is chosen")
    equal_majority: Choice | None = group(Choice, "the commonest answer of the same")
    equal_weighted: Choice | None = group(
        Choice, "the answer of the same with the largest sum of ORM scores"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gain(Figures):
    """A difference of two figures on the same questions, with a paired bootstrap interval.

    Resamples are of stories, which are the questions themselves where none is a variation of
    another; see `labels.bootstrap`.
    """

    value: float | None = number("the first figure minus the second")
    low: float | None = number("lower end of the 95 % interval")
    high: float | None = number("upper end of the 95 % interval")
    n: int | None = count("questions that count in it")
    stories: int | None = count("stories that these questions tell")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfLength(Figures):
    """The system on the questions whose worked solution has so many steps."""

    steps: int | None = count("steps of the worked solution, the answer line not counted")
    n: int | None = count("questions")
    draft: float | None = rate("accuracy of the greedy draft")
    rerank: float | None = rate("accuracy of the system's choice")
    oracle: float | None = rate("accuracy of an oracle's choice among the candidates")


# Many samples of a question.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scorer(Figures):
    """A scorer of whole solutions, by its score at the last step."""

    within_pair: float | None = rate(
        "share of pairs of a right and a wrong sample of one question in which the right one "
        "scores higher, a tie as half"
    )
    n: int | None = count("pairs")
    auc: float | None = rate("area under the ROC curve over samples of all questions", over="n_auc")
    n_auc: int | None = count("samples")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round(Figures):
    """One round of expert iteration; round 0 is supervised fine-tuning alone."""

    round: int | None = count("number of the round")
    acc: float | None = rate("greedy accuracy on split dev")
    n: int | None = count("questions of dev")
    stories: int | None = count("stories that they tell: variations of one count once")
    examples: int | None = count("solutions trained on")
    too_long: int | None = count("solutions left out because no row holds them")
    truncated: int | None = count("dev solutions cut off at the length limit")
    fill: float | None = number("share of the training rows' tokens that are no padding")
    gradient_norm: float | None = number("mean norm of the gradient over the last updates")
    loss: float | None = number("mean training loss over the last updates, nats a token")
    token_accuracy: float | None = number("share of target tokens guessed, over the last updates")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Student(Figures):
    """The student alone: greedy, and with K samples a question."""

    K: int | None = count("samples a question")
    n: int | None = count("questions")
    maj1: float | None = rate("greedy accuracy")
    mean1: float | None = rate("accuracy of one sample, the mean over all")
    majK: float | None = rate("accuracy of the commonest answer")
    passK: float | None = rate("share of questions with a right sample")
    rerankK: float | None = rate("accuracy of the sample with the highest ORM score")
    rerankK_sorm: float | None = rate("accuracy of the sample with the highest SORM score")
    loglikK: float | None = rate("accuracy of the likeliest sample")
    truncated: int | None = count("samples cut off at the length limit")
    rounds: tuple[Round, ...] | None = rows(Round, "expert iteration, in order")


# Curves.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Band(Figures):
    """Accuracy over resamples, one entry for each K of the axis."""

    mean: Numbers | None = rates("mean", over="")
    low: Numbers | None = rates("10 % quantile", over="")
    high: Numbers | None = rates("90 % quantile", over="")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RerankCurves(Figures):
    """Accuracy of one of K samples, by who chooses it, along `k`."""

    AXIS = "k"

    k: tuple[int, ...] | None = counts("samples a question")
    pass_: Band | None = group(Band, "a right sample, if there is one")
    majority: Band | None = group(Band, "the commonest answer")
    orm: Band | None = group(Band, "the highest ORM score")
    sorm: Band | None = group(Band, "the highest SORM score")
    balanced_orm: Band | None = group(Band, "the highest score of the balanced ORM")
    loglik: Band | None = group(Band, "the highest log-likelihood")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelRates(Figures):
    """Good step labels by the length of the prefix that they judge."""

    AXIS = "length"

    length: tuple[int, ...] | None = counts("steps of the prefix, from 1")
    rate: Numbers | None = rates("share of good labels, before balancing")
    n: tuple[int, ...] | None = counts("labels")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reliability(Figures):
    """What step scores promise against what holds, in bins of the score without the empty ones."""

    AXIS = "p"

    p: Numbers | None = rates("mean score")
    rate: Numbers | None = rates("share of right steps")
    n: tuple[int, ...] | None = counts("steps")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreHistogram(Figures):
    """Step scores in equal bins of 0..1."""

    right: tuple[int, ...] | None = counts("right steps in each bin")
    wrong: tuple[int, ...] | None = counts("wrong steps in each bin")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves(Figures):
    """What the plots show beyond single figures. Steps are judged by the truth where the task knows
    it, else by rollout labels."""

    label_rate: LabelRates | None = group(LabelRates, "rollout labels of the greedy drafts")
    label_rate_training: LabelRates | None = group(
        LabelRates, "rollout labels of training; in report.json alone"
    )
    reliability: Mapping[str, Reliability] | None = groups(Reliability, "by reward model")
    scores: Mapping[str, ScoreHistogram] | None = groups(ScoreHistogram, "by reward model")
    rerank: RerankCurves | None = group(RerankCurves, "choices among samples")


# The whole.


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelCost(Figures):
    """What step labels cost."""

    rollouts: int | None = count("rollouts made")
    rollouts_full: int | None = count("rollouts that K at every step would be")
    tokens: int | None = count("tokens drawn, ends of sequence included")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitFigures(Figures):
    """Everything measured on one split. What a run did not do is left out."""

    draft: Draft | None = group(Draft, "greedy solutions")
    final: Mapping[str, Decisions] | None = groups(
        Decisions, "scores at the last step as judges of the final answer, by reward model"
    )
    refine: Mapping[str, Refinement] | None = groups(
        Refinement,
        "by kind: global, local_orm, local_sorm, union_orm, union_sorm; base_global and base_local "
        "of the untrained base; what the config adds",
    )
    pipeline: Pipeline | None = group(Pipeline, "the whole system")
    gains: Mapping[str, Gain] | None = groups(
        Gain, "differences by name, FIRST_over_SECOND (`names.gain`)"
    )
    by_steps: tuple[OfLength, ...] | None = rows(
        OfLength, "by steps of the worked solution, where the task has one"
    )
    curves: Curves | None = group(Curves, "for the plots")
    step_truth: Mapping[str, StepDecisions] | None = groups(
        StepDecisions, "step scores against the truth, by reward model"
    )
    label_truth: LabelTruth | None = group(LabelTruth, "rollout labels of this split's drafts")
    step: Mapping[str, StepDecisions] | None = groups(
        StepDecisions, "step scores against rollout labels, by reward model"
    )
    located: Mapping[str, Located] | None = groups(
        Located, "places of [BAD] against rollout labels, by reward model"
    )
    located_truth: Mapping[str, Located] | None = groups(
        Located, "places of [BAD] against the truth, by reward model"
    )
    cost: LabelCost | None = group(LabelCost, "of this split's labels")
    scorer: Mapping[str, Scorer] | None = groups(
        Scorer, "scores of whole solutions, by reward model, and loglik"
    )
    student: Student | None = group(Student, "the student alone")
