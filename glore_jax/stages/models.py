"""Models in and out of the work directory."""

import dataclasses
import importlib.resources
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
from etils import epath
from flax import nnx
from jax.sharding import Mesh

from glore_jax import storage
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import, kernels, vocab
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import BAD


def base_folder(config: AnyConfig) -> epath.Path:
    """Where the run's base checkpoint lies; "tiny" is the packaged one. UserError if none is given.

    config: the whole one.
    """
    base = config.model.base
    if not base:
        raise UserError(
            "config.model.base is empty: give the folder of a Hugging Face LLaMA checkpoint"
        )
    if base == "tiny":
        assets = importlib.resources.files("glore_jax") / "assets" / "tiny_base"
        return storage.path(str(assets))
    return storage.path(base)


def mesh_of(ctx: Context, training: bool) -> Mesh:
    """All devices to train, this process's own for inference."""
    return ctx.mesh if training else ctx.local_mesh


def options(ctx: Context, config: LlamaConfig, training: bool) -> dict[str, Any]:
    """Keyword arguments of a module of `config` for training or for inference."""
    m = ctx.config.model
    return {
        "dtype": m.dtype,
        "remat": m.remat if training else "none",
        "unroll": m.unroll_layers,
        "kernel": kernels.choose(m.kernel, config, mesh_of(ctx, training), m.dtype),
    }


def padded_vocab(config: AnyConfig, size: int) -> int:
    """Rows of the embedding for `size` ids: a multiple that the mesh can divide."""
    multiple = config.model.vocab_multiple
    return -(-size // multiple) * multiple


def load_base(ctx: Context) -> Model:
    """The base for training, sharded over the mesh, with `[BAD]` and the embedding padded."""
    model = _read(ctx, hf_import.read_policy, base_folder(ctx.config), training=True)
    tokenizer = model.tokenizer
    if tokenizer.bad_id is None:
        tokenizer = tokenizer.with_token(BAD)
    # Some models have more rows than ids already.
    size = padded_vocab(ctx.config, max(tokenizer.vocab_size, model.config.vocab_size))
    # A grown embedding may divide over the mesh where the old one did not, so it is placed again.
    grown = vocab.grow(model, size).on(ctx.mesh)
    return dataclasses.replace(grown, tokenizer=tokenizer)


def load_policy(ctx: Context, *parts: str, training: bool = False) -> Model:
    """A policy that a stage exported to the folder `parts` of the work directory.

    To train it: float32 over the global mesh. To generate with it: the compute dtype over this
    process's devices.
    """
    return _read(ctx, hf_import.read_policy, ctx.folder(*parts), training)


def load_reward(ctx: Context, *parts: str) -> Model:
    """A reward model that a stage exported, over this process's devices."""
    return _read(ctx, hf_import.read_reward_model, ctx.folder(*parts), training=False)


def _read(ctx: Context, read: Callable[..., Model], folder: epath.Path, training: bool) -> Model:
    config = hf_import.read_config(folder)
    return read(
        folder,
        param_dtype="float32" if training else ctx.config.model.dtype,
        mesh=mesh_of(ctx, training),
        **options(ctx, config, training),
    )


def publish(ctx: Context, stage: str, name: str, dtype: str) -> Model:
    """Makes the policy `STAGE/NAME/hf` the result of its stage, `STAGE/hf`, weights in `dtype`."""
    model = load_policy(ctx, stage, name, "hf", training=True)
    hf_export.save_policy(ctx.folder(stage, "hf"), model, dtype)
    return model


def init_sharded(
    module: ModuleType,
    config: LlamaConfig,
    tokenizer: Tokenizer,
    seed: int,
    mesh: Mesh,
    **options: Any,
) -> Model:
    """A fresh model, each parameter made where it belongs.

    Args:
      module: `models.llama` or `models.reward`.
      options: as for its `init`.
    """
    graphdef, shapes = module.abstract(config, **options)

    def fresh(key: jax.Array) -> nnx.State:
        return module.init(config, key, **options)[1]

    make = jax.jit(fresh, out_shardings=meshes.param_shardings(shapes, mesh))
    return Model(graphdef, make(jax.random.key(seed)), config, tokenizer)
