"""The training loop of every model: deterministic batches, one compiled update, checkpoints.

fitting.py ─► compiled update
batches.py ─► prefetch.py ─► update.py ─► log.py          metrics, one update late
                                      └─► saving.py       whether to save or to stop
                                            └─► checkpoints.py
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable

import jax
import numpy as np
from etils import epath
from flax import nnx
from jax.sharding import Mesh

from glore_jax import storage
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models.model import Model, Start
from glore_jax.parallel import coordinator, processes
from glore_jax.parallel import mesh as meshes
from glore_jax.progress import Piece
from glore_jax.progress.tensorboard import Writer
from glore_jax.training import fitting
from glore_jax.training.batches import BatchSource
from glore_jax.training.checkpoints import Checkpoints
from glore_jax.training.fitting import Fitted
from glore_jax.training.log import MetricsLog
from glore_jax.training.losses import LossFunction
from glore_jax.training.metrics import training_flops
from glore_jax.training.prefetch import prefetch
from glore_jax.training.profiling import profiler
from glore_jax.training.saving import Action, SaveClock, SavePolicy
from glore_jax.training.signals import deferred_signals
from glore_jax.training.state import Tail, TrainState, from_tree, to_tree
from glore_jax.training.update import Setup


@dataclasses.dataclass
class Trained:
    """The result of a run.

    Attributes:
      model: with the trained parameters.
      updates: of the whole run.
      metrics: means over the last tenth of the updates.
    """

    model: Model
    updates: int
    metrics: dict[str, float]


def train(
    start: Start,
    batches: BatchSource,
    loss_fn: LossFunction,
    config: AnyConfig,
    *,
    mesh: Mesh,
    folder: epath.PathLike,
    name: str,
    writer: Writer,
    piece: Piece,
    say: Callable[[str], object] = print,
    on_update: Callable[[int, nnx.State], None] | None = None,
) -> Trained:
    """Trains on all `batches`; goes on from the newest checkpoint under `folder`.

    If there is one, it is read into the shapes of the run, and `start` is not loaded: to go on
    takes no more memory than to train. The checkpoints stay: the caller drops them once the result
    is safe. SIGTERM and Ctrl-C save before they end the process; with several processes, one of
    them that is signalled makes all save and end (`saving.py`).

    Args:
      start: what is trained: float32, over `mesh`, all devices of all processes.
      batches, loss_fn: a batch for each update; one of `losses.py`.
      config: a training section, such as `config.student.sft`.
      folder, name, writer: of checkpoints; in messages; of TensorBoard events.
      piece: counts the updates.
      say: prints a line (process 0 alone).
      on_update: called with (updates done, parameters) after each but the last.

    Raises:
      UserError: the processes have different batches, or the run does not fit the devices.
      FloatingPointError: a loss or a gradient is not finite; it names the update.
      KeyboardInterrupt: the run was told to end, and has saved.
    """
    _check_same(batches, name)
    fitted = _fit(start, batches, loss_fn, config, mesh, storage.path(folder), name, say)
    run_update = fitting.Updates(fitted)
    checkpoints = Checkpoints(folder)
    first, state, tail = _first_state(checkpoints, fitted, start)
    fed = prefetch(lambda n: meshes.shard_batch(batches[n], mesh), range(first, len(batches)))
    with (
        deferred_signals() as signalled,  # before it begins: who sees that may send one
        profiler(config.profile_steps, writer) as trace,
        contextlib.closing(fed),
    ):
        piece.begin(first)
        log = _metrics_log(fitted.setup, start.model, batches, writer, tail, piece)
        policy = SavePolicy(len(batches), signalled, SaveClock(config.save_seconds))
        for update, batch in enumerate(fed, first):
            trace(update)
            with jax.profiler.StepTraceAnnotation("update", step_num=update):  # for a trace
                state, metrics = run_update(state, batch)
            log.add(update, metrics)
            done = update + 1
            if on_update and done < len(batches):
                on_update(done, state.params)
            action = policy.after_update(done)
            if action != Action.CONTINUE:
                log.read()  # no checkpoint of a state that is not a number
                checkpoints.save(done, to_tree(state, tail))
            if action == Action.STOP:
                checkpoints.close()
                processes.disconnect()
                raise KeyboardInterrupt
    log.read()
    checkpoints.close()
    return Trained(start.model.with_params(state.params), len(batches), tail.means())


def _check_same(batches: BatchSource, name: str) -> None:
    """UserError in every process unless all have the same batches."""
    try:
        coordinator.check_same(f"the training set of {name}", batches.fingerprint())
    except UserError as error:
        processes.raise_together(error)


def _fit(
    start: Start,
    batches: BatchSource,
    loss_fn: LossFunction,
    config: AnyConfig,
    mesh: Mesh,
    folder: epath.Path,
    name: str,
    say: Callable[[str], object],
) -> Fitted:
    """The run, compiled; the state is not there yet, so what is free is what it may take.

    Nor is anything left of models that nobody needs any more: neither what is compiled nor the
    checkpoint that may be read next has to make do with less.
    """
    limit = fitting.room(mesh)
    batch = fitting.largest_batch(batches, mesh)
    compile_from = functools.partial(
        fitting.fit, start.model, loss_fn, config, len(batches), mesh, batch, limit
    )
    if start.model.remat != fitting.AUTO:
        return compile_from()
    memory = fitting.Memory(folder.parent / "remat.json", start.model, mesh, batch)
    fitted = compile_from(coordinator.from_main(f"{name} remat", memory.recall))
    processes.on_main(memory.keep, fitted.remat)
    processes.on_main(say, f"{name}: {fitting.describe(fitted, limit)}")
    return fitted


def _first_state(
    checkpoints: Checkpoints, fitted: Fitted, start: Start
) -> tuple[int, TrainState, Tail]:
    """(updates done, state, tail) of the newest checkpoint, or of the beginning.

    Nobody else holds the parameters, so that the first update, which donates them, frees them.
    """
    tail = Tail.of(fitted.metrics)
    done, tree = checkpoints.restore(to_tree(fitted.setup.state, tail))
    if tree is None:
        return 0, fitted.setup.init(start.load()), tail
    return done, *from_tree(tree)


def _metrics_log(
    run: Setup, model: Model, batches: BatchSource, writer: Writer, tail: Tail, piece: Piece
) -> MetricsLog:
    plan = batches.plan
    # All rates at once: a small computation between two updates would wait for the device to
    # finish the first.
    rates = np.asarray(run.schedule(np.arange(len(batches))))
    tokens = plan.rows * plan.row_length * plan.fill  # padding is no work done
    return MetricsLog(
        writer,
        rates,
        flops=training_flops(model.num_params, model.config, tokens, plan.row_length),
        tokens=tokens,
        tail=tail,
        piece=piece,
    )
