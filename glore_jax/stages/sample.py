"""Stage `sample`: the student's solutions to training questions.

All reward models and the refiner learn from them:

    train questions ─► student ─┬─► k samples a question                  sample ids 0 .. k-1
                                └─► its greedy draft (`include_greedy`)   sample id k
    worked solutions (`include_worked`) ─────────────────────────────►    sample id k+1

On disk the three follow each other as parts of one folder, `sample/records`.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from glore_jax import records
from glore_jax.errors import UserError
from glore_jax.labels.outcome import GREEDY, WORKED
from glore_jax.models.model import Model
from glore_jax.records import Sample
from glore_jax.stages import generation, models, parts, subsets, variations
from glore_jax.stages.context import Context
from glore_jax.stages.tally import COLUMNS, Tally
from glore_jax.tasks.base import Problem


def run(ctx: Context) -> dict:
    config = ctx.config.sample
    model = models.load_policy(ctx, "student", "hf")
    problems = subsets.sampled(ctx.config, ctx.problems("train"))
    variations.write(ctx, problems)
    sampling = generation.sampling_of(config)
    generation.sample(ctx, "sample/records", model, problems, sampling, config.k)
    if config.include_greedy:
        add_greedy(ctx, model, problems, config.k)
    if config.include_worked:
        add_worked(ctx, problems, config.k + 1)

    rows = parts.expected(ctx, "sample/records")
    columns = records.stream_columns(ctx.folder("sample", "records"), Sample, COLUMNS, rows)
    counts = Tally.of(columns)
    if counts.right in (0, counts.samples):
        raise UserError(
            f"{counts.right} of {counts.samples} samples are right: reward models need both kinds "
            "(task difficulty, sample.temperature)"
        )
    ctx.say(
        f"sample: {counts.accuracy:.3f} of {counts.samples} right, "
        f"{counts.solved} of {len(problems)} questions solved"
    )
    return {
        "questions": len(problems),
        **dataclasses.asdict(counts),
        "work": parts.work(ctx, "sample/records"),
    }


def add_greedy(ctx: Context, model: Model, problems: Sequence[Problem], sample_id: int) -> None:
    """The greedy draft of each problem as a further sample, in parts of their own."""
    drafts = generation.greedy(ctx, "sample/greedy", model, problems)
    _append(ctx, ({**d, "sample_id": sample_id, "policy": GREEDY} for d in drafts))


def add_worked(ctx: Context, problems: Sequence[Problem], sample_id: int) -> None:
    """The task's own solutions as further (right) samples, in parts of their own."""
    _append(ctx, (_worked(ctx, problem, sample_id) for problem in problems if problem.solution))


def _append(ctx: Context, samples: Iterable[Sample]) -> None:
    for part in records.in_parts(samples):
        parts.append(ctx, "sample/records", Sample, part)


def _worked(ctx: Context, problem: Problem, sample_id: int) -> Sample:
    return {
        "question_id": problem.id,
        "sample_id": sample_id,
        "question": problem.question,
        "gold": problem.gold,
        "steps": list(problem.solution),
        "answer": ctx.task.answer(problem.solution),
        "correct": ctx.task.grade(problem.solution, problem.gold),
        "ended": True,
        "tokens": 0,
        "logprob": None,
        "seed": ctx.config.seed,
        "policy": WORKED,
    }
