"""Models in and out of the work directory."""

import dataclasses
import functools
import gc
from types import ModuleType
from typing import Any

import jax
from etils import epath
from flax import nnx
from jax.sharding import Mesh

from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models import hf_export, hf_import, kernels, layout, llama, sources, vocab
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model, Start
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.stages.context import Context
from glore_jax.tasks.prompts import BAD


def base_folder(config: AnyConfig, weights: bool = True) -> epath.Path:
    """Where the run's base lies, a folder or a GGUF file.

    Args:
      config: the whole one.
      weights: as for `sources.locate`.

    Raises:
      UserError: none is given, or it cannot be had.
    """
    base = config.model.base
    if not base:
        raise UserError(
            "config.model.base is empty: give the folder of a LLaMA in Hugging Face form, or "
            "hf://ORG/NAME"
        )
    return sources.locate(base, weights)


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


def base_start(ctx: Context, training: bool = True) -> Start:
    """The base, with `[BAD]` and the embedding padded; where and in what as `policy_start`."""
    start = _start(ctx, base_folder(ctx.config), training)
    tokenizer = start.model.tokenizer
    if tokenizer.bad_id is None:
        tokenizer = tokenizer.with_token(BAD)
    # Some models have more rows than ids already.
    size = padded_vocab(ctx.config, max(tokenizer.vocab_size, start.model.config.vocab_size))

    def grown(base: Model) -> Model:
        return dataclasses.replace(vocab.grow(base, size), tokenizer=tokenizer)

    return start.then(grown, mesh_of(ctx, training))


def policy_start(ctx: Context, *parts: str, training: bool = True) -> Start:
    """A policy that a stage exported to the folder `parts` of the work directory.

    training: float32 over the global mesh, else the compute dtype over this process's devices.
    """
    return _start(ctx, ctx.folder(*parts), training)


def load_base(ctx: Context) -> Model:
    """The base to generate with."""
    return layout.for_decoding(base_start(ctx, training=False).loaded())


def load_policy(ctx: Context, *parts: str) -> Model:
    """A policy to generate with, which a stage exported to the folder `parts`."""
    return layout.for_decoding(policy_start(ctx, *parts, training=False).loaded())


def load_reward(ctx: Context, *parts: str) -> Model:
    """A reward model that a stage exported, over this process's devices."""
    folder = ctx.folder(*parts)
    config = hf_import.read_config(folder)
    _forget()
    return hf_import.read_reward_model(
        folder,
        param_dtype=ctx.config.model.dtype,
        mesh=ctx.local_mesh,
        **options(ctx, config, training=False),
    )


def _start(ctx: Context, folder: epath.Path, training: bool, dtype: str = "") -> Start:
    """A policy in Hugging Face form; `dtype` of its parameters if not the one that is trained or
    computed in."""
    dtype = dtype or ("float32" if training else ctx.config.model.dtype)
    config = hf_import.read_config(folder)
    graphdef, shapes = llama.abstract(config, param_dtype=dtype, **options(ctx, config, training))
    shardings = meshes.param_shardings(shapes, mesh_of(ctx, training))
    described = meshes.placed(shapes, shardings)
    return Start(
        Model(graphdef, described, config, Tokenizer.load(folder)),
        functools.partial(_read_weights, folder, shapes, shardings),
    )


def _read_weights(folder: epath.Path, shapes: nnx.State, shardings: Any) -> nnx.State:
    _forget()
    return hf_import.read_weights(folder, shapes, shardings)


def _forget() -> None:
    """Frees the weights of models that nobody needs any more, before others come.

    Engines and what is compiled for them hold each other in circles, which Python frees only now
    and then.
    """
    gc.collect()


def publish(ctx: Context, stage: str, name: str, dtype: str) -> Model:
    """Makes the policy `STAGE/NAME/hf` the result of its stage, `STAGE/hf`, weights in `dtype`."""
    model = _start(ctx, ctx.folder(stage, name, "hf"), training=True, dtype=dtype).loaded()
    hf_export.save_policy(ctx.folder(stage, "hf"), model, dtype)
    return model


def random_start(
    module: ModuleType,
    config: LlamaConfig,
    tokenizer: Tokenizer,
    seed: int,
    mesh: Mesh,
    **options: Any,
) -> Start:
    """A fresh model, each parameter made where it belongs.

    Args:
      module: `models.llama` or `models.reward`.
      options: as for its `init`.
    """
    graphdef, shapes = module.abstract(config, **options)
    shardings = meshes.param_shardings(shapes, mesh)

    def fresh(key: jax.Array) -> nnx.State:
        return module.init(config, key, **options)[1]

    make = jax.jit(fresh, out_shardings=shardings)
    model = Model(graphdef, meshes.placed(shapes, shardings), config, tokenizer)
    return Start(model, lambda: make(jax.random.key(seed)))
