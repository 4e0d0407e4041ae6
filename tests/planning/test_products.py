"""Multiply-adds of products, as XLA writes them: `dot`, and on a TPU `convolution`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glore_jax.planning import cost, products


def test_products_with_batch_axes():
    def scores(a, b):
        return jnp.einsum("bhqc,bhkc->bhqk", a, b)

    shapes = [jax.ShapeDtypeStruct((2, 3, 8, 16), jnp.float32)] * 2
    text = jax.jit(scores).lower(*shapes).compile().as_text()
    assert cost.analyse(text).flops == 2 * 2 * 3 * 8 * 8 * 16


# A dot [3, 8, 16] x [3, 16, 4] as XLA:TPU writes it: the batch axis 0 is a spatial one, stretched
# so that each output position sees one input.
BATCHED = """
HloModule m
ENTRY %main (a: f32[3,8,16], b: f32[3,16,4]) -> f32[3,8,4] {
  %a = f32[3,8,16]{2,1,0:T(8,128)} parameter(0)
  %b = f32[3,16,4]{2,1,0:T(8,128)} parameter(1)
  ROOT %y = f32[3,8,4]{2,1,0:T(8,128)} convolution(%a, %b), \
window={size=3 stride=2 pad=0_0 lhs_dilate=3}, dim_labels=0bf_0io->0bf
}
"""


def test_a_batched_product_as_a_convolution():
    assert cost.analyse(BATCHED).flops == 2 * 3 * 8 * 16 * 4


@pytest.mark.parametrize(
    "size, stride, pad, stretch",
    [(3, 1, 1, 1), (4, 3, 0, 4), (32, 1, 31, 1), (1, 1, 0, 1), (5, 2, 2, 1)],
)
def test_positions_of_a_convolution(size, stride, pad, stretch):
    """Against a convolution of ones, whose sum counts the pairs that meet."""
    length = 4
    out = jax.lax.conv_general_dilated(
        np.ones((1, 1, length), np.float32),
        np.ones((1, 1, size), np.float32),
        (stride,),
        [(pad, pad)],
        (stretch,),
    )
    found = products.meetings(
        length, out.shape[-1], size=size, stride=stride, pad=pad, stretch=stretch, spread=1
    )
    assert found == out.sum()
