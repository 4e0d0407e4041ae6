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
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices
from glore_jax.planning.measure import Program, chip_bytes
from glore_jax.sampling import decode, scoring
from glore_jax.stages import generation, models, training
from glore_jax.stages.context import Context
from glore_jax.training import batches, losses, metrics, update

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


def build(
    name: str, config, shape: LlamaConfig, topology: str, assumed: Assumed = Assumed()
) -> Program:
    """The program `name` of `NAMES` for a run of `config` with a model of `shape` on the described slice `topology`.

    Raises UserError if the mesh of `config` does not fit the devices, or the config asks for layers written out.
    """
    if config.model.unroll_layers:
        raise UserError(
            "layers written out take too long to compile: --config.model.unroll_layers=false"
        )
    ctx = Context(config, "")
    if name in TRAINING:
        ctx.mesh = meshes.make_mesh(**config.mesh.to_dict(), devices=slices.describe(topology))
    else:
        ctx.local_mesh = ctx.mesh_of_host(slices.describe(slices.host_of(topology)))
    ids = _Ids(shape)
    shape = dataclasses.replace(shape, vocab_size=models.padded_vocab(config, ids.vocab_size))
    if name == "student":
        return _training(
            ctx, shape, llama, losses.language_loss, config.student.sft, assumed.tokens
        )
    if name == "reward":
        asked = {"likelihood": config.sorm.likelihood}
        return _training(
            ctx, shape, reward, losses.reward_loss, config.sorm.train, assumed.tokens, asked=asked
        )
    if name == "refiner":
        prefix = config.refiner.attention == "prefix"
        return _training(
            ctx,
            shape,
            llama,
            losses.language_loss,
            config.refiner.train,
            2 * assumed.tokens,
            prefix,
        )
    if name == "score":
        return _score(ctx, shape, assumed)
    engine = _engine(ctx, shape, ids, assumed)
    return _rollout(ctx, engine) if name == "rollout" else _prefill(ctx, engine)


def _model(
    ctx, shape: LlamaConfig, module, training: bool, asked: dict | None = None, tokenizer=None
) -> Model:
    """A model as `stages/models.py` loads it, with shapes for parameters."""
    graphdef, shapes = module.abstract(shape, **models.options(ctx, shape, training), **asked or {})
    mesh = models.mesh_of(ctx, training)
    dtype = jnp.float32 if training else jnp.dtype(ctx.config.model.dtype)
    cast = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, dtype), shapes)
    params = meshes.placed(cast, meshes.param_shardings(shapes, mesh))
    return Model(graphdef, params, shape, tokenizer)


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
    model = _model(ctx, shape, module, True, asked)
    setup = update.setup(model, loss_fn, section, STEPS, ctx.mesh)
    multiple = training.row_multiple_of(ctx, section)
    length = training.row_length_of(section, shape)
    rows = -(-section.batch_size * tokens // length // multiple) * multiple
    labels = np.zeros(1, np.float32) if loss_fn is losses.reward_loss else None
    example = batches.Example(np.zeros(1, np.int32), np.ones(1, np.float32), labels, int(prefix))
    batch = batches.assemble([example], [], rows, length)
    whole = NamedSharding(ctx.mesh, meshes.BATCH)
    batch = meshes.placed(batch, jax.tree.map(lambda _: whole, batch))
    return Program(
        setup.update,
        (setup.state, batch),
        (0,),
        model.params,
        metrics.training_flops(model.num_params, shape, rows * length, length),
        ctx.mesh,
        f"{rows} rows of {length} tokens",
    )


def _score(ctx, shape: LlamaConfig, assumed: Assumed) -> Program:
    model = _model(ctx, shape, reward, False, {"likelihood": ctx.config.orm.likelihood})
    rows, width = scoring.batch_shape(scoring.ROWS, assumed.tokens, shape, ctx.local_mesh)
    sharding = NamedSharding(ctx.local_mesh, meshes.BATCH)
    arrays = [
        jax.ShapeDtypeStruct(s, jnp.int32, sharding=sharding)
        for s in ((rows, width), (rows,), (rows,))
    ]
    flops = (
        metrics.training_flops(model.num_params, shape, rows * width, width) / 3
    )  # the forward pass
    return Program(
        scoring.values,
        (model.graphdef, model.params, *arrays),
        (),
        model.params,
        flops,
        ctx.local_mesh,
        f"{rows} rows of {width} tokens",
    )


def _engine(ctx, shape: LlamaConfig, ids: _Ids, assumed: Assumed):
    model = _model(ctx, shape, llama, False, tokenizer=ids)
    c = ctx.config.rollout
    return generation.make_engine(
        ctx, model, [range(assumed.tokens)] * QUESTIONS, c.max_new, c.k, lanes=1
    )


def _rollout(ctx, engine) -> Program:
    state, c = engine.state_shapes(), engine.config
    sampling = generation.sampling_of(ctx.config.rollout)
    arguments = engine.round_arguments(
        state, sampling, engine.blocks, ctx.config.engine.round_steps, 0
    )
    forks = engine.groups * engine.slots
    seen = engine.shelves * engine.max_trunk + engine.blocks * engine.block
    flops = (
        2.0 * forks * (engine.model.num_params + 2 * c.num_layers * c.num_heads * c.head_dim * seen)
    )
    return Program(
        decode.decode_round,
        arguments,
        (2,),
        engine.model.params,
        flops,
        engine.mesh,
        f"{forks} forks of {engine.groups} x {engine.shelves} trunks of {engine.max_trunk} tokens, {seen} columns",
        chip_bytes(engine.model.params) + chip_bytes(state["cache"]),
        ctx.config.engine.round_steps,
    )


def _prefill(ctx, engine) -> Program:
    rows, width = engine.prefill_rows, engine.max_trunk
    whole = NamedSharding(engine.mesh, PartitionSpec())
    shapes = ((rows, width), (rows,), (rows,), (rows,))
    batch = [jax.ShapeDtypeStruct(s, jnp.int32, sharding=whole) for s in shapes]
    flops = metrics.training_flops(engine.model.num_params, engine.config, rows * width, width) / 3
    return Program(
        decode.prefill,
        engine.prefill_arguments(engine.state_shapes(), *batch),
        (2,),
        engine.model.params,
        flops,
        engine.mesh,
        f"{rows} trunks of {width} tokens",
    )
