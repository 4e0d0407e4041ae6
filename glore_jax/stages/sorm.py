"""Stage `sorm`: the stepwise outcome reward model, on rollout labels balanced by prefix length (paper section 4.1 step 2)."""

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.balance import balance, balance_counts
from glore_jax.stages import rewards


def run(ctx) -> dict:
    c, records = ctx.config.sorm, storage.read_records(ctx.folder("rollout", "records"))
    records.sort(key=lambda r: (r["question_id"], r["sample_id"]))
    weights = (
        balance(records, ctx.config.seed)
        if c.balance
        else [[1.0] * len(r["labels"]) for r in records]
    )
    items = [
        (r["prompt"], r["completions"], [float(v) for v in r["labels"]], w)
        for r, w in zip(records, weights, strict=True)
        if any(w)
    ]
    if not items:
        raise UserError(
            "sorm: no prefix length has both good and bad steps, so nothing is left after balancing; label more drafts"
        )
    counts = rewards.train_reward(ctx, "sorm/train", items, c, "sorm/hf")
    return counts | {"balance": balance_counts(records, weights)}
