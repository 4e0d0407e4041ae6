"""How much work an update is, and how much the devices could do."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from glore_jax.models.config import LlamaConfig
from glore_jax.parallel.chips import CHIPS

# Published dense bf16 peaks, FLOP/s a device as JAX counts devices, by the start of its name.
PEAK_FLOPS = {
    "TPU v4": CHIPS["v4"].flops,
    "TPU v5 lite": CHIPS["v5e"].flops,
    "TPU v5e": CHIPS["v5e"].flops,
    "TPU v5p": CHIPS["v5p"].flops,
    "TPU v5": CHIPS["v5p"].flops,
    "TPU v6 lite": CHIPS["v6e"].flops,
    "TPU v6e": CHIPS["v6e"].flops,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100": 312e12,
}


def training_flops(
    num_params: int, config: LlamaConfig, tokens: int | float, row_length: int
) -> float:
    """Model FLOPs of an update on `tokens` positions.

    6 N a token for N parameters, and 6 L T H C for the attention of L layers with H heads of C
    numbers in rows of T tokens: causal, so half the square.
    """
    attention = 6 * config.num_layers * config.num_heads * config.head_dim * row_length
    return float(tokens) * (6.0 * num_params + attention)


@functools.cache
def peak_flops() -> float:
    """FLOP/s of one device.

    The published figure, or on a CPU the rate of a float32 1024-cubed matrix product, measured
    once.
    """
    kind = jax.devices()[0].device_kind
    # The longest name first: "TPU v5" is the start of others.
    for name in sorted(PEAK_FLOPS, key=len, reverse=True):
        if kind.startswith(name):
            return PEAK_FLOPS[name]
    x = jnp.ones((1024, 1024), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()  # compiles
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        product(x).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / float(np.min(seconds))
