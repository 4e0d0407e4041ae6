"""The whole of `report.json`: the main split's figures, and what is known of the run besides."""

import dataclasses
from collections.abc import Mapping

from glore_jax.report.contract import (
    Figures,
    count,
    flag,
    group,
    groups,
    number,
    numbers_by_name,
    rate,
    rows,
    text,
    texts,
    texts_by_name,
)
from glore_jax.report.figures import Gain, LabelCost, SplitFigures
from glore_jax.report.step_figures import LabelTruth


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotalCost(LabelCost):
    """What the step labels of training cost."""

    seconds: float | None = number("seconds of stage rollout")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Templates(Figures):
    """The system on questions of templates that were never trained on."""

    n: int | None = count("questions")
    draft: float | None = rate("accuracy of the greedy draft")
    rerank: float | None = rate("accuracy of the system's choice")
    oracle: float | None = rate("accuracy of an oracle's choice among the candidates")
    rerank_over_draft: Gain | None = group(Gain, "the system's accuracy minus the draft's")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudentModel(Figures):
    """The model that is trained."""

    base: str | None = text("`model.base` of the config")
    parameters: int | None = count("weights of the student")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks(Figures):
    """What decides: chosen on split `dev` before test questions were touched, or given by the
    config; the curves are in `evaluate/choices.json`."""

    mark: Mapping[str, float] | None = numbers_by_name(
        "by reward model, the score at or below which the first step counts as the first wrong "
        "one; it gets [BAD] if the model is a locator"
    )
    step_threshold: Mapping[str, float] | None = numbers_by_name(
        "by reward model, the score at or below which a step is called wrong"
    )
    final_threshold: Mapping[str, float] | None = numbers_by_name(
        "by reward model, the score at or below which a whole solution is called wrong"
    )
    temperature: float | None = number("of samples of test questions")
    choose: str | None = text("who chooses among the candidates: orm, vote or combination")
    combination: Mapping[str, float] | None = numbers_by_name("by feature, its weight")
    dev_items: Mapping[str, float] | None = numbers_by_name(
        "by choice, of how many items of dev it was made; 0: by none, the config gives the value"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Head(Figures):
    """What the page and its tables have to know of the run."""

    name: str | None = text("`name` of the config")
    task: str | None = text("`task.name` of the config")
    model: StudentModel | None = group(StudentModel, "the base and its size")
    paper_column: str | None = text("the paper's column to compare with; empty: none fits")
    marks: Marks | None = group(Marks, "marks, thresholds and the temperature in force")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeftOut(Figures):
    """Something that a stage did not use, or did not see to its end."""

    stage: str | None = text("stage")
    what: str | None = text("what was left out and why")
    n: int | None = count("how many")
    of: int | None = count("of how many; null where that is not counted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepLook(Figures):
    """What was seen of the steps of held-out drafts with rollout labels."""

    n: int | None = count("steps")
    acc: float | None = rate("share of steps called what they are, at a threshold of .5")
    majority: float | None = rate("the same for calling all what most of them are")
    over_majority: Gain | None = group(Gain, "the first minus the second")
    why: str | None = text("that they are called no better than the majority class; else empty")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look(Figures):
    """What the stage that trained a reward model saw of it, on solutions of held-out questions."""

    learned: bool | None = flag("whether it learned anything; null if the solutions do not tell")
    why: str | None = text("why it is not said that it did")
    n: int | None = count("solutions")
    spread: float | None = number("standard deviation of its scores")
    acc: float | None = rate("share of solutions called what they are, at a threshold of .5")
    majority: float | None = rate("the same for calling all what most of them are")
    within_pair: float | None = rate(
        "share of pairs of a right and a wrong solution of one question in which the right one "
        "scores higher",
        over="pairs",
    )
    low: float | None = rate("lower end of its 95 % interval", over="pairs")
    high: float | None = rate("upper end of its 95 % interval", over="pairs")
    within_pair_loglik: float | None = rate("the same of the log-likelihood", over="pairs")
    over_loglik: Gain | None = group(
        Gain, "`within_pair` minus `within_pair_loglik`; decides where the model counts it"
    )
    pairs: int | None = count("pairs")
    steps: StepLook | None = group(StepLook, "the SORM's steps of held-out drafts")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pattern(Figures):
    """One pattern of the paper, and whether this run shows it."""

    number: int | None = count("place in the list, from 1")
    claim: str | None = text("what the paper shows")
    source: str | None = text("where the paper shows it")
    verdict: str | None = text("holds, does not hold, or cannot be said")
    why: str | None = text("the figures it rests on, with their intervals")
    rests_on: tuple[str, ...] | None = texts("the same as names of `gains`")


@dataclasses.dataclass(frozen=True, kw_only=True)
class About(Figures):
    """Under which conditions the figures came about. What is not known is null."""

    config: str | None = text("`name` of the config")
    changed: Mapping[str, str] | None = texts_by_name(
        "fields of the resolved config with another value than the default, as JSON"
    )
    settings: Mapping[str, str] | None = texts_by_name(
        "fields that the report speaks of, default or not, as JSON"
    )
    seeds: Mapping[str, float] | None = numbers_by_name("of the run, and of the task")
    samples: Mapping[str, float] | None = numbers_by_name("K, by field of the config")
    temperatures: Mapping[str, float] | None = numbers_by_name("by field of the config")
    commit: str | None = text(
        "git commits of the package that made the stages; -dirty: with changes"
    )
    versions: Mapping[str, str] | None = texts_by_name("of Python and of packages")
    devices: Mapping[str, str] | None = texts_by_name("by stage, what it ran on")
    base: str | None = text("what the base has read, in its own words")


# SplitFigures stands before Head: a dataclass takes its fields from its last base on, and Head's
# are the first keys of the file.
@dataclasses.dataclass(frozen=True, kw_only=True)
class Report(SplitFigures, Head):
    """The whole of `report.json`: the main split's figures, and what other stages measured."""

    label_truth: LabelTruth | None = group(
        LabelTruth, "rollout labels of training; null if the task knows no truth", null=True
    )
    cost: TotalCost | None = group(TotalCost, "of the training labels")
    label_truth_test: LabelTruth | None = group(
        LabelTruth, "rollout labels of the test drafts; null if the task knows no truth", null=True
    )
    templates: Templates | None = group(
        Templates, "unseen templates; null if the run has no such split", null=True
    )
    seconds: Mapping[str, float] | None = numbers_by_name("seconds of each stage")
    patterns: tuple[Pattern, ...] | None = rows(Pattern, "the paper's patterns")
    left_out: tuple[LeftOut, ...] | None = rows(LeftOut, "what was not used")
    looks: Mapping[str, Look] | None = groups(Look, "by reward model")
    warnings: tuple[str, ...] | None = texts("what the stages warned of")
    about: About | None = group(About, "how the figures came about")
