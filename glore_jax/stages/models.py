"""Models in and out of the work directory."""

import importlib.resources
from collections.abc import Callable
from types import ModuleType

import jax
from etils import epath
from flax import nnx

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hf, kernels, llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import BAD, Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.stages.context import Context


def base_folder(config) -> epath.Path:
    """Where the run's base checkpoint lies; "tiny" is the packaged one. UserError if none is given."""
    if not config.model.base:
        raise UserError(
            "config.model.base is empty: give the folder of a Hugging Face LLaMA checkpoint"
        )
    if config.model.base == "tiny":
        assets = importlib.resources.files("glore_jax") / "assets" / "tiny_base"
        return storage.path(str(assets))
    return storage.path(config.model.base)


def mesh_of(ctx: Context, training: bool) -> jax.sharding.Mesh:
    """All devices to train, this process's own for inference."""
    return ctx.mesh if training else ctx.local_mesh


def options(ctx: Context, config: LlamaConfig, training: bool) -> dict:
    """Keyword arguments of a module of `config` for training or for inference."""
    m = ctx.config.model
    return {
        "dtype": m.dtype,
        "remat": m.remat if training else "none",
        "unroll": m.unroll_layers,
        "kernel": kernels.choose(m.kernel, config, mesh_of(ctx, training), m.dtype),
    }


def padded_vocab(config, size: int) -> int:
    """Rows of the embedding for `size` ids: a multiple that the mesh can divide."""
    multiple = config.model.vocab_multiple
    return -(-size // multiple) * multiple


def load_base(ctx: Context) -> Model:
    """The base for training, sharded over the mesh, with `[BAD]` and the embedding padded."""
    folder = base_folder(ctx.config)
    config = hf.read_config(folder)
    tokenizer = Tokenizer.load(folder)
    if tokenizer.bad_id is None:
        tokenizer = tokenizer.with_token(BAD)
    size = padded_vocab(ctx.config, max(tokenizer.vocab_size, config.vocab_size))
    shapes = llama.abstract(config, **options(ctx, config, True))[1]
    shardings = meshes.param_shardings(shapes, ctx.mesh)
    params = hf.load_policy_params(folder, config, shardings=shardings)
    if size != config.vocab_size:
        params, config = hf.grow_vocab(params, config, size)
    graphdef, shapes = llama.abstract(config, **options(ctx, config, True))
    params = jax.device_put(params, meshes.param_shardings(shapes, ctx.mesh))
    return Model(graphdef, params, config, tokenizer)


def load_policy(ctx: Context, *parts: str, training: bool = False) -> Model:
    """A policy that a stage exported to the folder `parts` of the work directory.

    To train it: float32 over the global mesh. To generate with it: the compute dtype over this
    process's devices.
    """
    return _load(ctx, llama, hf.load_policy_params, parts, training)


def publish(ctx: Context, stage: str, name: str, dtype: str) -> Model:
    """Makes the policy `STAGE/NAME/hf` the result of its stage, `STAGE/hf`, weights in `dtype`."""
    model = load_policy(ctx, stage, name, "hf", training=True)
    hf.save_policy(ctx.folder(stage, "hf"), model, dtype)
    return model


def load_reward(ctx: Context, *parts: str) -> Model:
    """A reward model that a stage exported, over this process's devices."""
    asked = hf.read_reward_options(ctx.folder(*parts))
    return _load(ctx, reward, hf.load_reward_params, parts, False, **asked)


def _load(
    ctx: Context,
    module: ModuleType,
    load: Callable,
    parts: tuple[str, ...],
    training: bool,
    **asked: bool,
) -> Model:
    folder = ctx.folder(*parts)
    config = hf.read_config(folder)
    graphdef, shapes = module.abstract(config, **options(ctx, config, training), **asked)
    shardings = meshes.param_shardings(shapes, mesh_of(ctx, training))
    dtype = "float32" if training else ctx.config.model.dtype
    params = load(folder, config, dtype=dtype, shardings=shardings)
    return Model(graphdef, params, config, Tokenizer.load(folder))


def init_sharded(
    init: Callable, config: LlamaConfig, seed: int, mesh: jax.sharding.Mesh, **options
) -> tuple[nnx.GraphDef, nnx.State]:
    """(graphdef, params) of a fresh model, each parameter made where it belongs."""

    def fresh(key) -> nnx.State:
        return init(config, key, **options)[1]

    graphdef, shapes = nnx.split(nnx.eval_shape(lambda: nnx.merge(*init(config, 0, **options))))
    shardings = meshes.param_shardings(shapes, mesh)
    return graphdef, jax.jit(fresh, out_shardings=shardings)(jax.random.key(seed))
