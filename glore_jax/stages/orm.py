"""Stage `orm`: the outcome reward model, and its balanced variant (paper section 4.1 step 2).

    samples ─► some of each question, every step labelled with the outcome ─► ORM

The balanced variant learns from as many right as wrong samples of each question.
"""

import functools
from collections.abc import Iterator

from glore_jax import grouping
from glore_jax.labels.outcome import orm_records
from glore_jax.records import Sample
from glore_jax.stages import parts, rewards, training
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
    """Trains one variant; leaves its folder of `FOLDERS`."""
    solutions = labelled_solutions(ctx, variant)
    config = ctx.config.orm
    return rewards.train_reward(ctx, f"orm/{variant}", solutions, config, FOLDERS[variant])


def labelled_solutions(ctx: Context, variant: str) -> Iterator[LabelledSolution]:
    """What a variant learns from, by question and sample."""
    config = ctx.config.orm
    rows = parts.expected(ctx, "sample/records")
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample, COLUMNS, rows)
    chosen = orm_records(
        samples, variant == "balanced", config.per_question, ctx.config.seed, config.repeats
    )
    for record in chosen:
        weights = [1.0] * len(record["labels"])
        yield LabelledSolution(record["question"], record["steps"], record["labels"], weights)
