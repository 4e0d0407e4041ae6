"""How fast this hardware is with this model's matrices: a second of products, before a run.

Two kinds of product stand for all work: with as many rows as a batch has tokens (training, scoring,
trunks), and with as many as there are forks (a drawn token), where the weights come from memory:

    many rows    [1024, D] x [D, M]                  one matrix, again and again
    few rows     [forks, D] x [D, M], [forks, D] x [D, M], ...     a matrix of each layer
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from glore_jax.models.config import LlamaConfig

_ROWS = 1024  # of a product with many rows
_BYTES = 2**28  # of the matrices of a product with few rows: more than any cache holds
_SECONDS = 0.3  # for each kind of product


@dataclasses.dataclass(frozen=True)
class Rates:
    """FLOP/s of one device in matrix products.

    Attributes:
      many_rows: of training, scoring and prefill.
      few_rows: of decoding.
    """

    many_rows: float
    few_rows: float


def measure(config: LlamaConfig, dtype: str, forks: int) -> Rates:
    """The rates of this process's first device.

    Args:
      config: of the model, for the sizes of its matrices.
      dtype: that it computes in.
      forks: that a device decodes at a time.
    """
    width = config.hidden_size
    inner = config.intermediate_size
    matrix_bytes = width * inner * jnp.dtype(dtype).itemsize
    matrices = max(1, min(config.num_layers, _BYTES // matrix_bytes))
    weights = jnp.full((matrices, width, inner), 1e-3, dtype)
    return Rates(
        many_rows=_flops(jnp.ones((_ROWS, width), dtype), weights[:1]),
        few_rows=_flops(jnp.ones((forks, width), dtype), weights),
    )


def _flops(x: jax.Array, weights: jax.Array) -> float:
    """FLOP/s of x [rows, D] times each of the weights [n, D, M]."""
    run = jax.jit(_products)
    run(x, weights).block_until_ready()  # compiles
    seconds = _fastest(lambda: run(x, weights).block_until_ready())
    return 2.0 * x.shape[0] * weights.size / seconds


def _products(x: jax.Array, weights: jax.Array) -> jax.Array:
    """The sum of all products. None can be left out, since each one begins with the last one's."""

    def step(last: jax.Array, weight: jax.Array) -> tuple[jax.Array, None]:
        product = (x + last) @ weight
        return product.mean().astype(x.dtype), None

    return jax.lax.scan(step, jnp.zeros((), x.dtype), weights)[0]


def _fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest of some calls: others may use the machine too."""
    fastest = float("inf")
    end = time.perf_counter() + _SECONDS
    while True:
        start = time.perf_counter()
        call()
        now = time.perf_counter()
        fastest = min(fastest, now - start)
        if now > end:
            return fastest
