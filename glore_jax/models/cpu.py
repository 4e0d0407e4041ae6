"""What only a CPU needs of the model: layers written out in the program instead of scanned.

On TPUs and GPUs the layers are one stacked array a weight and one compiled body that a scan runs
L times: programs stay short, and nothing here plays a part. On a CPU that scan costs time:

    training    it copies what the backward pass keeps of each layer. `unroll=True` makes XLA
                write the layers out (a tenth faster); their weights stay stacked.
    decoding    a loop over tokens that takes layers out of stacked weights copies all of them
                each time it goes round. `unstack` gives every layer arrays of its own, and
                the caches come as a list of L trees, of which nothing is sliced or copied.

Large models take far longer to compile when their layers are written out.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float, Float32, Int

from glore_jax.models import rope
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model


def angles_from_table(
    config: LlamaConfig, positions: Int[Array, "B T"]
) -> tuple[Float32[Array, "B T 1 half"], Float32[Array, "B T 1 half"]]:
    """`rope.angles`, read from a table of all positions that is a constant of the program.

    XLA fuses sines and cosines into whatever reads them: written out, every layer would
    compute them again.
    """
    with jax.ensure_compile_time_eval():
        every_position = jnp.arange(config.max_positions)[None]
        cos, sin = rope.angles(config, every_position)

    def look_up(table: Float32[Array, "1 positions 1 half"]) -> Float32[Array, "B T 1 half"]:
        # Rows are no longer than max_positions (`Llama` refuses them), so no bound is checked.
        return table[0].at[positions].get(mode="promise_in_bounds")

    return look_up(cos), look_up(sin)


def unstack(model: Model) -> Model:
    """The same policy with the weights of each layer as arrays of their own.

    It takes only lists as `cache`. Costs a second copy of the layers' weights for as long as
    both models are held.
    """
    module = model.merge()
    graphdef, stacked = nnx.split(module.layers)

    def layer(i: int) -> nnx.Module:
        return nnx.merge(graphdef, jax.tree.map(lambda w: w[i], stacked))

    module.layers = nnx.List([layer(i) for i in range(model.config.num_layers)])
    module.stacked = False
    graphdef, params = nnx.split(module)
    return dataclasses.replace(model, graphdef=graphdef, params=params)


def split_layers(layers: nnx.List) -> tuple[nnx.GraphDef[Any], list[nnx.State]]:
    """(what one layer is, the weights of each) of an unstacked model."""
    weights = [nnx.state(layer) for layer in layers]
    return nnx.graphdef(layers[0]), weights


def run_layers(
    layer: Callable, x: Float[Array, "B T D"], weights: list[nnx.State], caches: list
) -> tuple[Float[Array, "B T D"], list]:
    """`lax.scan` over the layers, written out.

    Args:
      layer: layer(x, (weights of one layer, its cache)) -> (x, layer_out).
      x: what goes into the first layer.
      weights, caches: one entry a layer.

    Returns:
      (x, cache_out): what comes out of the last layer; `layer_out` of each.
    """
    cache_out = []
    for own_weights, own_cache in zip(weights, caches, strict=True):
        x, layer_out = layer(x, (own_weights, own_cache))
        cache_out.append(layer_out)
    return x, cache_out
