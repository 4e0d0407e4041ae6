"""What programs are planned for: a run of a config, its meshes on devices that are only described.

Only what data would decide is assumed: how long texts are, and that there are enough of them.
"""

import dataclasses
from types import ModuleType
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from glore_jax.models import layout, llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices
from glore_jax.stages import models
from glore_jax.stages.context import Context

TOKENS = 256  # of a question with its solution, if nothing else is said


@dataclasses.dataclass(frozen=True)
class Planned:
    """What a program is made for.

    Attributes:
      ctx: a run of `ctx.config`, its meshes on described devices.
      shape: the model's sizes, its vocabulary already padded.
      tokenizer: as much of one as shapes need.
      memory: bytes of a chip.
      tokens: of a question with its solution: on average where rows of a training are counted, at
        most where texts are generated or scored. What a refiner reads or learns from is two of them
        long.
    """

    ctx: Context
    shape: LlamaConfig
    tokenizer: Any
    memory: int
    tokens: int


class _Ids:
    """As much of a tokenizer as shapes need: the model's ids, and `[BAD]`."""

    eos_id = 2

    def __init__(self, shape: LlamaConfig):
        self.vocab_size = shape.vocab_size + 1


def plan(
    config: ConfigDict, shape: LlamaConfig, topology: str, over_slice: bool, tokens: int = TOKENS
) -> Planned:
    """A run of `config` with a model of `shape` on a slice.

    over_slice: on the mesh of the slice, to train; else on that of one host, to generate.
    """
    ctx = _Quiet(config, "")
    if over_slice:
        devices = slices.describe(topology)
        ctx.mesh = meshes.make_mesh(**config.mesh.to_dict(), devices=devices)
    else:
        devices = slices.describe(slices.host_of(topology))
        ctx.local_mesh = ctx.mesh_of_host(devices)
    tokenizer = _Ids(shape)
    vocab_size = models.padded_vocab(config, tokenizer.vocab_size)
    padded = dataclasses.replace(shape, vocab_size=vocab_size)
    return Planned(ctx, padded, tokenizer, int(slices.chip_of(topology).memory), tokens)


class _Quiet(Context):
    """A context that says nothing: what an engine chooses stands in the row of its program."""

    def say(self, text: str) -> None:
        del text


def model_of(
    planned: Planned, module: ModuleType, training: bool, asked: dict[str, bool] | None = None
) -> Model:
    """A model as `stages/models.py` loads it, with shapes for parameters.

    `asked`: what a reward model reads or learns beside the value of a hidden state.
    """
    options = models.options(planned.ctx, planned.shape, training)
    # Training keeps float32; inference loads what it computes in, but for a value head.
    dtype = jnp.float32 if training else jnp.dtype(planned.ctx.config.model.dtype)
    graphdef, shapes = module.abstract(planned.shape, param_dtype=dtype, **options, **asked or {})
    mesh = models.mesh_of(planned.ctx, training)
    params = meshes.placed(shapes, meshes.param_shardings(shapes, mesh))
    model = Model(graphdef, params, planned.shape, planned.tokenizer)
    return model if training or module is not llama else layout.for_decoding(model)
