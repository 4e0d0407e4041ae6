"""Programs of generation and scoring, on the chips of one host.

NAME            a decode step with every slot live and the room for suffixes full
NAME/prefill    trunks into the store
score           solutions read by a reward model
likelihood      solutions read by a policy
"""

import dataclasses
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from glore_jax.models import llama, reward
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning.measure import Program, chip_bytes
from glore_jax.planning.planned import Planned, model_of
from glore_jax.sampling import decode, scoring
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, labelling
from glore_jax.training import metrics

QUESTIONS = 4096  # of a process: more than an engine holds at a time


@dataclasses.dataclass(frozen=True)
class Generation:
    """What an engine is made for.

    Attributes:
      sampling: how tokens are drawn.
      forks: of a trunk.
      texts: questions with a solution that a trunk is long.
      bidirectional: as of `Engine`.
    """

    sampling: Sampling
    forks: int
    texts: int = 1
    bidirectional: bool = False


def generations(config: ConfigDict) -> dict[str, Generation]:
    """Every engine of a run of `config`, by what it makes."""
    ei, sample, evaluate = config.student.ei, config.sample, config.evaluate
    rollout = labelling.training_labels(config)
    step_labels = labelling.test_labels(config)
    greedy = Generation(Sampling(0.0, max_new=sample.max_new), 1)
    found = {
        "one-shot": Generation(generation.sampling_of(ei), ei.k),
        "ei": Generation(generation.sampling_of(ei), ei.k),
        "dev": greedy,
        "sample": Generation(generation.sampling_of(sample), sample.k),
        "rollout": Generation(rollout.sampling, rollout.rule.k),
        "drafts": greedy,
        "samples": Generation(Sampling(1.0, max_new=evaluate.max_new), evaluate.k),
        "step_labels": Generation(step_labels.sampling, step_labels.rule.k),
        "refine": Generation(
            Sampling(0.0, max_new=config.refiner.max_new),
            1,
            texts=2,
            bidirectional=config.refiner.attention == "prefix",
        ),
    }
    if not config.student.shot.question:
        del found["one-shot"]
    return found


def _engine(planned: Planned, of: Generation) -> Engine:
    """The engine that the stage makes, for more questions than it holds at a time."""
    model = model_of(planned, llama, training=False)
    engine = generation.make_engine(
        planned.ctx,
        model,
        of.texts * planned.tokens,
        QUESTIONS,
        of.sampling.max_new,
        of.forks,
        lanes=1,
        bidirectional=of.bidirectional,
    )
    return cast(Engine, engine)  # with one lane it is no `Lanes`


def decode_step(planned: Planned, of: Generation) -> Program:
    """A token of every slot: the mean over a round, all blocks of the suffix in use."""
    engine = _engine(planned, of)
    state = engine.state_shapes()
    capacity = engine.capacity
    forks = capacity.groups * capacity.slots
    columns = capacity.trunk_columns + capacity.blocks * capacity.block
    steps = planned.ctx.config.engine.round_steps
    return Program(
        function=decode.decode_round,
        arguments=engine.round_arguments(state, of.sampling, capacity.blocks, steps, 0),
        donated=(2,),
        weights=engine.model.params,
        model_flops=forks * _token_flops(engine.model, columns),
        mesh=engine.mesh,
        layout=f"{forks} forks of {capacity.groups} x {capacity.shelves}"
        f" trunks of {capacity.max_trunk} tokens, {columns} columns",
        least_bytes=chip_bytes(engine.model.params) + _live_bytes(state.store, capacity),
        working_bytes=_working_bytes(planned, engine),
        turns=steps,
    )


def _working_bytes(planned: Planned, engine: Engine) -> int:
    return engine.capacity.working_bytes(engine.model.config, planned.ctx.config.model.dtype)


def _live_bytes(store: Any, capacity: Capacity) -> int:
    """Bytes of a device's keys and values that slots see, if all are as old as they can get.

    All columns of the trunks (each is longest), and of the suffixes as many as tokens are written.
    """
    suffix = chip_bytes(store.suffix) * capacity.max_new
    return chip_bytes(store.trunks) + suffix // (capacity.blocks * capacity.block)


def _token_flops(model: Model, columns: int) -> float:
    """Matrix FLOPs of one token: weights, and scores and values of `columns` keys a layer."""
    c = model.config
    attention = 2 * c.num_layers * c.num_heads * c.head_dim * columns
    return 2.0 * (model.num_params + attention)


def prefill(planned: Planned, of: Generation) -> Program:
    """Trunks into the store."""
    engine = _engine(planned, of)
    rows = engine.capacity.prefill_rows
    width = engine.capacity.max_trunk
    shapes = ((rows, width), (rows,), (rows,), (rows,))  # trunks, lengths, groups, shelves
    by_rows = engine.prefill_sharding
    batch = [jax.ShapeDtypeStruct(shape, jnp.int32, sharding=by_rows) for shape in shapes]
    return Program(
        function=decode.prefill,
        arguments=engine.prefill_arguments(engine.state_shapes(), *batch),
        donated=(2,),
        weights=engine.model.params,
        model_flops=_forward_flops(engine.model, rows, width),
        mesh=engine.mesh,
        layout=f"{rows} trunks of {width} tokens",
        working_bytes=_working_bytes(planned, engine),
    )


def score(planned: Planned) -> Program:
    """Scores of the steps of solutions by a reward model."""
    asked = {"likelihood": planned.ctx.config.orm.likelihood}
    model = model_of(planned, reward, training=False, asked=asked)
    return _reading(planned, scoring.values, model)


def likelihood(planned: Planned) -> Program:
    """How likely a policy finds solutions."""
    model = model_of(planned, llama, training=False)
    return _reading(planned, scoring.likelihoods, model, planned.shape.vocab_size)


def _reading(planned: Planned, function: Any, model: Model, *constants: int) -> Program:
    """A forward pass of `model` over solutions."""
    mesh = planned.ctx.local_mesh
    rows, width = scoring.batch_shape(scoring.ROWS, planned.tokens, planned.shape, mesh)
    by_rows = NamedSharding(mesh, meshes.BATCH)
    shapes = ((rows, width), (rows,), (rows,))  # texts, sources, lengths
    texts = [jax.ShapeDtypeStruct(shape, jnp.int32, sharding=by_rows) for shape in shapes]
    return Program(
        function=function,
        arguments=(model.graphdef, model.params, *texts, *constants),
        donated=(),
        weights=model.params,
        model_flops=_forward_flops(model, rows, width),
        mesh=mesh,
        layout=f"{rows} rows of {width} tokens",
    )


def _forward_flops(model: Model, rows: int, width: int) -> float:
    """Matrix FLOPs of a forward pass, a third of a training step."""
    return metrics.training_flops(model.num_params, model.config, float(rows * width), width) / 3
