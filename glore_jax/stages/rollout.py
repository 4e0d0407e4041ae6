"""Stage `rollout`: step labels of student samples, for the SORM and the local refiner.

    samples ─► of solved questions ─► some distinct drafts of each ─► rollouts ─► labelled drafts

How a draft gets its labels is in `labelling`, which test drafts share.
"""

import itertools
from collections.abc import Sequence

from glore_jax import records
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.labels.balance import label_rates
from glore_jax.labels.outcome import WORKED, distinct_samples, drawn_first
from glore_jax.records import Sample
from glore_jax.stages import generation, labelling, models, parts
from glore_jax.stages.context import Context


def run(ctx: Context) -> dict:
    config = ctx.config.rollout
    model = models.load_policy(ctx, "student", "hf")
    chosen = generation.first(ctx.problems("train"), config.questions)
    problems = {problem.id: problem for problem in chosen}
    rows = parts.expected(ctx, "sample/records")
    samples = records.read(ctx.folder("sample", "records"), Sample, rows)
    asked = [sample for sample in samples if sample["question_id"] in problems]
    drafts, unsolved = drafts_of(asked, ctx.config)

    labelled = labelling.label(ctx, "rollout/records", model, drafts, config.k)
    if not labelled:
        raise UserError(
            "no draft has a step to label: the student writes nothing that reads as a solution"
        )
    truth = labelling.label_truth_both_ways(ctx.task, problems, labelled)
    cost = labelling.cost(labelled, config.k)
    ctx.say(
        f"rollout: {len(labelled)} drafts labelled with {cost['rollouts']} rollouts "
        f"(every prefix: {cost['rollouts_full']}), "
        f"{unsolved} questions left out as never solved"
        + (f", {truth['acc']:.3f} of {truth['n']} labels true" if truth else "")
    )
    return {
        "drafts": len(labelled),
        "unsolved": unsolved,
        **cost,
        "schedule": config.schedule,
        "label_truth": truth,
        "label_rates": label_rates(labelled),
        "work": parts.work(ctx, "rollout/records"),
    }


def drafts_of(samples: Sequence[Sample], config: AnyConfig) -> tuple[list[Sample], int]:
    """(the drafts among `samples` to be labelled, number of questions left out as never solved).

    `config`: the whole one; seed and section rollout count.
    """
    c = config.rollout
    kept = of_solved(samples) if c.solved_only else samples
    asked = {sample["question_id"] for sample in samples}
    left = {sample["question_id"] for sample in kept}
    return choose_drafts(kept, c.drafts_per_question, config.seed), len(asked) - len(left)


def of_solved(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of questions that at least one sample of the student solves."""
    solved = {s["question_id"] for s in samples if s["correct"] and s.get("policy") != WORKED}
    return [sample for sample in samples if sample["question_id"] in solved]


def choose_drafts(samples: Sequence[Sample], per_question: int, seed: int) -> list[Sample]:
    """Up to `per_question` distinct solutions of each question, wrong and right ones in turn."""
    drafts: list[Sample] = []
    for group in distinct_samples(samples).values():
        ranked = sorted(group, key=lambda sample: drawn_first(seed, sample))
        wrong = [sample for sample in ranked if not sample["correct"]]
        right = [sample for sample in ranked if sample["correct"]]
        # When one side has no more, the other goes on.
        in_turn = [s for pair in itertools.zip_longest(wrong, right) for s in pair if s is not None]
        drafts += in_turn[:per_question]
    return drafts
