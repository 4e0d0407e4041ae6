"""Stage `refiner`: one model for global and local refinement (paper section 4.1 step 3).

    samples ───────────► global pairs ─┐      `refiner.keep_right` of them with right drafts
                                       ├─► base, fine-tuned to write the target behind the draft
    labelled drafts ───► local pairs ──┘

It starts from the base, not from the student. Its marks are those of the labels, which a draft of
a test question does not have: training it on greedy drafts with the marks of a locator is not done.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator

from glore_jax import grouping, records
from glore_jax.errors import UserError
from glore_jax.labels.pairs import global_pairs, local_pairs
from glore_jax.models import hf_export
from glore_jax.parallel import processes
from glore_jax.records import LabelledDraft, Pair, Sample
from glore_jax.stages import models, parts, training
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import Prompts
from glore_jax.training import losses
from glore_jax.training.examples import Example, language_example

OF_SAMPLES = ("question_id", "sample_id", "question", "gold", "steps", "correct", "policy")
OF_DRAFTS = (
    *("question_id", "sample_id", "completions", "labels"),
    *("first_error", "correct", "traces"),
)


def run(ctx: Context) -> dict:
    config = ctx.config.refiner
    kinds = dict.fromkeys(("global", "local", "kept"), 0)
    pairs = counted(written(ctx, make_pairs(ctx)), kinds)
    first = next(pairs, None)  # before a large model is loaded
    if first is None:
        raise UserError(
            "refiner: no question has both a right and a wrong sample, "
            "so there is nothing to pair; sample more"
        )
    base = models.base_start(ctx)
    prompts = ctx.prompts(base.model)
    both_ways = config.attention == "prefix"
    examples = (
        pair_example(prompts, pair, both_ways, config.turn)
        for pair in itertools.chain([first], pairs)
    )
    batches, too_long = training.make_batches(ctx, examples, config.train, base.model.config)
    export = functools.partial(hf_export.save_policy, dtype=ctx.config.model.dtype)
    trained = training.fit(
        ctx,
        "refiner/train",
        base,
        batches,
        losses.language_loss,
        config.train,
        export,
        ctx.folder("refiner", "hf"),
    )
    training.drop_checkpoints(ctx, "refiner/train")
    return {
        "pairs": kinds,
        "too_long": too_long,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def make_pairs(ctx: Context) -> Iterator[Pair]:
    """The pairs of both kinds, global ones first, from the files of `sample` and `rollout`."""
    config = ctx.config.refiner
    seed = ctx.config.seed
    grade = ctx.task.grade
    rows = parts.expected(ctx, "sample/records")
    samples = grouping.of_folder(ctx.folder("sample", "records"), Sample, OF_SAMPLES, rows)
    rows = parts.expected(ctx, "rollout/records")
    folder = ctx.folder("rollout", "records")
    labelled = grouping.of_folder(folder, LabelledDraft, OF_DRAFTS, rows)
    yield from global_pairs(samples, config.per_question, seed, grade, config.keep_right)
    yield from local_pairs(
        grouping.joined(labelled, samples),
        config.per_question,
        seed,
        config.failed_continuations,
        grade,
    )


def written(ctx: Context, pairs: Iterator[Pair]) -> Iterator[Pair]:
    """`pairs`; process 0 writes them to `refiner/pairs` as they pass."""
    folder = ctx.folder("refiner", "pairs")
    rows: list[int] = []
    for part in records.in_parts(pairs):
        processes.on_main(records.write_part, folder, len(rows), part, Pair)
        rows.append(len(part))
        yield from part
    ctx.keep_rows("refiner/pairs", rows)


def counted(pairs: Iterable[Pair], kinds: dict[str, int]) -> Iterator[Pair]:
    """`pairs`; adds to `kinds` how many of each kind have passed, right drafts as `kept`."""
    for pair in pairs:
        kinds["kept" if pair["draft"] == pair["target"] else pair["kind"]] += 1
        yield pair


def pair_example(prompts: Prompts, pair: Pair, both_ways: bool, turn: float) -> Example:
    """A pair as a training example: the target after the draft, loss on the target only.

    The token at which the target leaves the draft weighs `turn`, all others of the target 1: up to
    it a correction is a copy, and what comes after follows from it. `both_ways`: the tokens before
    the target see each other both ways.
    """
    target, _ = prompts.solution(pair["target"])
    draft, _ = prompts.solution(pair["draft"])
    source = prompts.refine(pair["prompt"], pair["draft"], pair["first_error"])
    example = language_example(source, target, both_ways)
    leaves = [i for i, (a, b) in enumerate(zip(target, draft, strict=False)) if a != b]
    if leaves:
        example.weights[len(source) + leaves[0]] = turn
    return example
