"""A training run of twelve updates of the tiny LLaMA, on any mesh. As a program, one process of it:

    python tiny_run.py FOLDER DATA,FSDP,TENSOR ADDRESS COUNT INDEX

Process 1 gets SIGTERM after update 5, and only process 0's clock says that it is time to save.
Ends with exit code 130.
"""

import os
import pathlib
import signal
import sys

from glore_jax.parallel import processes
from glore_jax.progress import TRAIN, Piece
from glore_jax.progress.tensorboard import Writer

UPDATES = 12
SIGNALLED = 5


class Events(Writer):
    """In place of the TensorBoard writer: `rows`, what was written by update."""

    traces = None

    def __init__(self):
        self.rows = {}

    def scalars(self, values, step):
        assert step not in self.rows
        self.rows[step] = values

    @property
    def losses(self):
        return {update: values["loss"] for update, values in self.rows.items()}


def counting():
    """Sixteen examples: 5 6 7 8 ... from anywhere."""
    from glore_jax.training.examples import language_example

    return [language_example([5 + i], [6 + i + j for j in range(7)]) for i in range(16)]


def train(folder, sizes, devices=None, stop_after=None, save_seconds=600.0):
    """(parameters, losses by update) of what was missing of the run in `folder`.

    It trains on a mesh of those sizes. This process gets SIGTERM after `stop_after` updates;
    KeyboardInterrupt then has the losses as its argument.
    """
    import jax
    from tiny_llama import model

    from glore_jax.config import training
    from glore_jax.models.model import Start
    from glore_jax.parallel import mesh as meshes
    from glore_jax.training import loop, losses
    from glore_jax.training.batches import Batches

    start = model(seed=1)
    mesh = meshes.make_mesh(*sizes, devices)
    small = jax.tree.map(lambda x: x * 0.2, start.params)
    shardings = meshes.param_shardings(start.params, mesh)
    described = start.with_params(meshes.placed(small, shardings))
    config = training(1e-2, 1e-3, 8, 6)
    config.save_seconds = save_seconds
    writer = Events()
    batches = Batches(counting(), batch_size=8, row_length=16, epochs=6, seed=0, row_multiple=8)
    assert len(batches) == UPDATES

    def on_update(update, params):
        if update == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        trained = loop.train(
            Start(described, lambda: jax.device_put(small, shardings)),
            batches,
            losses.language_loss,
            config,
            mesh=mesh,
            folder=pathlib.Path(folder),
            name="tiny",
            writer=writer,
            piece=Piece("tiny", TRAIN, "updates", len(batches)),
            on_update=on_update,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(writer.losses) from None
    return trained.model.params, writer.losses


if __name__ == "__main__":
    folder, sizes, address, count, index = sys.argv[1:]
    processes.initialize(address, int(count), int(index))
    first = index == "0"
    try:
        train(
            folder,
            [int(n) for n in sizes.split(",")],
            stop_after=None if first else SIGNALLED,
            save_seconds=0.0 if first else 1e9,
        )
    except KeyboardInterrupt:
        processes.announce_exit(130, "interrupted")
