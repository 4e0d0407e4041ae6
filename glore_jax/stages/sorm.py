"""Stage `sorm`: the stepwise outcome reward model (paper section 4.1 step 2).

    labelled drafts ─► good and bad steps balanced at each prefix length ─► SORM

It differs from the ORM in its labels alone.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool

from glore_jax import grouping
from glore_jax.errors import UserError
from glore_jax.grouping import Groups
from glore_jax.labels.balance import StepLabelTable, balance, balance_counts, ranks_of
from glore_jax.records import LabelledDraft
from glore_jax.stages import parts, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution


def run(ctx: Context) -> dict:
    table, kept = choose(ctx)
    texts = drafts(ctx, "prompt", "completions", "labels")
    solutions = labelled_solutions(in_order(texts), kept)
    counts = rewards.train_reward(ctx, "sorm/train", solutions, ctx.config.sorm, "sorm/hf")
    training.drop_checkpoints(ctx, "sorm/train")
    return counts | {"balance": balance_counts(table, kept)}


def choose(ctx: Context) -> tuple[StepLabelTable, Bool[np.ndarray, " steps"]]:
    """(all labels, which are kept), in the order of `in_order`. UserError if none is kept."""
    labels = drafts(ctx, "labels")
    table = StepLabelTable.of(in_order(labels))
    if ctx.config.sorm.balance:
        kept = balance(table, ranks_of(in_order(labels), ctx.config.seed))
    else:
        kept = np.ones(len(table.good), bool)
    if not kept.any():
        raise UserError(
            "sorm: no prefix length has both good and bad steps, so nothing is left after "
            "balancing; label more drafts"
        )
    return table, kept


def drafts(ctx: Context, *columns: str) -> Groups[LabelledDraft]:
    """The labelled drafts of each question, with their ids and `columns`."""
    folder = ctx.folder("rollout", "records")
    rows = parts.expected(ctx, "rollout/records")
    names = ("question_id", "sample_id", *columns)
    return grouping.of_folder(folder, LabelledDraft, names, rows)


def in_order(groups: Groups[LabelledDraft]) -> Iterator[LabelledDraft]:
    """By question and sample.

    Drafts were labelled longest first; training has an order that does not depend on that.
    """
    for group in groups:
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
