"""Stage `refiner`: one model for global and local refinement, trained on both kinds of pairs (paper section 4.1 step 3)."""

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.pairs import global_pairs, local_pairs
from glore_jax.models import hf_export
from glore_jax.parallel import processes
from glore_jax.stages import models, training
from glore_jax.training import losses
from glore_jax.training.batches import language_example


def make_pairs(ctx) -> list[dict]:
    c, seed, grade = ctx.config.refiner, ctx.config.seed, ctx.task.grade
    samples = storage.read_records(ctx.folder("sample", "records"))
    labelled = storage.read_records(ctx.folder("rollout", "records"))
    return global_pairs(samples, c.per_question, seed, grade) + local_pairs(
        labelled, samples, c.per_question, seed, c.failed_continuations, grade
    )


def pair_example(prompts, pair: dict, prefix: bool, turn: float):
    """A pair as a training example: the target after the draft. The token at which the target leaves the draft weighs `turn`, all
    others of the target 1: up to it a correction is a copy, and what comes after follows from it."""
    target, draft = (prompts.solution(pair[side])[0] for side in ("target", "draft"))
    source = prompts.refine(pair["prompt"], pair["draft"], pair["first_error"])
    example = language_example(source, target, prefix)
    leaves = [i for i, (a, b) in enumerate(zip(target, draft, strict=False)) if a != b]
    if leaves:
        example.weights[len(source) + leaves[0]] = turn
    return example


def run(ctx) -> dict:
    c, pairs = ctx.config.refiner, make_pairs(ctx)
    if not pairs:
        raise UserError(
            "refiner: no question has both a right and a wrong sample, so there is nothing to pair; sample more"
        )
    processes.on_main(storage.write_part, ctx.folder("refiner", "pairs"), 0, pairs)
    base, prefix = models.load_base(ctx), c.attention == "prefix"
    prompts = ctx.prompts(base)
    examples = [pair_example(prompts, pair, prefix, c.turn) for pair in pairs]
    batches, too_long = training.make_batches(ctx, examples, c.train, base.config)
    trained = training.fit(ctx, "refiner/train", base, batches, losses.language_loss, c.train)
    hf_export.save_policy(ctx.folder("refiner", "hf"), trained.model, ctx.config.model.dtype)
    training.drop_checkpoints(ctx, "refiner/train")
    kinds = {kind: sum(p["kind"] == kind for p in pairs) for kind in ("global", "local")}
    return {
        "pairs": kinds,
        "too_long": too_long,
        "steps": trained.updates,
        "fill": batches.plan.fill,
        **trained.metrics,
    }
