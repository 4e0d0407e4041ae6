"""Stage `refiner`: one model for global and local refinement (paper section 4.1 step 3).

    samples ───────────► global pairs ─┐
                                       ├─► base, fine-tuned to write the target behind the draft
    labelled drafts ───► local pairs ──┘

It starts from the base, not from the student.
"""

import functools

from glore_jax import records
from glore_jax.errors import UserError
from glore_jax.labels.pairs import global_pairs, local_pairs
from glore_jax.models import hf_export
from glore_jax.parallel import processes
from glore_jax.records import LabelledDraft, Pair, Sample
from glore_jax.stages import models, training
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import Prompts
from glore_jax.training import losses
from glore_jax.training.batches import Example, language_example


def run(ctx: Context) -> dict:
    config = ctx.config.refiner
    pairs = make_pairs(ctx)
    if not pairs:
        raise UserError(
            "refiner: no question has both a right and a wrong sample, "
            "so there is nothing to pair; sample more"
        )
    processes.on_main(records.write_part, ctx.folder("refiner", "pairs"), 0, pairs, Pair)
    base = models.base_start(ctx)
    prompts = ctx.prompts(base.model)
    both_ways = config.attention == "prefix"
    examples = [pair_example(prompts, pair, both_ways, config.turn) for pair in pairs]
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
    kinds = {kind: sum(pair["kind"] == kind for pair in pairs) for kind in ("global", "local")}
    return {
        "pairs": kinds,
        "too_long": too_long,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }


def make_pairs(ctx: Context) -> list[Pair]:
    """The pairs of both kinds, from the files of stages `sample` and `rollout`."""
    config = ctx.config.refiner
    seed = ctx.config.seed
    grade = ctx.task.grade
    samples = records.read(ctx.folder("sample", "records"), Sample)
    labelled = records.read(ctx.folder("rollout", "records"), LabelledDraft)
    whole = global_pairs(samples, config.per_question, seed, grade)
    local = local_pairs(
        labelled, samples, config.per_question, seed, config.failed_continuations, grade
    )
    return whole + local


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
