"""A model with all that it takes to use it: passed whole, never as its four parts."""

import dataclasses
from typing import Any, no_type_check

import jax
from flax import nnx
from jax.sharding import Mesh

from glore_jax.models.config import LlamaConfig
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes


# Types are not checked in the tests: they pass stand-ins for what plays no part.
@no_type_check
@dataclasses.dataclass(frozen=True)
class Model:
    """A policy (`llama.Llama`) or a reward model (`reward.RewardModel`) in memory.

    Attributes:
      graphdef, params: `nnx.split` of the module. Parameters may be sharded over a mesh, or be
        `jax.ShapeDtypeStruct`s, for what only compiles.
      config: sizes of the backbone.
      tokenizer: text to tokens and back.
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    config: LlamaConfig
    tokenizer: Tokenizer

    def merge(self) -> Any:
        """The module itself, a `Llama` or a `RewardModel`, around the same arrays."""
        return nnx.merge(self.graphdef, self.params)

    def with_params(self, params: nnx.State) -> "Model":
        """The same model with other values of its parameters."""
        return dataclasses.replace(self, params=params)

    def on(self, mesh: Mesh) -> "Model":
        """The same model, every parameter where its logical axes put it on `mesh`."""
        shardings = meshes.param_shardings(self.params, mesh)
        return self.with_params(jax.device_put(self.params, shardings))

    @property
    def num_params(self) -> int:
        """How many numbers its parameters hold."""
        return sum(x.size for x in jax.tree.leaves(self.params))
