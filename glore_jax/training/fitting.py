"""How much of a forward pass is kept for the backward pass: as much as fits the devices.

    none        everything                                        fastest, and takes most memory
    dots        the results of the weight products
    attention   the outputs of attention
    full        the input of each layer; all else is computed again

`config.model.remat=auto` takes the first of these whose compiled update fits. The compiler says
what it takes, so nothing is estimated, and the program that was tried is the one that runs. The
same function serves planning, with a described mesh and the memory of its chips.
"""

import dataclasses
import gc
import math
import os
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh, NamedSharding

from glore_jax import storage
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel import processes
from glore_jax.parallel.chips import GIB
from glore_jax.training.batches import Batch, BatchSource
from glore_jax.training.losses import LossFunction, Metrics
from glore_jax.training.state import TrainState
from glore_jax.training.update import Setup, setup

AUTO = "auto"  # as `remat` of a model: to be chosen
LADDER = ("none", "dots", "attention", "full")
_COMPILER_FLAGS = ("LIBTPU_INIT_ARGS", "XLA_FLAGS")  # variables of the environment


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A training run that is compiled, and fits.

    Attributes:
      setup: of the model with the `remat` that was chosen.
      remat: one of `LADDER`.
      batch: shapes of the largest batch.
      executable: the update for such a batch.
      needed: bytes of a device while it runs; None if the backend does not say.
      metrics: names of what the update measures.
    """

    setup: Setup
    remat: str
    batch: Batch
    executable: jax.stages.Compiled
    needed: int | None
    metrics: tuple[str, ...]


def fit(
    model: Model,
    loss_fn: LossFunction,
    config: AnyConfig,
    updates: int,
    mesh: Mesh,
    batch: Batch,
    limit: int | None,
    first: str = LADDER[0],
) -> Fitted:
    """Compiles the update of a run with the `remat` of the model, or the first of `LADDER` that
    fits if that is "auto". All processes choose the same.

    Args:
      model: its parameters are `ShapeDtypeStruct`s or arrays, with shardings on `mesh`.
      loss_fn, config, updates, mesh: as for `update.setup`.
      batch: the largest one, as `ShapeDtypeStruct`s with shardings (`largest_batch`).
      limit: bytes that a device has for the update; None: not known, then the first is taken.
      first: where on the ladder to begin; what stands before it does not fit, as is known.

    Raises:
      UserError: none fits.
    """
    auto = model.remat == AUTO
    ladder = LADDER[LADDER.index(first) :] if auto else (model.remat,)
    for remat in ladder:
        run = setup(model.with_remat(remat), loss_fn, config, updates, mesh)
        lowered = run.update.lower(run.state, batch)
        executable, refusal = _compile(lowered)
        needed = None
        if executable is not None:
            needed = _needed_bytes(executable, batch)
            # Who asks for a policy by name gets it, as long as the compiler does not refuse. So
            # does who has reached the end: more cannot be saved.
            is_tight = limit is not None and needed is not None and needed > limit
            if is_tight and remat != ladder[-1]:
                executable = None
        if processes.all_agree(executable is not None):
            assert executable is not None
            _, metrics = lowered.out_info
            return Fitted(run, remat, batch, executable, needed, tuple(metrics))
    choice = "" if auto else "config.model.remat=auto, "
    error = UserError(
        f"a training step does not fit the devices: take {choice}more devices, more microbatches, "
        "or a smaller batch_size or row_length "
        f"({refusal or 'another process has less room'})"
    )
    processes.raise_together(error)


def largest_batch(batches: BatchSource, mesh: Mesh) -> Batch:
    """Shapes of the largest batch, with shardings. Some sources have smaller ones too."""
    rows, length = batches.plan.rows, batches.plan.row_length
    by_rows = NamedSharding(mesh, meshes.BATCH)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((rows, length)[: x.ndim], x.dtype, sharding=by_rows),
        batches[0],
    )


def room(mesh: Mesh) -> int | None:
    """Bytes that are free on each of this process's devices; None if they do not say (CPUs).

    What nobody can reach any more is freed first: an engine and what is compiled for it hold each
    other in circles, and with them a whole model, until Python looks for such.
    """
    gc.collect()
    stats = [device.memory_stats() for device in mesh.local_devices]
    free = [s["bytes_limit"] - s["bytes_in_use"] for s in stats if s and "bytes_limit" in s]
    return min(free) if len(free) == len(stats) else None


class Updates:
    """The update of a fitted run for batches of any shape, each compiled once."""

    def __init__(self, fitted: Fitted):
        self._setup = fitted.setup
        self._executables = {_shapes(fitted.batch): fitted.executable}

    def __call__(self, state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        """As `update.Update`."""
        shapes = _shapes(batch)
        if shapes not in self._executables:
            lowered = self._setup.update.lower(self._setup.state, batch)
            self._executables[shapes] = lowered.compile()
        return self._executables[shapes](state, batch)


class Memory:
    """Remembers in a file what was chosen, so that a restart need not try again what does not fit.

    It counts only where the same update is compiled in the same way for the same devices.
    """

    def __init__(self, file: epath.PathLike, model: Model, mesh: Mesh, batch: Batch):
        self._file = storage.path(file)
        self._key = storage.fingerprint(
            {
                "jax": jax.__version__,
                "compiler": {name: os.environ.get(name, "") for name in _COMPILER_FLAGS},
                "device": mesh.devices.flat[0].device_kind,
                "mesh": dict(mesh.shape),
                "batch": [list(x.shape) for x in jax.tree.leaves(batch)],
                "computation": model.computation,
            }
        )

    def recall(self) -> str:
        """The policy of `LADDER` to begin with."""
        if not self._file.exists():
            return LADDER[0]
        return storage.read_json(self._file).get(self._key, LADDER[0])

    def keep(self, remat: str) -> None:
        storage.write_json(self._file, {self._key: remat})


def describe(fitted: Fitted, limit: int | None) -> str:
    """What was chosen, for a person."""
    sizes = [f"{size / GIB:.2f}" for size in (fitted.needed, limit) if size is not None]
    taken = f", {' of '.join(sizes)} GiB a device" if len(sizes) == 2 else ""
    return f"remat={fitted.remat}{taken}"


def _shapes(batch: Batch) -> Any:
    return tuple(x.shape for x in jax.tree.leaves(batch)), jax.tree.structure(batch)


def _compile(lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled | None, str]:
    """(the program, why there is none: it does not fit)."""
    try:
        return lowered.compile(), ""
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error) and "Oom" not in str(error):
            raise
        return None, " ".join(str(error).split())[:200]


def _needed_bytes(executable: jax.stages.Compiled, batch: Batch) -> int | None:
    """Bytes of a device while the update runs, the batch after it being there already."""
    memory: Any = executable.memory_analysis()
    if memory is None:
        return None
    fresh_results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    ahead = sum(
        x.dtype.itemsize * math.prod(x.sharding.shard_shape(x.shape))
        for x in jax.tree.leaves(batch)
    )
    return (
        memory.argument_size_in_bytes
        + fresh_results
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
        + ahead
    )
