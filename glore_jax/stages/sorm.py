"""Stage `sorm`: the stepwise outcome reward model (paper section 4.1 step 2).

    labelled drafts ─► good and bad steps balanced at each prefix length ─► SORM

It differs from the ORM in its labels alone.
"""

from glore_jax import records
from glore_jax.errors import UserError
from glore_jax.labels.balance import balance, balance_counts
from glore_jax.records import LabelledDraft
from glore_jax.stages import rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution


def run(ctx: Context) -> dict:
    config = ctx.config.sorm
    labelled = records.read(ctx.folder("rollout", "records"), LabelledDraft)
    # Drafts were labelled longest first; training has an order that does not depend on that.
    labelled.sort(key=lambda record: (record["question_id"], record["sample_id"]))
    if config.balance:
        weights = balance(labelled, ctx.config.seed)
    else:
        weights = [[1.0] * len(record["labels"]) for record in labelled]

    solutions = []
    for record, weight in zip(labelled, weights, strict=True):
        if any(weight):
            labels = [float(label) for label in record["labels"]]
            solutions.append(
                LabelledSolution(record["prompt"], record["completions"], labels, weight)
            )
    if not solutions:
        raise UserError(
            "sorm: no prefix length has both good and bad steps, so nothing is left after "
            "balancing; label more drafts"
        )
    counts = rewards.train_reward(ctx, "sorm/train", solutions, config, "sorm/hf")
    training.drop_checkpoints(ctx, "sorm/train")
    return counts | {"balance": balance_counts(labelled, weights)}
