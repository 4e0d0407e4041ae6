"""How the weights of a policy lie in the memory of a TPU, beside a loop that decodes.

A TPU keeps the last axis of an array in registers of 128 lanes. Where that axis is no multiple of
128, it turns the array if the axis before it is one, so that no lane is lost. Of 7B over four
chips that is so for two weights of each layer, [4096, 11008 / 4 = 2752]. The loop that decodes
wants them as they are written, and would turn them at its beginning: in every round, with both
copies held.
"""

import dataclasses

import jax
from jax.experimental.layout import Format, Layout

from glore_jax.models.model import Model

LANES = 128


def for_decoding(model: Model) -> Model:
    """The same policy with its weights as a loop that decodes reads them.

    On TPUs the arrays that have to be turned are replaced one by one and are gone from `model`; its
    parameters may be `ShapeDtypeStruct`s too. On other devices nothing is done.
    """
    first = jax.tree.leaves(model.params)[0]
    device = next(iter(first.sharding.device_set))
    return row_major(model) if device.platform == "tpu" else model


def row_major(model: Model) -> Model:
    """The same policy, the stacked weights of its layers with their last axis innermost."""

    def place(x: jax.Array | jax.ShapeDtypeStruct) -> jax.Array | jax.ShapeDtypeStruct:
        shard = x.sharding.shard_shape(x.shape)
        if x.ndim < 3 or shard[-1] % LANES == 0:
            return x
        format_ = Format(Layout(tuple(range(x.ndim))), x.sharding)
        if isinstance(x, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=format_)
        return jax.device_put(x, format_, donate=True)

    return dataclasses.replace(model, params=jax.tree.map(place, model.params))
