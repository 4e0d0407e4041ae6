"""From a stage's examples to a trained model: batches, the loop with its folders, clean-up."""

from collections.abc import Callable, Iterable

from flax import nnx

from glore_jax.config import AnyConfig
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import processes
from glore_jax.stages.context import Context
from glore_jax.training import loop
from glore_jax.training.batches import Batches, BatchSource
from glore_jax.training.examples import Example, PackedExamples
from glore_jax.training.losses import LossFunction


def row_length_of(section: AnyConfig, config: LlamaConfig) -> int:
    """Tokens of a packed row: no more than the model's context."""
    return min(section.row_length, config.max_positions)


def row_multiple_of(ctx: Context, section: AnyConfig) -> int:
    """What the rows of a batch are a multiple of.

    A microbatch is divided over `data` and `fsdp`.
    """
    return ctx.mesh.shape["data"] * ctx.mesh.shape["fsdp"] * section.microbatches


def make_batches(
    ctx: Context, examples: Iterable[Example], section: AnyConfig, config: LlamaConfig
) -> tuple[Batches, int]:
    """(batches, number of examples left out because they are longer than a row).

    The examples are packed on this machine's disk as they come.
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
    return batches, packed.left_out


def fit(
    ctx: Context,
    name: str,
    model: Model,
    batches: BatchSource,
    loss_fn: LossFunction,
    section: AnyConfig,
    on_update: Callable[[int, nnx.State], None] | None = None,
) -> loop.Trained:
    """Trains with checkpoints under the folder `name` and a TensorBoard run of its own.

    `on_update`: see `loop.train`. The checkpoints stay until `drop_checkpoints`.
    """
    writer = ctx.writer(name, section)
    try:
        return loop.train(
            model,
            batches,
            loss_fn,
            section,
            mesh=ctx.mesh,
            folder=ctx.folder(*name.split("/"), "checkpoints"),
            name=name,
            writer=writer,
            on_update=on_update,
        )
    finally:
        writer.close()


def drop_checkpoints(ctx: Context, name: str) -> None:
    """Removes the checkpoints of a finished run, once its result is exported."""
    processes.barrier(f"{name} exported")
    folder = ctx.folder(*name.split("/"), "checkpoints")
    processes.on_main(folder.rmtree, missing_ok=True)
