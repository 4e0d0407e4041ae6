"""A model with all that it takes to use it: passed whole, never as its four parts."""

import dataclasses
import warnings
from collections.abc import Callable
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

    @property
    def remat(self) -> str:
        """What its backward pass computes again; see `llama.Llama`."""
        return _backbone(self.merge()).remat

    @property
    def computation(self) -> dict[str, Any]:
        """How it computes, as far as its parameters do not show it and JSON has it; not `remat`."""
        backbone = _backbone(self.merge())
        return {
            "dtype": str(backbone.dtype),
            "unroll": backbone.unroll,
            "kernel": type(backbone.kernel).__name__,
        }

    def with_remat(self, remat: str) -> "Model":
        """The same model, which computes something else again."""
        module = self.merge()
        _backbone(module).remat = remat
        return dataclasses.replace(self, graphdef=nnx.graphdef(module))

    def on(self, mesh: Mesh) -> "Model":
        """The same model, every parameter where its logical axes put it on `mesh`."""
        shardings = meshes.param_shardings(self.params, mesh)
        return self.with_params(jax.device_put(self.params, shardings))

    @property
    def num_params(self) -> int:
        """How many numbers its parameters hold."""
        return sum(x.size for x in jax.tree.leaves(self.params))


@no_type_check
@dataclasses.dataclass(frozen=True)
class Start:
    """A model that is described but not loaded: what a training starts from.

    A run that goes on from a checkpoint needs the description alone.

    Attributes:
      model: its parameters are `jax.ShapeDtypeStruct`s, with shardings.
      load: makes the parameters as they are described; nothing else keeps them.
    """

    model: Model
    load: Callable[[], nnx.State]

    def loaded(self) -> Model:
        """The model with its parameters."""
        return self.model.with_params(self.load())

    def then(self, change: Callable[[Model], Model], mesh: Mesh) -> "Start":
        """The start from `change(model)`, its parameters where their logical axes put them.

        change: computes in JAX alone, so that it can be traced. What it makes of the parameters
        takes their place: beside them lies only what it adds.
        """
        changed: list[Model] = []

        def params_of(params: nnx.State) -> nnx.State:
            changed.append(change(self.model.with_params(params)))
            return changed[-1].params

        shapes = jax.eval_shape(params_of, self.model.params)
        shardings = meshes.param_shardings(shapes, mesh)
        make = jax.jit(params_of, donate_argnums=0, out_shardings=shardings)

        def load() -> nnx.State:
            with warnings.catch_warnings():
                # What became larger, or is left out, is given up too.
                warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
                return make(self.load())

        return Start(changed[0].with_params(meshes.placed(shapes, shardings)), load)


def _backbone(module: Any) -> Any:
    """The `Llama` of a policy or of a reward model."""
    return getattr(module, "backbone", module)
