"""Rotary positions (RoFormer, arXiv 2104.09864) in the half-split layout of Hugging Face.

A head of width C is C/2 pairs, and pair i turns by the angle `position * frequency[i]`:

    place    0   1   2   3 | 4   5   6   7      C = 8
    pair     0   1   2   3 | 0   1   2   3      pair i is (x[i], x[i + C/2])

Hugging Face keeps its q and k weights for this layout, so nothing is permuted on import.
Shapes as in `llama.py`.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Float32, Int

from glore_jax.models.config import LlamaConfig


def frequencies(config: LlamaConfig) -> Float32[np.ndarray, " half"]:
    """Angular frequency of each pair, float32 [C/2], Llama 3 scaling applied.

    Computed in float64 and rounded once: positions multiply whatever is lost here.
    """
    exponent = np.arange(0, config.head_dim, 2, dtype=np.float64) / config.head_dim
    frequency = config.rope_theta**-exponent
    scaling = config.rope_scaling
    if scaling is not None:
        # How often a pair turns within the original context. Few turns: slower by `factor`;
        # many: kept; between the two bounds it blends linearly.
        turns = scaling.original_max_position * frequency / (2 * np.pi)
        low, high = scaling.low_freq_factor, scaling.high_freq_factor
        keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
        frequency = keep * frequency + (1 - keep) * frequency / scaling.factor
    return frequency.astype(np.float32)


def angles(
    config: LlamaConfig, positions: Int[Array, "B T"]
) -> tuple[Float32[Array, "B T 1 half"], Float32[Array, "B T 1 half"]]:
    """(cos, sin) of every pair at integer positions [B, T]; the axis of size 1 is all heads."""
    turned = positions[..., None, None].astype(jnp.float32) * frequencies(config)
    return jnp.cos(turned), jnp.sin(turned)


def rotate(
    x: Float[Array, "B T heads C"],
    cos: Float32[Array, "#B T 1 C//2"],
    sin: Float32[Array, "#B T 1 C//2"],
) -> Float[Array, "B T heads C"]:
    """Turns every pair of x by its angle, in float32; gives back x's dtype."""
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate((a * cos - b * sin, b * cos + a * sin), axis=-1)
    return turned.astype(x.dtype)
