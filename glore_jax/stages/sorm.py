"""Stage `sorm`: the stepwise outcome reward model (paper section 4.1 step 2).

    labelled drafts ─► good and bad steps balanced at each prefix length ─► SORM

It differs from the ORM in its labels alone.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool

from glore_jax import grouping
from glore_jax.errors import UserError
from glore_jax.labels.balance import StepLabelTable, balance, balance_counts, ranks_of
from glore_jax.records import LabelledDraft
from glore_jax.stages import parts, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution


def run(ctx: Context) -> dict:
    config = ctx.config.sorm
    table = StepLabelTable.of(drafts(ctx, "labels"))
    if config.balance:
        kept = balance(table, ranks_of(drafts(ctx, "labels"), ctx.config.seed))
    else:
        kept = np.ones(len(table.good), bool)
    if not kept.any():
        raise UserError(
            "sorm: no prefix length has both good and bad steps, so nothing is left after "
            "balancing; label more drafts"
        )
    solutions = labelled_solutions(drafts(ctx, "prompt", "completions", "labels"), kept)
    counts = rewards.train_reward(ctx, "sorm/train", solutions, config, "sorm/hf")
    training.drop_checkpoints(ctx, "sorm/train")
    return counts | {"balance": balance_counts(table, kept)}


def drafts(ctx: Context, *columns: str) -> Iterator[LabelledDraft]:
    """The labelled drafts with their ids and `columns`, by question and sample.

    Drafts were labelled longest first; training has an order that does not depend on that.
    """
    folder = ctx.folder("rollout", "records")
    names = ("question_id", "sample_id", *columns)
    rows = parts.expected(ctx, "rollout/records")
    for group in grouping.of_folder(folder, LabelledDraft, names, rows):
        yield from sorted(group, key=lambda record: record["sample_id"])


def labelled_solutions(
    drafts: Iterable[LabelledDraft], kept: Bool[np.ndarray, " steps"]
) -> Iterator[LabelledSolution]:
    """The drafts of which some label is kept; `kept` goes through their steps, draft by draft."""
    start = 0
    for record in drafts:
        end = start + len(record["labels"])
        if kept[start:end].any():
            labels = [float(label) for label in record["labels"]]
            weights = kept[start:end].astype(float).tolist()
            yield LabelledSolution(record["prompt"], record["completions"], labels, weights)
        start = end
