"""One update of a training run as one compiled program: gradients, optimizer, new parameters.

(state, batch) ─► gradients, of one microbatch after the other ─► optimizer ─► (state, metrics)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import AbstractMesh, Mesh

from glore_jax.config import AnyConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.training.batches import Batch
from glore_jax.training.losses import LossFunction, Metrics
from glore_jax.training.optimizer import make_optimizer, state_shardings
from glore_jax.training.state import TrainState

# update(TrainState, Batch) -> (TrainState, Metrics), jitted
Update = jax.stages.Wrapped


@dataclasses.dataclass(frozen=True)
class Setup:
    """A training run before its first update.

    Attributes:
      update: the jitted update, see `make_update`.
      init: makes the first state from the parameters, which it shares.
      state: shapes, dtypes and shardings of that state; nothing of it is allocated.
      schedule: number of an update -> learning rate.
    """

    update: Update
    init: Callable[[nnx.State], TrainState]
    state: TrainState
    schedule: optax.Schedule


def setup(
    model: Model, loss_fn: LossFunction, config: AnyConfig, updates: int, mesh: Mesh | AbstractMesh
) -> Setup:
    """Everything that a run compiles; nothing is computed.

    Args:
      model: its parameters are arrays or `ShapeDtypeStruct`s, with shardings on `mesh`.
      loss_fn: one of `losses.py`.
      config: a training section, see `make_optimizer`; also `microbatches`.
      updates: how many the run has; the schedule depends on it.
      mesh: of the training.
    """
    tx, schedule = make_optimizer(config, updates)
    opt_state = jax.eval_shape(tx.init, model.params)
    param_shardings = jax.tree.map(lambda p: p.sharding, model.params)
    opt_shardings = state_shardings(tx, opt_state, param_shardings, mesh)
    shardings = TrainState(param_shardings, opt_shardings)
    init_optimizer = jax.jit(tx.init, out_shardings=opt_shardings)

    def init(params: nnx.State) -> TrainState:
        return TrainState(params, init_optimizer(params))

    return Setup(
        make_update(model.graphdef, loss_fn, tx, shardings, config.microbatches),
        init,
        meshes.placed(TrainState(model.params, opt_state), shardings),
        schedule,
    )


def make_update(
    graphdef: nnx.GraphDef,
    loss_fn: LossFunction,
    tx: optax.GradientTransformation,
    shardings: TrainState,
    microbatches: int = 1,
) -> Update:
    """The jitted update (state, batch) -> (state, metrics); the state is donated.

    The metrics are those of the loss, and `gradient_norm`, of the gradients before clipping.

    Args:
      graphdef: of the model.
      loss_fn: called with the model, rows and the batch that they belong to.
      tx: the optimizer.
      shardings: of the state; all on one mesh.
      microbatches: how many equal shares of its rows a batch is taken in, one after the other.
        Their gradients are added: the gradient of the batch, with room for the activations of one
        share.
    """
    mesh = jax.tree.leaves(shardings)[0].mesh.abstract_mesh

    def gradient(params: nnx.State, rows: Batch, batch: Batch) -> tuple[nnx.State, Metrics]:
        def loss(params: nnx.State) -> tuple[jax.Array, Metrics]:
            with jax.sharding.use_abstract_mesh(mesh):  # for `over_rows` of the model
                return loss_fn(nnx.merge(graphdef, params), rows, batch)

        (_, metrics), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return gradients, metrics

    def update(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        def constrained(rows: Batch) -> tuple[nnx.State, Metrics]:
            # The sums are carried from one microbatch to the next: they lie as the parameters do.
            gradients, metrics = gradient(state.params, rows, batch)
            return jax.lax.with_sharding_constraint(gradients, shardings.params), metrics

        if microbatches == 1:
            gradients, metrics = gradient(state.params, batch, batch)
        else:
            gradients, metrics = _sum(constrained, _microbatches(batch, microbatches))
        updates, opt_state = tx.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(gradients)
        return TrainState(params, opt_state), metrics | {"gradient_norm": norm}

    return jax.jit(update, donate_argnums=0, out_shardings=(shardings, None))


def _microbatches(batch: Batch, count: int) -> Batch:
    """Arrays [rows, ...] as [count, rows / count, ...]: the microbatches one after the other.

    A device's rows stay with it, so a microbatch is not a run of rows but every `count`-th. Of
    eight rows on two devices, in two microbatches:

        device 0    rows  0 1 2 3          microbatch 0    rows  0 2 | 4 6
        device 1    rows  4 5 6 7          microbatch 1    rows  1 3 | 5 7
    """
    return jax.tree.map(
        lambda x: x.reshape(-1, count, *x.shape[1:]).swapaxes(0, 1),
        batch,
    )


def _sum(function: Callable[[Batch], Any], microbatches: Batch) -> Any:
    """The sum of `function(microbatch)`, a tree, over the leading axis of `microbatches`."""
    first = jax.tree.map(lambda x: x[0], microbatches)
    zeros = optax.tree.zeros_like(jax.eval_shape(function, first))

    def add(total: Any, microbatch: Batch) -> tuple[Any, None]:
        # Not `optax.tree.add`: it starts each sum from a 0 of its own.
        return jax.tree.map(jnp.add, total, function(microbatch)), None

    total, _ = jax.lax.scan(add, zeros, microbatches)
    return total
