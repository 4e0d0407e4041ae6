"""For CPUs: products with a single row.

A product with a single row is no product to XLA's CPU backend but a loop, which it fuses with what
follows and then runs anew for every element of it; in bfloat16 that took ten times as long. A
second row, a copy of the first, keeps it a product.

On an NVIDIA GPU the loop is what reads the store fastest, so there it stays. TPUs get the second
row too: whether they need it has not been measured.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

Product = Callable[[Array, Array], Array]


def of_one_row(
    product: Product, x: Float[Array, "G F K 1 M"], y: Float[Array, "G F K M N"]
) -> Float32[Array, "G F K 1 N"]:
    """`product(x, y)` by the means that suit the device."""

    def of_two_rows(x: Float[Array, "G F K 1 M"], y: Float[Array, "G F K M N"]) -> Array:
        return product(jnp.repeat(x, 2, axis=3), y)[:, :, :, :1]

    return jax.lax.platform_dependent(x, y, cuda=product, default=of_two_rows)
