"""Stage `student`: supervised fine-tuning, then expert iteration (paper section 4.1 step 1).

    D = worked solutions (where the task has none: right answers of the one-shot prompted base)
    student = fine-tune(base, D)
    repeat                                        until rounds bring no proven gain on `dev`
        D = D + distinct right samples of the student
        student = fine-tune(base, D)

Every round starts from the base again; the best round becomes `student/hf` (`labels/rounds.py` has
the rules). Each finished piece is kept, so that a restart goes on behind it:

    student/solutions-R       records: those of the start, then new ones of round R
    student/round-R.json      figures of round R, and which questions of `dev` it gets right
    student/round-R/hf        its model
"""

import functools
from collections.abc import Iterable, Sequence

from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.labels import rounds as rules
from glore_jax.models import hf_export
from glore_jax.records import Sample, Solution, StoredRecords
from glore_jax.stages import generation, models, subsets, tally, training
from glore_jax.stages import solutions as sets
from glore_jax.stages.context import Context
from glore_jax.tasks.base import Problem
from glore_jax.tasks.prompts import Prompts, stops
from glore_jax.training import losses
from glore_jax.training.examples import Example, language_example


def run(ctx: Context) -> dict:
    iteration = ctx.config.student.ei
    train = ctx.problems("train")
    dev = ctx.problems("dev")
    stories = {problem.id: problem.story for problem in dev}
    solutions = first_solutions(ctx, train)
    rounds = [tune_round(ctx, 0, solutions, dev)]
    right = [rounds[0].pop("right")]
    while len(rounds) <= iteration.rounds and not rules.has_ended(
        right, stories, iteration.patience, iteration.level
    ):
        number = len(rounds)
        solutions = solutions + explore_round(ctx, number, solutions, train)
        rounds.append(tune_round(ctx, number, solutions, dev))
        right.append(rounds[-1].pop("right"))
    best = rules.best_round(right)
    gain = rules.last_gain(right, stories, iteration.level)
    proven = f"the last proven gain is round {gain}" if gain else "no round is a proven gain"
    ctx.say(f"student: round {best} is kept, the most accurate; {proven}")
    models.publish(ctx, "student", f"round-{best}", ctx.config.model.dtype)
    return {"rounds": rounds, "best": best, "last_gain": gain, "acc": rounds[best]["acc"]}


def tune_round(
    ctx: Context, number: int, solutions: StoredRecords[Solution], dev: Sequence[Problem]
) -> dict:
    """Figures of round `number`: `fine_tune`, done once."""
    tune = functools.partial(fine_tune, ctx, number, solutions, dev)
    figures = ctx.step(f"round-{number}", tune)
    training.drop_checkpoints(ctx, f"student/round-{number}")
    return figures


def explore_round(
    ctx: Context, number: int, known: StoredRecords[Solution], train: Sequence[Problem]
) -> StoredRecords[Solution]:
    """Solutions that are new in round `number`: `explore`, done once."""
    make = functools.partial(explore, ctx, number, known, train)
    found = sets.once(ctx, f"solutions-{number}", make)
    ctx.say(f"student: round {number} has {len(found)} new solutions")
    return found


# Where solutions come from.


def first_solutions(ctx: Context, train: Sequence[Problem]) -> StoredRecords[Solution]:
    """Solutions to start from.

    The task's own of `student.worked` (0: all) problems; where it has none, what the base finds.
    """
    worked: list[Solution] = [
        {"question_id": p.id, "question": p.question, "steps": list(p.solution)}
        for p in subsets.shown(ctx.config, train)
    ]
    return sets.once(ctx, "solutions-0", lambda: worked or one_shot(ctx, train))


def one_shot(ctx: Context, train: Sequence[Problem]) -> Iterable[Solution]:
    """Right answers of the base, prompted with one worked example.

    For tasks without worked solutions, such as SVAMP. UserError if the config has no example, or
    the base solves nothing with it.
    """
    iteration = ctx.config.student.ei
    shot = worked_shot(ctx)  # first: it refuses before a large model is loaded
    base = models.load_base(ctx)
    template = ctx.prompts(base).template
    example = template.replace("{question}", shot.question) + shot.solution.strip() + "\n\n"

    def trunk_of(problem: Problem) -> list[int]:
        return base.tokenizer.begun(example + template.replace("{question}", problem.question))

    drawn = generation.sample(
        ctx,
        "student/one-shot",
        base,
        subsets.explored(ctx.config, train, 0),
        generation.sampling_of(iteration, stop=stops(template)),
        iteration.k,
        trunk_of,
    )
    counts = tally.Tally.of(drawn.columns(tally.COLUMNS))
    if not counts.right:
        raise UserError(
            f"the base solves none of {counts.samples} one-shot samples: "
            "use a stronger model.base or another student.shot"
        )
    return sets.distinct_right(sets.samples_of(drawn), iteration.per_question)


def worked_shot(ctx: Context) -> ConfigDict:
    """`student.shot`, the question and solution that stand before a question."""
    shot = ctx.config.student.shot
    if not shot.question or not shot.solution:
        raise UserError(
            "the task has no worked solutions: give student.shot.question and "
            "student.shot.solution, a worked example"
        )
    return shot


def explore(
    ctx: Context, number: int, known: StoredRecords[Solution], train: Sequence[Problem]
) -> Iterable[Solution]:
    """Distinct right samples of the student of the round before `number`, new to `known`."""
    iteration = ctx.config.student.ei
    drawn = generation.sample(
        ctx,
        f"student/samples-{number}",
        models.load_policy(ctx, "student", f"round-{number - 1}", "hf"),
        subsets.explored(ctx.config, train, number),
        generation.sampling_of(iteration),
        iteration.k,
    )
    counts = tally.Tally.of(drawn.columns(tally.COLUMNS))
    ctx.say(
        f"student: round {number} samples {counts.accuracy:.3f} right, {counts.truncated} truncated"
    )
    return sets.distinct_right(
        sets.samples_of(drawn), iteration.per_question, sets.by_question(known)
    )


# A round of training.


def fine_tune(
    ctx: Context, number: int, solutions: StoredRecords[Solution], dev: Sequence[Problem]
) -> dict:
    """Trains the base on `solutions` and measures it; leaves `student/round-NUMBER/hf`."""
    name = f"student/round-{number}"
    section = ctx.config.student.sft
    base = models.base_start(ctx)
    prompts = ctx.prompts(base.model)
    examples = (solution_example(prompts, solution) for solution in solutions)
    batches, too_long = training.make_batches(ctx, name, examples, section, base.model.config)
    folder = ctx.folder("student", f"round-{number}")
    export = functools.partial(hf_export.save_policy, dtype=ctx.config.model.dtype)
    loss = losses.language_loss
    trained = training.fit(ctx, name, base, batches, loss, section, export, folder / "hf")

    policy = models.load_policy(ctx, "student", f"round-{number}", "hf")
    drafts = list(generation.greedy(ctx, f"student/dev-{number}", policy, dev))
    accuracy = generation.accuracy(drafts)
    ctx.say(
        f"student: round {number} has {accuracy:.3f} greedy accuracy on {len(drafts)} "
        f"dev questions ({len(solutions)} solutions)"
    )
    show_drafts(ctx, number, drafts)
    return {
        "round": number,
        "right": {draft["question_id"]: draft["correct"] for draft in drafts},
        "acc": accuracy,
        "n": len(drafts),
        "stories": len({problem.story for problem in dev}),
        "examples": len(solutions),
        "too_long": too_long,
        "truncated": generation.truncated(drafts),
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def solution_example(prompts: Prompts, solution: Solution) -> Example:
    """A solution as a training example: loss on its steps."""
    target, _ = prompts.solution(solution["steps"])
    return language_example(prompts.question(solution["question"]), target)


def show_drafts(ctx: Context, number: int, drafts: list[Sample], count: int = 8) -> None:
    """For TensorBoard: the first `count` drafts of round `number` as texts, the accuracy of all."""
    writer = ctx.writer("accuracy")
    for draft in drafts[:count]:
        verdict = "right" if draft["correct"] else f"wrong, {draft['gold']} is right"
        lines = [draft["question"], *draft["steps"], f"({verdict})"]
        text = "    " + "\n    ".join(lines)  # four spaces: Markdown shows it as it is
        writer.text(draft["question_id"], text, number)
    writer.scalars({"dev": generation.accuracy(drafts)}, number)
