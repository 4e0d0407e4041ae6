"""Stage `orm`: the outcome reward model, and its balanced variant (paper section 4.1 step 2).

    samples ─► some of each question, every step labelled with the outcome ─► ORM

The balanced variant learns from as many right as wrong samples of each question.
"""

import functools

from glore_jax import grouping
from glore_jax.labels.outcome import orm_records
from glore_jax.records import Sample
from glore_jax.stages import parts, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution

FOLDERS = {"plain": "orm/hf", "balanced": "orm/balanced_hf"}  # variant -> what it leaves


def run(ctx: Context) -> dict:
    variants = ("plain", "balanced") if ctx.config.orm.balanced else ("plain",)
    counts = {}
    for variant in variants:
        counts[variant] = ctx.step(variant, functools.partial(train, ctx, variant))
        training.drop_checkpoints(ctx, f"orm/{variant}")
    return counts


def train(ctx: Context, variant: str) -> dict:
    """Trains one variant; leaves its folder of `FOLDERS`."""
    config = ctx.config.orm
    rows = parts.expected(ctx, "sample/records")
    columns = ("question_id", "sample_id", "question", "steps", "correct", "policy")
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample, columns, rows)
    labelled = orm_records(
        samples, variant == "balanced", config.per_question, ctx.config.seed, config.repeats
    )
    solutions = (
        LabelledSolution(
            record["question"], record["steps"], record["labels"], [1.0] * len(record["labels"])
        )
        for record in labelled
    )
    return rewards.train_reward(ctx, f"orm/{variant}", solutions, config, FOLDERS[variant])
