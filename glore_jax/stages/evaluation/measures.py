"""From the records of stage `evaluate` to its figures and worked examples.

The figures are the types of `report/figures.py`: the contract of `report.json`. What a run did not
do (draw samples, label steps), or what its task does not know (the truth of steps), leaves its
figures out.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from glore_jax.report import figures
from glore_jax.report.examples import WorkedExample
from glore_jax.report.step_figures import LabelTruth, Located, StepDecisions
from glore_jax.stages import labelling
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import (
    candidates,
    draft_figures,
    gain_figures,
    outcomes,
    sample_figures,
)
from glore_jax.stages.evaluation.candidates import Candidate
from glore_jax.stages.evaluation.draft_figures import Labels, Outcomes
from glore_jax.stages.evaluation.outcomes import System
from glore_jax.stages.evaluation.refinements import LOCATORS
from glore_jax.stages.evaluation.split_records import SplitRecords
from glore_jax.tasks.base import Task


@dataclasses.dataclass(frozen=True)
class Measured:
    """The figures of one split, and one worked example a draft."""

    figures: figures.SplitFigures
    examples: list[WorkedExample]


def measure(ctx: Context, records: SplitRecords) -> Measured:
    """The figures of one split with their counts, and its worked examples."""
    truth = _truth(ctx.task, records)
    labels = _rollout_labels(records)
    known = all(steps is not None for steps in truth)
    # Steps are judged by the truth where there is one, else by what the rollouts say.
    reference = truth if known else labels
    choices = candidates.of_split(ctx.task, ctx.config, records)

    systems = outcomes.systems(choices, records, candidates.of_base(ctx.task, records))
    right: dict[str, Outcomes] = {name: system.right for name, system in systems.items()}
    samples = None
    if records.sampled:
        samples = sample_figures.Samples.of(records.samples, records.scored["samples"])

    parts = _draft_figures(records, reference, systems, right)
    if known:
        parts |= _against_truth(ctx, records, truth)
    if records.labelled:
        parts |= _against_labels(ctx, records, labels)
    parts["gains"] = _gains(ctx, records, truth if known else None, labels, right, samples)
    measured = figures.SplitFigures(**parts)
    if samples is not None:
        measured = _with_samples(ctx, samples, measured)
    return Measured(measured, _examples(records, truth, choices))


def _stories(records: SplitRecords) -> list[str]:
    """The name of the story of each draft's question."""
    stories = {problem.id: problem.story for problem in records.problems}
    return [stories[draft["question_id"]] for draft in records.drafts]


# What the drafts' steps are: right or wrong.


def _truth(task: Task, records: SplitRecords) -> list[list[bool] | None]:
    """The truth of each draft's steps, None where the task cannot tell."""
    problems = {problem.id: problem for problem in records.problems}
    truth = []
    for draft in records.drafts:
        problem = problems[draft["question_id"]]
        truth.append(task.step_truth(problem, draft["steps"]))
    return truth


def _rollout_labels(records: SplitRecords) -> list[list[int] | None]:
    """The rollout labels of each draft's steps, None for a draft without any."""
    labels = {record["question_id"]: record["labels"] for record in records.labelled}
    return [labels.get(draft["question_id"]) for draft in records.drafts]


# Figures by what they need. Each function gives some fields of `figures.SplitFigures`.


def _draft_figures(
    records: SplitRecords,
    reference: Labels,
    systems: Mapping[str, System],
    right: Mapping[str, Outcomes],
) -> dict[str, Any]:
    """What needs drafts and refinements alone."""
    scores = records.scored["drafts"]
    at = records.in_force.final_threshold
    final = {m: draft_figures.final(scores[m], records.drafts, at[m]) for m in scores}
    curves = figures.Curves(
        label_rate=draft_figures.label_rate(records.labelled) if records.labelled else None,
        reliability={m: draft_figures.reliability(scores[m], reference) for m in scores},
        scores={m: draft_figures.score_histogram(scores[m], reference) for m in scores},
    )
    return {
        "draft": draft_figures.draft(records.drafts, reference, _stories(records)),
        "final": final,
        "refine": draft_figures.refinements(records.drafts, records.refined),
        "pipeline": pipeline(systems),
        "by_steps": _by_steps(records, right),
        "curves": curves,
    }


def pipeline(systems: Mapping[str, System]) -> figures.Pipeline:
    """The system and its rivals, by name."""
    return figures.Pipeline(
        **{
            name: figures.Choice(
                acc=float(np.mean(system.right)), n=len(system.right), tokens=system.tokens
            )
            for name, system in systems.items()
        }
    )


def _by_steps(
    records: SplitRecords, right: Mapping[str, Outcomes]
) -> tuple[figures.OfLength, ...] | None:
    """By length of the worked solution; None if the split has none."""
    solutions = {problem.id: problem.solution for problem in records.problems}
    lengths = [len(solutions[draft["question_id"]]) - 1 for draft in records.drafts]
    return draft_figures.by_steps(lengths, right) or None


def _step_decisions(records: SplitRecords, labels: Labels) -> dict[str, StepDecisions]:
    """Each reward model as a judge of steps against `labels`."""
    scores = records.scored["drafts"]
    at = records.in_force
    return {
        model: draft_figures.steps(
            scores[model],
            labels,
            at.step_threshold[model],
            at.mark[model],
        )
        for model in scores
    }


def _marked(records: SplitRecords) -> dict[str, list[int | None]]:
    """By locator, the index of the step behind `[BAD]` in each draft, None without one."""
    return {
        locator: [refined[kind]["bad"] for refined in records.refined]
        for kind, locator in LOCATORS.items()
    }


def _located(records: SplitRecords, labels: Labels) -> dict[str, Located]:
    """Where each locator's marks stand against `labels`."""
    marked = _marked(records)
    return {locator: draft_figures.located(marked[locator], labels) for locator in marked}


def _against_truth(ctx: Context, records: SplitRecords, truth: Labels) -> dict[str, Any]:
    """What needs a task that knows the truth of every step."""
    return {
        "step_truth": _step_decisions(records, truth),
        "located_truth": _located(records, truth),
        "label_truth": _label_truth(ctx, records),
    }


def _label_truth(ctx: Context, records: SplitRecords) -> LabelTruth | None:
    """The rollout labels against the truth; None without labels."""
    problems = {problem.id: problem for problem in records.problems}
    k = ctx.config.evaluate.label_k
    agreement = labelling.label_truth(ctx.task, problems, records.labelled, k)
    return None if agreement is None else LabelTruth.from_json(agreement)


def _against_labels(ctx: Context, records: SplitRecords, labels: Labels) -> dict[str, Any]:
    """What needs rollout labels of the drafts."""
    cost = labelling.cost(records.labelled, ctx.config.evaluate.label_k)
    return {
        "step": _step_decisions(records, labels),
        "located": _located(records, labels),
        "cost": figures.LabelCost.from_json(cost),
    }


def _gains(
    ctx: Context,
    records: SplitRecords,
    truth: Labels | None,
    labels: Labels,
    right: Mapping[str, Outcomes],
    samples: sample_figures.Samples | None,
) -> dict[str, figures.Gain]:
    """Every difference that the split can tell, with its interval."""
    questions = [draft["question_id"] for draft in records.drafts]
    scores = records.scored["drafts"]
    at = records.in_force
    finals = {model: draft_figures.last_scores(scores[model]) for model in scores}
    pairs = gain_figures.of_answers(right)
    pairs |= gain_figures.of_refinements(right["draft"], records.refined)
    pairs |= gain_figures.of_finals(finals, right["draft"], at.final_threshold)
    if truth is not None:
        pairs |= gain_figures.of_steps("truth", scores, truth, at.step_threshold)
        pairs |= gain_figures.of_marks("truth", _marked(records), truth)
    if records.labelled:
        pairs |= gain_figures.of_steps("steps", scores, labels, at.step_threshold)
        pairs |= gain_figures.of_marks("steps", _marked(records), labels)
    if samples is not None:
        pairs |= gain_figures.of_samples(samples, questions)
    return gain_figures.gains(_stories(records), pairs, ctx.config.seed)


def _with_samples(
    ctx: Context, samples: sample_figures.Samples, measured: figures.SplitFigures
) -> figures.SplitFigures:
    """`measured` with what needs K samples a question."""
    k = ctx.config.evaluate.k
    curve = sample_figures.rerank_curves(samples, k, ctx.config.seed)
    assert measured.draft and measured.curves  # every split has these
    return dataclasses.replace(
        measured,
        scorer=sample_figures.scorers(samples),
        student=sample_figures.student(ctx.task, samples, k, measured.draft.acc),
        curves=dataclasses.replace(measured.curves, rerank=curve),
    )


# Worked examples.


def _examples(
    records: SplitRecords, truth: Labels, choices: list[list[Candidate]]
) -> list[WorkedExample]:
    """What happened to each draft, for the page."""
    scores = records.scored["drafts"]
    examples = []
    for i, (draft, some) in enumerate(zip(records.drafts, choices, strict=True)):
        choice = candidates.chosen(some, records.in_force)
        example: WorkedExample = {
            "question_id": draft["question_id"],
            "question": draft["question"],
            "gold": draft["gold"],
            "draft": draft["steps"],
            "draft_correct": draft["correct"],
            "truth": truth[i],
            "orm": scores["orm"][i],
            "sorm": scores["sorm"][i],
            "bad": records.refined[i]["local_sorm"]["bad"],
            "others": {
                candidate.name: {"steps": candidate.steps, "correct": candidate.correct}
                for candidate in some[1:]
            },
            "scores": {candidate.name: candidate.score for candidate in some},
            "choice": choice.name,
            "choice_correct": choice.correct,
        }
        examples.append(example)
    return examples
