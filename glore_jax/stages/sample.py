"""Stage `sample`: the student's solutions to training questions, from which all reward models and the refiner learn."""

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.outcome import GREEDY, WORKED
from glore_jax.parallel import processes
from glore_jax.stages import generation, models, parts


def add_greedy(ctx, model, problems, sample_id: int) -> list[dict]:
    """The greedy draft of each problem as a further sample, in a part of their own."""
    rows = [
        row | {"sample_id": sample_id, "policy": GREEDY}
        for row in generation.greedy(ctx, "sample/greedy", model, problems)
    ]
    return _add_part(ctx, len(problems), 0, rows)


def add_worked(ctx, problems, sample_id: int) -> list[dict]:
    """The task's own solutions as further (right) samples, in a part of their own."""
    rows = [
        {
            "question_id": p.id,
            "sample_id": sample_id,
            "question": p.question,
            "gold": p.gold,
            "steps": list(p.solution),
            "answer": ctx.task.answer(p.solution),
            "correct": ctx.task.grade(p.solution, p.gold),
            "ended": True,
            "tokens": 0,
            "logprob": None,
            "seed": ctx.config.seed,
            "policy": WORKED,
        }
        for p in problems
        if p.solution
    ]
    return _add_part(ctx, len(problems), int(ctx.config.sample.include_greedy), rows)


def _add_part(ctx, problems: int, number: int, rows: list[dict]) -> list[dict]:
    """Writes `rows` behind the parts of the samples of so many problems, as the further part `number`; parts have no gaps."""
    parts = -(-problems // ctx.config.engine.part_questions)
    processes.on_main(storage.write_part, ctx.folder("sample", "records"), parts + number, rows)
    processes.barrier("further samples")
    return rows


def run(ctx) -> dict:
    c = ctx.config.sample
    model = models.load_policy(ctx, "student", "hf")
    problems = generation.first(ctx.problems("train"), c.questions)
    rows = generation.sample(ctx, "sample/records", model, problems, generation.sampling_of(c), c.k)
    if c.include_greedy:
        rows += add_greedy(ctx, model, problems, c.k)
    if c.include_worked:
        rows += add_worked(ctx, problems, c.k + 1)
    right = sum(r["correct"] for r in rows)
    if right in (0, len(rows)):
        raise UserError(
            f"{right} of {len(rows)} samples are right: reward models need both kinds (task difficulty, sample.temperature)"
        )
    solved = {r["question_id"] for r in rows if r["correct"]}
    ctx.say(
        f"sample: {right / len(rows):.3f} of {len(rows)} right, {len(solved)} of {len(problems)} questions solved"
    )
    return {
        "questions": len(problems),
        "samples": len(rows),
        "right": right,
        "solved": len(solved),
        "truncated": generation.truncated(rows),
        "tokens": sum(r["tokens"] for r in rows),
        "work": parts.work(ctx, "sample/records"),
    }
