"""Stage `sample`: the student's solutions to training questions.

All reward models and the refiner learn from them:

    train questions ─► student ─┬─► k samples a question                  sample ids 0 .. k-1
                                └─► its greedy draft (`include_greedy`)   sample id k
    worked solutions (`include_worked`) ─────────────────────────────►    sample id k+1

On disk the three follow each other as parts of one folder, `sample/records`.
"""

from collections.abc import Sequence

from glore_jax.errors import UserError
from glore_jax.labels.outcome import GREEDY, WORKED
from glore_jax.models.model import Model
from glore_jax.records import Sample
from glore_jax.stages import generation, models, parts
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem


def run(ctx: Context) -> dict:
    config = ctx.config.sample
    model = models.load_policy(ctx, "student", "hf")
    problems = generation.first(ctx.problems("train"), config.questions)
    sampling = generation.sampling_of(config)
    rows = generation.sample(ctx, "sample/records", model, problems, sampling, config.k)
    if config.include_greedy:
        rows += add_greedy(ctx, model, problems, config.k)
    if config.include_worked:
        rows += add_worked(ctx, problems, config.k + 1)

    right = sum(row["correct"] for row in rows)
    if right in (0, len(rows)):
        raise UserError(
            f"{right} of {len(rows)} samples are right: reward models need both kinds "
            "(task difficulty, sample.temperature)"
        )
    solved = {row["question_id"] for row in rows if row["correct"]}
    ctx.say(
        f"sample: {right / len(rows):.3f} of {len(rows)} right, "
        f"{len(solved)} of {len(problems)} questions solved"
    )
    return {
        "questions": len(problems),
        "samples": len(rows),
        "right": right,
        "solved": len(solved),
        "truncated": generation.truncated(rows),
        "tokens": sum(row["tokens"] for row in rows),
        "work": parts.work(ctx, "sample/records"),
    }


def add_greedy(
    ctx: Context, model: Model, problems: Sequence[Problem], sample_id: int
) -> list[Sample]:
    """The greedy draft of each problem as a further sample, in a part of their own."""
    drafts = generation.greedy(ctx, "sample/greedy", model, problems)
    rows: list[Sample] = [{**draft, "sample_id": sample_id, "policy": GREEDY} for draft in drafts]
    parts.append(ctx, "sample/records", Sample, rows)
    return rows


def add_worked(ctx: Context, problems: Sequence[Problem], sample_id: int) -> list[Sample]:
    """The task's own solutions as further (right) samples, in a part of their own."""
    rows = [_worked(ctx, problem, sample_id) for problem in problems if problem.solution]
    parts.append(ctx, "sample/records", Sample, rows)
    return rows


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
