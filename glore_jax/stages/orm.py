"""Stage `orm`: the outcome reward model, and its balanced variant (paper section 4.1 step 2)."""

import functools

from glore_jax import storage
from glore_jax.labels.outcome import orm_records
from glore_jax.stages import rewards


def run(ctx) -> dict:
    variants = ("plain", "balanced") if ctx.config.orm.balanced else ("plain",)
    return {
        variant: ctx.step(variant, functools.partial(train, ctx, variant)) for variant in variants
    }


def train(ctx, variant: str) -> dict:
    c, samples = ctx.config.orm, storage.read_records(ctx.folder("sample", "records"))
    records = orm_records(
        samples, variant == "balanced", c.per_question, ctx.config.seed, c.repeats
    )
    items = [(r["question"], r["steps"], r["labels"], [1.0] * len(r["labels"])) for r in records]
    return rewards.train_reward(
        ctx, f"orm/{variant}", items, c, "orm/hf" if variant == "plain" else "orm/balanced_hf"
    )
