"""The programs that the stages run on the devices, with shapes in place of arrays: what can be compiled without weights or data.

Nothing is described twice: the functions, their donations and their shardings come from the training loop, the rollout engine and
the scorer, set up as the stages set them up. Only what data would decide, the number of rows and the lengths, is assumed here.

    student, reward, refiner    a training step, over the whole slice
    rollout                     a decode step with every slot live and the room for suffixes full, on one host's chips
    prefill, score              trunks into the cache; scores of solutions; on one host's chips
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.parallel import chips
from glore_jax.parallel import mesh as meshes
from glore_jax.parallel.measure import Program, chip_bytes
from glore_jax.sampling import device, scoring
from glore_jax.stages import common
from glore_jax.stages.context import Context
from glore_jax.training import batches, loop, losses, metrics

TRAINING = ("student", "reward", "refiner")
NAMES = (*TRAINING, "rollout", "prefill", "score")
QUESTIONS = 4096  # more than an engine holds at a time
STEPS = 100  # of a schedule; no shape depends on it


@dataclasses.dataclass(frozen=True)
class Assumed:
    """What the data would decide. tokens: of a question with its solution, on average when rows are counted, at most for rollouts
    and scores; a refiner's example is two of them long."""

    tokens: int = 256


class _Ids:
    """As much of a tokenizer as shapes need: the model's ids, and `[BAD]`."""

    def __init__(self, shape: LlamaConfig):
        self.vocab_size, self.eos_id = shape.vocab_size + 1, 2


def build(name: str, config, shape: LlamaConfig, topology: str, assumed: Assumed = Assumed()) -> Program:
    """The program `name` of `NAMES` for a run of `config` with a model of `shape` on the described slice `topology`.

    Raises UserError if the mesh of `config` does not fit the devices, or the config asks for layers written out.
    """
    if config.model.unroll_layers:
        raise UserError("layers written out take too long to compile: --config.model.unroll_layers=false")
    ctx = Context(config, "")
    if name in TRAINING:
        ctx.mesh = meshes.make_mesh(**config.mesh.to_dict(), devices=chips.describe(topology))
    else:
        ctx.local_mesh = ctx.mesh_of_host(chips.describe(chips.host_of(topology)))
    ids = _Ids(shape)
    shape = dataclasses.replace(shape, vocab_size=common.padded_vocab(config, ids.vocab_size))
    if name == "student":
        return _training(ctx, shape, llama, losses.language_loss, config.student.sft, assumed.tokens)
    if name == "reward":
        asked = {"likelihood": config.sorm.likelihood}
        return _training(
            ctx, shape, reward, losses.reward_loss, config.sorm.train, assumed.tokens, asked=asked
        )
    if name == "refiner":
        prefix = config.refiner.attention == "prefix"
        return _training(
            ctx, shape, llama, losses.language_loss, config.refiner.train, 2 * assumed.tokens, prefix
        )
    if name == "score":
        return _score(ctx, shape, assumed)
    engine = _engine(ctx, shape, ids, assumed)
    return _rollout(ctx, engine) if name == "rollout" else _prefill(ctx, engine)


def _model(ctx, shape: LlamaConfig, module, training: bool, asked: dict | None = None):
    """(graphdef, shapes of the parameters) as `stages/common.py` loads them."""
    graphdef, shapes = module.abstract(shape, **common.options(ctx, shape, training), **asked or {})
    mesh = common.mesh_of(ctx, training)
    dtype = jnp.float32 if training else jnp.dtype(ctx.config.model.dtype)
    cast = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)
    return graphdef, meshes.placed(cast, meshes.param_shardings(shapes, mesh))


def _count(params) -> int:
    return sum(x.size for x in jax.tree.leaves(params))


def _training(
    ctx,
    shape: LlamaConfig,
    module,
    loss_fn,
    section,
    tokens: int,
    prefix: bool = False,
    asked: dict | None = None,
) -> Program:
    graphdef, params = _model(ctx, shape, module, True, asked)
    setup = loop.setup(graphdef, params, loss_fn, section, STEPS, ctx.mesh)
    multiple = common.row_multiple_of(ctx, section)
    length = common.row_length_of(section, shape)
    rows = -(-section.batch_size * tokens // length // multiple) * multiple
    labels = np.zeros(1, np.float32) if loss_fn is losses.reward_loss else None
    example = batches.Example(np.zeros(1, np.int32), np.ones(1, np.float32), labels, int(prefix))
    batch = batches.assemble([example], [], rows, length)
    whole = NamedSharding(ctx.mesh, meshes.BATCH)
    batch = meshes.placed(batch, dict.fromkeys(batch, whole))
    return Program(
        setup.step, (params, setup.opt_state, batch), (0, 1), params,
        metrics.training_flops(_count(params), shape, rows * length, length),
        ctx.mesh, f"{rows} rows of {length} tokens",
    )  # fmt: skip


def _score(ctx, shape: LlamaConfig, assumed: Assumed) -> Program:
    graphdef, params = _model(ctx, shape, reward, False, {"likelihood": ctx.config.orm.likelihood})
    rows, width = scoring.batch_shape(scoring.ROWS, assumed.tokens, shape, ctx.local_mesh)
    sharding = NamedSharding(ctx.local_mesh, meshes.BATCH)
    arrays = [
        jax.ShapeDtypeStruct(s, jnp.int32, sharding=sharding) for s in ((rows, width), (rows,), (rows,))
    ]
    flops = metrics.training_flops(_count(params), shape, rows * width, width) / 3  # the forward pass
    return Program(
        scoring.values, (graphdef, params, *arrays), (), params, flops, ctx.local_mesh, f"{rows} rows of {width} tokens"
    )  # fmt: skip


def _engine(ctx, shape: LlamaConfig, ids: _Ids, assumed: Assumed):
    graphdef, params = _model(ctx, shape, llama, False)
    model = common.Model(graphdef, params, shape, ids, None)
    c = ctx.config.rollout
    return common.make_engine(ctx, model, [range(assumed.tokens)] * QUESTIONS, c.max_new, c.k, lanes=1)


def _rollout(ctx, engine) -> Program:
    state, c = engine.state_shapes(), engine.config
    sampling = common.sampling_of(ctx.config.rollout)
    arguments = engine.round_arguments(state, sampling, engine.blocks, ctx.config.engine.round_steps, 0)
    forks = engine.groups * engine.slots
    seen = engine.shelves * engine.max_trunk + engine.blocks * engine.block
    flops = 2.0 * forks * (_count(engine.params) + 2 * c.num_layers * c.num_heads * c.head_dim * seen)
    return Program(
        device.decode_round, arguments, (2,), engine.params, flops, engine.mesh,
        f"{forks} forks of {engine.groups} x {engine.shelves} trunks of {engine.max_trunk} tokens, {seen} columns",
        chip_bytes(engine.params) + chip_bytes(state["cache"]), ctx.config.engine.round_steps,
    )  # fmt: skip


def _prefill(ctx, engine) -> Program:
    rows, width = engine.prefill_rows, engine.max_trunk
    whole = NamedSharding(engine.mesh, PartitionSpec())
    shapes = ((rows, width), (rows,), (rows,), (rows,))
    batch = [jax.ShapeDtypeStruct(s, jnp.int32, sharding=whole) for s in shapes]
    flops = metrics.training_flops(_count(engine.params), engine.config, rows * width, width) / 3
    return Program(
        device.prefill, engine.prefill_arguments(engine.state_shapes(), *batch), (2,), engine.params, flops,
        engine.mesh, f"{rows} trunks of {width} tokens",
    )  # fmt: skip
