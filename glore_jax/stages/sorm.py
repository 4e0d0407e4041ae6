"""Stage `sorm`: the stepwise outcome reward model (paper section 4.1 step 2).

    labelled drafts ─► good and bad steps balanced at each prefix length ─► SORM
    of held-out questions: samples, and labelled drafts ─► a look at the SORM

It differs from the ORM in its labels alone. The last line of a draft that was cut off at the length
limit is no whole step, so that it is neither good nor bad: no label is learned there.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from glore_jax import grouping
from glore_jax.errors import UserError
from glore_jax.grouping import Groups
from glore_jax.labels.balance import StepLabelTable, balance, balance_counts, ranks_of
from glore_jax.labels.looks import is_held_out
from glore_jax.records import LabelledDraft, Sample
from glore_jax.stages import looks, parts, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.rewards import LabelledSolution


def run(ctx: Context) -> dict:
    labels = drafts(ctx, "labels")
    whole, held_out = which(ctx, labels)
    table, kept = choose(ctx, labels, whole & ~held_out)
    texts = drafts(ctx, "prompt", "completions", "labels")
    solutions = labelled_solutions(in_order(texts), kept)
    counts = rewards.train_reward(ctx, "sorm/train", solutions, ctx.config.sorm, "sorm/hf")
    training.drop_checkpoints(ctx, "sorm/train")
    unseen = labelled_solutions(in_order(texts), whole & held_out)
    return counts | {
        "looks": looks.look(ctx, "sorm/train", "sorm/hf", ctx.config.sorm, unseen),
        "cut_off_steps": int((~whole).sum()),
        "balance": balance_counts(table, kept),
    }


def choose(
    ctx: Context, labels: Groups[LabelledDraft], learned: Bool[np.ndarray, " steps"]
) -> tuple[StepLabelTable, Bool[np.ndarray, " steps"]]:
    """(all labels, which are kept), in the order of `in_order`. UserError if none is kept.

    labels: the drafts with their labels. learned: which of these there are to choose from.
    """
    table = StepLabelTable.of(in_order(labels))
    kept = learned.copy()
    if ctx.config.sorm.balance:
        ranks = ranks_of(in_order(labels), ctx.config.seed)
        kept[learned] = balance(table.select(learned), ranks[learned])
    if not kept.any():
        raise UserError(
            "sorm: no prefix length has both good and bad steps, so nothing is left after "
            "balancing; label more drafts"
        )
    return table, kept


def which(
    ctx: Context, labels: Groups[LabelledDraft]
) -> tuple[Bool[np.ndarray, " steps"], Bool[np.ndarray, " steps"]]:
    """(labels of whole steps, labels of held-out questions), in the order of `in_order`.

    labels: the drafts with their labels.
    """
    seed = ctx.config.seed
    share = ctx.config.sorm.held_out
    folder = ctx.folder("sample", "records")
    rows = parts.expected(ctx, "sample/records")
    samples = grouping.of_folder(folder, Sample, ("question_id", "sample_id", "ended"), rows)
    whole: list[bool] = []
    held_out: list[bool] = []
    for group, sampled in grouping.joined(labels, samples):
        unseen = is_held_out(seed, group[0]["question_id"], share)
        cut_off = {sample["sample_id"] for sample in sampled if not sample["ended"]}
        for record in in_order([group]):
            steps = len(record["labels"])
            whole += [True] * steps
            held_out += [unseen] * steps
            if steps and record["sample_id"] in cut_off:
                whole[-1] = False
    return np.array(whole, bool), np.array(held_out, bool)


def drafts(ctx: Context, *columns: str) -> Groups[LabelledDraft]:
    """The labelled drafts of each question, with their ids and `columns`."""
    folder = ctx.folder("rollout", "records")
    rows = parts.expected(ctx, "rollout/records")
    names = ("question_id", "sample_id", *columns)
    return grouping.of_folder(folder, LabelledDraft, names, rows)


def in_order(groups: Iterable[Sequence[LabelledDraft]]) -> Iterator[LabelledDraft]:
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
