"""From a stage's examples to a trained and exported model, once: a kill trains nothing again.

NAME/checkpoints     while it trains
NAME/trained.json    its figures, once it has trained
TARGET/              its export; whole, and with the figures, the training is done
the stage's record   and only after it the checkpoints go (`drop_checkpoints`)
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

from etils import epath
from flax import nnx

from glore_jax import storage
from glore_jax.config import AnyConfig
from glore_jax.models import hf_import
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model, Start
from glore_jax.parallel import coordinator, processes
from glore_jax.progress import TRAIN
from glore_jax.stages.context import Context
from glore_jax.training import loop
from glore_jax.training.batches import Batches, BatchSource, Plan
from glore_jax.training.examples import Example, PackedExamples
from glore_jax.training.losses import LossFunction

MOSTLY_EMPTY = 0.5  # share of row positions with a token, below which a person is told
FEW_UPDATES = 100  # below which a person is told

# Stage -> what its examples are.
EXAMPLES = {
    "student": "solutions",
    "orm": "samples",
    "sorm": "labelled drafts",
    "refiner": "pairs",
}


def row_length_of(section: AnyConfig, config: LlamaConfig) -> int:
    """Tokens of a packed row: no more than the model's context."""
    return min(section.row_length, config.max_positions)


def row_multiple_of(ctx: Context, section: AnyConfig) -> int:
    """What the rows of a batch are a multiple of.

    A microbatch is divided over `data` and `fsdp`.
    """
    return ctx.mesh.shape["data"] * ctx.mesh.shape["fsdp"] * section.microbatches


def make_batches(
    ctx: Context, name: str, examples: Iterable[Example], section: AnyConfig, config: LlamaConfig
) -> tuple[Batches, int]:
    """(batches, number of examples left out because they are longer than a row).

    The examples are packed on this machine's disk as they come. A person is told what is left out,
    and if there are few batches.

    name: of the run, as in "orm/plain".
    """
    row_length = row_length_of(section, config)
    packed = PackedExamples(examples, longest=row_length)
    batches = Batches(
        packed,
        batch_size=section.batch_size,
        row_length=row_length,
        epochs=section.epochs,
        seed=ctx.config.seed,
        row_multiple=row_multiple_of(ctx, section),
    )
    if packed.left_out:
        count = packed.left_out + len(packed)
        ctx.warn(
            f"{name}: {packed.left_out} of {count} examples are longer than "
            f"row_length={row_length} and left out"
        )
    stage = name.split("/")[0]
    if advice := few_updates(stage, len(batches), section.batch_size, section.epochs):
        ctx.warn(f"{name}: {advice}")
    return batches, packed.left_out


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is told of a training.

    Attributes:
      updates: of the whole run.
      metrics: means over the last tenth of the updates.
    """

    updates: int
    metrics: dict[str, float]


def fit(
    ctx: Context,
    name: str,
    start: Start,
    batches: BatchSource,
    loss_fn: LossFunction,
    section: AnyConfig,
    export: Callable[[epath.Path, Model], None],
    target: epath.Path,
    on_update: Callable[[int, nnx.State], None] | None = None,
) -> Outcome:
    """Trains and exports, unless that is done.

    Args:
      name: of the run, as in "orm/plain": its folder of the work directory, its curves' tags.
      start, batches, loss_fn, section: see `loop.train`.
      export: writes the folder `target` as a whole or not at all, as `hf_export.save_policy` does.
      on_update: see `loop.train`.
    """
    figures = ctx.folder(*name.split("/"), "trained.json")

    def done() -> Any:
        whole = storage.exists(figures) and hf_import.is_export(target)
        return storage.read_json(figures) if whole else None

    found = coordinator.from_main(f"{name} looked up", done)
    if found is None:
        warn_of_padding(ctx, name, batches.plan, row_multiple_of(ctx, section))
        trained = _train(ctx, name, start, batches, loss_fn, section, on_update)
        found = {"updates": trained.updates, "metrics": trained.metrics}
        # First: the export is the last thing that a training leaves.
        processes.on_main(storage.write_json, figures, found)
        export(target, trained.model)
        processes.barrier(f"{name} exported")
    return Outcome(**found)


def _train(
    ctx: Context,
    name: str,
    start: Start,
    batches: BatchSource,
    loss_fn: LossFunction,
    section: AnyConfig,
    on_update: Callable[[int, nnx.State], None] | None,
) -> loop.Trained:
    """Trains, with checkpoints under the folder `name` and curves of that name."""
    with ctx.piece(name, TRAIN, "updates", len(batches)) as piece:
        return loop.train(
            start,
            batches,
            loss_fn,
            section,
            mesh=ctx.mesh,
            folder=ctx.folder(*name.split("/"), "checkpoints"),
            name=name,
            writer=ctx.writer(name),
            piece=piece,
            say=ctx.say,
            on_update=on_update,
        )


def drop_checkpoints(ctx: Context, name: str) -> None:
    """Removes the checkpoints of a finished run, once what it led to is recorded."""
    processes.barrier(f"{name} recorded")
    folder = ctx.folder(*name.split("/"), "checkpoints")
    processes.on_main(folder.rmtree, missing_ok=True)


def few_updates(stage: str, updates: int, batch_size: int, epochs: int) -> str:
    """What to say of a training of `stage` of so many updates; empty if they are not few."""
    if updates >= FEW_UPDATES:
        return ""
    what = EXAMPLES.get(stage, "examples")
    enough = math.ceil(FEW_UPDATES / epochs) * batch_size
    times = f" {epochs} times" if epochs > 1 else ""
    return (
        f"{updates} updates are few; {FEW_UPDATES} of batch_size={batch_size} read "
        f"{enough:,} {what}{times}: make more, or take a smaller batch_size"
    )


def warn_of_padding(ctx: Context, name: str, plan: Plan, multiple: int) -> None:
    """Says so if most of what is computed is padding."""
    if advice := padding_advice(plan, multiple):
        ctx.say(f"{name}: {advice}")


def padding_advice(plan: Plan, multiple: int) -> str:
    """What to change if the batches run mostly empty; empty if they do not.

    multiple: what the rows of a batch are a multiple of (`row_multiple_of`).
    """
    if plan.fill >= MOSTLY_EMPTY:
        return ""
    padding = f"{1 - plan.fill:.0%} of a batch is padding"
    shape = f"batch_size={plan.batch_size} makes {plan.rows} rows of {plan.row_length} tokens"
    if plan.rows > multiple:  # long examples, of which no two share a row
        return f"{padding}: {shape}; take another row_length"
    enough = int(plan.batch_size / plan.fill)
    return (
        f"{padding}: {shape}, the fewest for mesh.data x mesh.fsdp x microbatches = {multiple}; "
        f"take a batch_size up to {enough}, a shorter row_length, or fewer of those"
    )
