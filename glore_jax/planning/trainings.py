"""Programs of a training, over the whole slice: an update, its beginning, and its going on.

NAME            one update
NAME/start      the optimizer's first state, made beside the parameters
NAME/resume     the state that a checkpoint is read into; no program, only its bytes
"""

import dataclasses
import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning.measure import Program
from glore_jax.planning.planned import Planned, model_of
from glore_jax.stages import training
from glore_jax.training import batches, fitting, losses, metrics, update
from glore_jax.training.batches import Batch
from glore_jax.training.examples import Example
from glore_jax.training.update import Setup

UPDATES = 100  # of a schedule; no shape depends on it


@dataclasses.dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes:
      module: of the model.
      section: of its training.
      loss: one of `losses.py`.
      example: one token, which says what arrays a batch holds.
      texts: questions with a solution that an example is long.
      asked: what a reward model reads beside the hidden state.
    """

    module: ModuleType
    section: ConfigDict
    loss: Callable
    example: Example
    texts: int = 1
    asked: dict[str, bool] = dataclasses.field(default_factory=dict)


def trainings(config: ConfigDict) -> dict[str, Training]:
    """Every training of a run of `config`, by the name of its stage."""
    language = losses.language_loss
    prefix = int(config.refiner.attention == "prefix")
    return {
        "student": Training(llama, config.student.sft, language, _example()),
        "orm": _of_reward_model(config.orm),
        "sorm": _of_reward_model(config.sorm),
        "refiner": Training(llama, config.refiner.train, language, _example(prefix=prefix), 2),
    }


def _of_reward_model(config: ConfigDict) -> Training:
    example = _example(labels=np.zeros(1, np.float32))
    asked = {"likelihood": config.likelihood, "language": config.language > 0}
    loss = functools.partial(losses.reward_loss, language=config.language)
    return Training(reward, config.train, loss, example, asked=asked)


def _example(labels: np.ndarray | None = None, prefix: int = 0) -> Example:
    return Example(np.zeros(1, np.int32), np.ones(1, np.float32), labels, prefix)


def step(planned: Planned, of: Training) -> Program:
    """An update, on rows that are full of examples."""
    ctx = planned.ctx
    model = model_of(planned, of.module, training=True, asked=of.asked)
    length = training.row_length_of(of.section, planned.shape)
    multiple = training.row_multiple_of(ctx, of.section)
    full = -(-of.section.batch_size * of.texts * planned.tokens // length)
    rows = -(-full // multiple) * multiple
    batch = _batch(ctx.mesh, of.example, rows, length)
    setup, remat, compiled = _fitted(planned, of, model, batch)
    return Program(
        function=setup.update,
        compiled=compiled,
        arguments=(setup.state, batch),
        donated=(0,),
        weights=model.params,
        model_flops=metrics.training_flops(
            model.num_params, planned.shape, float(rows * length), length
        ),
        mesh=ctx.mesh,
        layout=f"{rows} rows of {length} tokens, remat={remat}",
    )


def _fitted(
    planned: Planned, of: Training, model: Model, batch: Batch
) -> tuple[Setup, str, jax.stages.Compiled | None]:
    """(the training as the loop sets it up, its `remat`, its update if it was compiled to choose).

    Where no choice of `remat` fits, it is the one that takes least.
    """
    arguments = of.loss, of.section, UPDATES, planned.ctx.mesh
    if model.remat == fitting.AUTO:
        try:
            found = fitting.fit(model, *arguments, batch, planned.memory)
            return found.setup, found.remat, found.executable
        except UserError:
            model = model.with_remat(fitting.LADDER[-1])
    return update.setup(model, *arguments), model.remat, None


def start(planned: Planned, of: Training) -> Program:
    """The first state: that of the optimizer is made beside the parameters, which stay."""
    model, setup = _setup(planned, of)
    return Program(
        function=jax.jit(setup.init, donate_argnums=0),
        arguments=(model.params,),
        donated=(0,),
        weights=model.params,
        model_flops=0,
        mesh=planned.ctx.mesh,
        layout="the first state of the optimizer",
    )


def resume(planned: Planned, of: Training) -> Program:
    """The state that a checkpoint is read into, with nothing beside it: what it takes, uncomputed.

    A checkpoint is read into the shapes of the state, and neither parameters nor an optimizer are
    made beforehand (`loop.train`).
    """
    model, setup = _setup(planned, of)
    return Program(
        function=jax.jit(lambda state: state, donate_argnums=0),
        arguments=(setup.state,),
        donated=(0,),
        weights=model.params,
        model_flops=0,
        mesh=planned.ctx.mesh,
        layout="the state as it is read",
    )


def _setup(planned: Planned, of: Training) -> tuple[Model, Setup]:
    model = model_of(planned, of.module, training=True, asked=of.asked)
    return model, update.setup(model, of.loss, of.section, UPDATES, planned.ctx.mesh)


def _batch(mesh: jax.sharding.Mesh, example: Example, rows: int, length: int) -> Any:
    """Shapes of a batch [rows, length], rows divided over `data` and `fsdp`."""
    batch = batches.assemble([example], [], rows, length)
    by_rows = NamedSharding(mesh, meshes.BATCH)
    return meshes.placed(batch, jax.tree.map(lambda _: by_rows, batch))
