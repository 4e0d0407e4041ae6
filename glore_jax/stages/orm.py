"""Stage `orm`: the outcome reward model, and its balanced variant (paper section 4.1 step 2).

    samples ─► some of each question, every step labelled with the outcome ─► ORM
            └► of held-out questions ─► a look at the ORM

The balanced variant learns from as many right as wrong samples of each question. A solution that
was cut off at the length limit is wrong like others, its last line too: that is what to reject.
"""

import functools
from collections.abc import Iterator

from glore_jax import grouping
from glore_jax.labels.looks import is_held_out
from glore_jax.labels.outcome import orm_records
from glore_jax.records import Sample
from glore_jax.stages import looks, parts, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution

FOLDERS = {"plain": "orm/hf", "balanced": "orm/balanced_hf"}  # variant -> what it leaves
COLUMNS = ("question_id", "sample_id", "question", "steps", "correct", "policy")


def run(ctx: Context) -> dict:
    variants = ("plain", "balanced") if ctx.config.orm.balanced else ("plain",)
    counts = {}
    for variant in variants:
        counts[variant] = ctx.step(variant, functools.partial(train, ctx, variant))
        training.drop_checkpoints(ctx, f"orm/{variant}")
    return counts


def train(ctx: Context, variant: str) -> dict:
    """Trains one variant and looks at it; leaves its folder of `FOLDERS`."""
    name = f"orm/{variant}"
    target = FOLDERS[variant]
    solutions = labelled_solutions(ctx, variant)
    counts = rewards.train_reward(ctx, name, solutions, ctx.config.orm, target)
    return counts | {"looks": looks.look(ctx, name, target, ctx.config.orm)}


def labelled_solutions(ctx: Context, variant: str) -> Iterator[LabelledSolution]:
    """What a variant learns from, by question and sample."""
    config = ctx.config.orm
    seed = ctx.config.seed
    rows = parts.expected(ctx, "sample/records")
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample, COLUMNS, rows)

    def learned(group: list[Sample]) -> bool:
        return not is_held_out(seed, group[0]["question_id"], config.held_out)

    balanced = variant == "balanced"
    groups = filter(learned, samples)
    chosen = orm_records(groups, balanced, config.per_question, seed, config.repeats)
    for record in chosen:
        weights = [1.0] * len(record["labels"])
        yield LabelledSolution(record["question"], record["steps"], record["labels"], weights)
