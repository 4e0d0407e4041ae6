"""The programs that the stages run on the devices, with shapes in place of arrays.

They can be compiled without weights or data. Nothing is described twice: the functions, their
donations and their shardings come from the training loop, the rollout engine and the scorer, set up
as the stages set them up. Only what data would decide, the number of rows and the lengths, is
assumed here.

    student, reward, refiner    a training step, over the whole slice
    rollout                     a decode step with every slot live and the room for suffixes full,
                                on one host's chips
    prefill, score              trunks into the store; scores of solutions; on one host's chips
"""

import dataclasses
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices
from glore_jax.planning.measure import Program, chip_bytes
from glore_jax.sampling import decode, scoring
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine
from glore_jax.stages import generation, models, training
from glore_jax.stages.context import Context
from glore_jax.training import batches, fitting, losses, metrics, update

TOKENS = 256  # of a question with its solution, if nothing else is said
QUESTIONS = 4096  # more than an engine holds at a time
UPDATES = 100  # of a schedule; no shape depends on it


@dataclasses.dataclass(frozen=True)
class Planned:
    """What a program is made for.

    Attributes:
      ctx: a run of `ctx.config`, its meshes on described devices.
      shape: the model's sizes, its vocabulary already padded.
      tokenizer: as much of one as shapes need.
      memory: bytes of a chip.
      tokens: of a question with its solution: on average where rows are counted, at most for
        rollouts and scores. A refiner's example is two of them long.
    """

    ctx: Context
    shape: LlamaConfig
    tokenizer: Any
    memory: float
    tokens: int


class _Ids:
    """As much of a tokenizer as shapes need: the model's ids, and `[BAD]`."""

    eos_id = 2

    def __init__(self, shape: LlamaConfig):
        self.vocab_size = shape.vocab_size + 1


def build(
    name: str,
    config: ConfigDict,
    shape: LlamaConfig,
    topology: str,
    tokens: int = TOKENS,
) -> Program:
    """The program `name` of `NAMES`, for a run of `config` with a model of `shape` on a slice.

    `tokens`: see `Planned`. UserError if the mesh of `config` does not fit the devices of the
    described slice `topology`, or the config asks for layers written out.
    """
    if config.model.unroll_layers:
        raise UserError(
            "layers written out take too long to compile: --config.model.unroll_layers=false"
        )
    ctx = _context(config, topology, over_slice=name in TRAINING)
    tokenizer = _Ids(shape)
    vocab_size = models.padded_vocab(config, tokenizer.vocab_size)
    padded = dataclasses.replace(shape, vocab_size=vocab_size)
    memory = slices.chip_of(topology).memory
    return _MAKERS[name](Planned(ctx, padded, tokenizer, memory, tokens))


def _context(config: ConfigDict, topology: str, over_slice: bool) -> Context:
    """What a stage would be handed: the mesh of the slice to train, of one host to generate."""
    ctx = Context(config, "")
    if over_slice:
        devices = slices.describe(topology)
        ctx.mesh = meshes.make_mesh(**config.mesh.to_dict(), devices=devices)
    else:
        devices = slices.describe(slices.host_of(topology))
        ctx.local_mesh = ctx.mesh_of_host(devices)
    return ctx


def _model(
    planned: Planned, module: ModuleType, training: bool, asked: dict[str, bool] | None = None
) -> Model:
    """A model as `stages/models.py` loads it, with shapes for parameters.

    `asked`: what a reward model reads beside the hidden state.
    """
    options = models.options(planned.ctx, planned.shape, training)
    graphdef, shapes = module.abstract(planned.shape, **options, **asked or {})
    # Training keeps float32; inference loads what it computes in.
    dtype = jnp.float32 if training else jnp.dtype(planned.ctx.config.model.dtype)
    described = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)
    mesh = models.mesh_of(planned.ctx, training)
    params = meshes.placed(described, meshes.param_shardings(shapes, mesh))
    return Model(graphdef, params, planned.shape, planned.tokenizer)


# Training steps, over the whole slice.


def _student_step(planned: Planned) -> Program:
    model = _model(planned, llama, training=True)
    section = planned.ctx.config.student.sft
    loss = losses.language_loss
    return _training_step(planned, model, loss, section, _example(), planned.tokens)


def _reward_step(planned: Planned) -> Program:
    config = planned.ctx.config.sorm
    model = _model(planned, reward, training=True, asked={"likelihood": config.likelihood})
    example = _example(labels=np.zeros(1, np.float32))
    loss = losses.reward_loss
    return _training_step(planned, model, loss, config.train, example, planned.tokens)


def _refiner_step(planned: Planned) -> Program:
    config = planned.ctx.config.refiner
    model = _model(planned, llama, training=True)
    example = _example(prefix=int(config.attention == "prefix"))
    tokens = 2 * planned.tokens  # a draft and its correction
    loss = losses.language_loss
    return _training_step(planned, model, loss, config.train, example, tokens)


def _example(labels: np.ndarray | None = None, prefix: int = 0) -> batches.Example:
    """One token, which says what arrays a batch holds."""
    return batches.Example(np.zeros(1, np.int32), np.ones(1, np.float32), labels, prefix)


def _training_step(
    planned: Planned,
    model: Model,
    loss_fn: Callable,
    section: ConfigDict,
    example: batches.Example,
    tokens: int,
) -> Program:
    """A training step of a config section, on rows that are full of examples of `tokens` tokens."""
    ctx = planned.ctx
    length = training.row_length_of(section, planned.shape)
    multiple = training.row_multiple_of(ctx, section)
    full = -(-section.batch_size * tokens // length)
    rows = -(-full // multiple) * multiple
    batch = _batch(ctx.mesh, example, rows, length)
    setup, compiled, chosen = _fitted(planned, model, loss_fn, section, batch)
    return Program(
        function=setup.update,
        compiled=compiled,
        arguments=(setup.state, batch),
        donated=(0,),
        weights=model.params,
        model_flops=metrics.training_flops(model.num_params, planned.shape, rows * length, length),
        mesh=ctx.mesh,
        layout=f"{rows} rows of {length} tokens{chosen}",
    )


def _fitted(
    planned: Planned, model: Model, loss_fn: Callable, section: ConfigDict, batch: Any
) -> tuple[update.Setup, jax.stages.Compiled | None, str]:
    """(the run as the loop would set it up, its update if that was compiled to know, a word on it).

    Where no choice of `remat` fits, it is the one that takes least.
    """
    mesh = planned.ctx.mesh
    if model.remat == fitting.AUTO:
        try:
            limit = int(planned.memory)
            found = fitting.fit(model, loss_fn, section, UPDATES, mesh, batch, limit)
            return found.setup, found.executable, f", remat={found.remat}"
        except UserError:
            model = model.with_remat(fitting.LADDER[-1])
    return update.setup(model, loss_fn, section, UPDATES, mesh), None, ""


def _batch(mesh: jax.sharding.Mesh, example: batches.Example, rows: int, length: int) -> Any:
    """Shapes of a batch [rows, length], rows divided over `data` and `fsdp`."""
    batch = batches.assemble([example], [], rows, length)
    by_rows = NamedSharding(mesh, meshes.BATCH)
    return meshes.placed(batch, jax.tree.map(lambda _: by_rows, batch))


# Generation, on one host's chips.


def _engine(planned: Planned) -> Engine:
    """The engine of stage `rollout`, for more questions than it holds at a time."""
    model = _model(planned, llama, training=False)
    trunks = [list(range(planned.tokens))] * QUESTIONS
    c = planned.ctx.config.rollout
    engine = generation.make_engine(planned.ctx, model, trunks, c.max_new, c.k, lanes=1)
    return cast(Engine, engine)  # with one lane it is no `Lanes`


def _rollout_round(planned: Planned) -> Program:
    engine = _engine(planned)
    state = engine.state_shapes()
    capacity = engine.capacity
    forks = capacity.groups * capacity.slots
    columns = _columns(capacity)
    return Program(
        function=decode.decode_round,
        arguments=_round_arguments(planned, engine, state),
        donated=(2,),
        weights=engine.model.params,
        model_flops=forks * _token_flops(engine.model, columns),
        mesh=engine.mesh,
        layout=f"{forks} forks of {capacity.groups} x {capacity.shelves}"
        f" trunks of {capacity.max_trunk} tokens, {columns} columns",
        least_bytes=chip_bytes(engine.model.params) + chip_bytes(state.store),
        turns=planned.ctx.config.engine.round_steps,
    )


def _round_arguments(planned: Planned, engine: Engine, state: Any) -> tuple[Any, ...]:
    """Those of `decode.decode_round` for a whole round with all blocks of the suffix in use."""
    sampling = generation.sampling_of(planned.ctx.config.rollout)
    steps = planned.ctx.config.engine.round_steps
    return engine.round_arguments(state, sampling, engine.capacity.blocks, steps, 0)


def _columns(capacity: Capacity) -> int:
    """Columns of keys that a fork's token meets: all trunks of its group, and its suffix."""
    return capacity.trunk_columns + capacity.blocks * capacity.block


def _token_flops(model: Model, columns: int) -> float:
    """Matrix FLOPs of one token: weights, and scores and values of `columns` keys a layer."""
    c = model.config
    attention = 2 * c.num_layers * c.num_heads * c.head_dim * columns
    return 2.0 * (model.num_params + attention)


def _prefill(planned: Planned) -> Program:
    engine = _engine(planned)
    rows = engine.capacity.prefill_rows
    width = engine.capacity.max_trunk
    return Program(
        function=decode.prefill,
        arguments=_prefill_arguments(engine, rows, width),
        donated=(2,),
        weights=engine.model.params,
        model_flops=_forward_flops(engine.model, rows, width),
        mesh=engine.mesh,
        layout=f"{rows} trunks of {width} tokens",
    )


def _prefill_arguments(engine: Engine, rows: int, width: int) -> tuple[Any, ...]:
    """Those of `decode.prefill`: trunks [rows, width], and lengths, groups and shelves [rows]."""
    whole = NamedSharding(engine.mesh, PartitionSpec())
    shapes = ((rows, width), (rows,), (rows,), (rows,))
    trunks = [jax.ShapeDtypeStruct(shape, jnp.int32, sharding=whole) for shape in shapes]
    return engine.prefill_arguments(engine.state_shapes(), *trunks)


def _score(planned: Planned) -> Program:
    mesh = planned.ctx.local_mesh
    asked = {"likelihood": planned.ctx.config.orm.likelihood}
    model = _model(planned, reward, training=False, asked=asked)
    rows, width = scoring.batch_shape(scoring.ROWS, planned.tokens, planned.shape, mesh)
    by_rows = NamedSharding(mesh, meshes.BATCH)
    shapes = ((rows, width), (rows,), (rows,))  # texts, sources, lengths
    texts = [jax.ShapeDtypeStruct(shape, jnp.int32, sharding=by_rows) for shape in shapes]
    return Program(
        function=scoring.values,
        arguments=(model.graphdef, model.params, *texts),
        donated=(),
        weights=model.params,
        model_flops=_forward_flops(model, rows, width),
        mesh=mesh,
        layout=f"{rows} rows of {width} tokens",
    )


def _forward_flops(model: Model, rows: int, width: int) -> float:
    """Matrix FLOPs of a forward pass, a third of a training step."""
    return metrics.training_flops(model.num_params, model.config, rows * width, width) / 3


TRAINING = ("student", "reward", "refiner")
_MAKERS: dict[str, Callable[[Planned], Program]] = {
    "student": _student_step,
    "reward": _reward_step,
    "refiner": _refiner_step,
    "rollout": _rollout_round,
    "prefill": _prefill,
    "score": _score,
}
NAMES = tuple(_MAKERS)
