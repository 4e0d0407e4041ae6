"""What is counted in a program is what its products and loops come to by hand."""

import jax
import jax.numpy as jnp
import pytest

from glore_jax.planning import cost


def compiled(function, *shapes):
    """The cost of a function of float32 arrays of `shapes`."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return cost.analyse(jax.jit(function).lower(*arguments).compile().as_text())


def test_one_product():
    found = compiled(lambda a, b: a @ b, (24, 40), (40, 16))
    assert found.flops == 2 * 24 * 40 * 16
    assert found.bytes == 4 * (24 * 40 + 40 * 16 + 24 * 16)
    assert found.open_loops == 0 and found.collectives == {}


def test_a_scan_counts_as_often_as_it_turns():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    found = compiled(layers, (8, 32), (5, 32, 32))
    assert found.flops == 5 * 2 * 8 * 32 * 32
    weights = 5 * 4 * 32 * 32  # read once; a slice of the stack is no read of the stack
    assert weights < found.bytes < 5 * weights


def test_loops_in_loops():
    def twice(x, weights):
        def outer(x, w):
            return jax.lax.fori_loop(0, 3, lambda i, x: x @ w, x), None

        return jax.lax.scan(outer, x, weights)[0]

    assert compiled(twice, (4, 16), (5, 16, 16)).flops == 5 * 3 * 2 * 4 * 16 * 16


def test_a_rematerialised_step_counts_its_recomputation():
    def layer(x, w):
        return jnp.sin(jnp.sin(x @ w) @ w.T), None

    def gradient(layer):
        return jax.grad(lambda w, x: jax.lax.scan(layer, x, w)[0].sum())

    product = 2 * 8 * 32 * 64
    plain = compiled(gradient(layer), (4, 32, 64), (8, 32)).flops
    again = compiled(gradient(jax.checkpoint(layer)), (4, 32, 64), (8, 32)).flops
    # The first layer needs no gradient of its input.
    assert plain == pytest.approx(4 * 6 * product, abs=2 * product)
    assert again == pytest.approx(plain + 4 * 2 * product, abs=4 * product)


def test_a_loop_that_ends_by_its_data():
    def until(x, w):
        return jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ w, x)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 16), (16, 16))]
    text = jax.jit(until).lower(*shapes).compile().as_text()
    one = cost.analyse(text)
    seven = cost.analyse(text, turns=7)
    assert one.open_loops == 1 and one.flops == 2 * 4 * 16 * 16
    assert seven.flops == 7 * one.flops


CHOICE = """
HloModule m
%small (x: f32[8,8]) -> f32[8,8] {
  %x = f32[8,8]{1,0} parameter(0)
  ROOT %y = f32[8,8]{1,0} copy(%x)
}

%large (x: f32[8,8]) -> f32[8,8] {
  %x = f32[8,8]{1,0} parameter(0)
  ROOT %y = f32[8,8]{1,0} dot(%x, %x), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (n: s32[], x: f32[8,8]) -> f32[8,8] {
  %n = s32[] parameter(0)
  %x = f32[8,8]{1,0} parameter(1)
  ROOT %y = f32[8,8]{1,0} conditional(%n, %x, %x), branch_computations={%small, %large}
}
"""


def test_of_branches_the_most_costly_counts():
    found = cost.analyse(CHOICE)
    assert found.flops == 2 * 8 * 8 * 8 and found.bytes == 3 * 4 * 8 * 8
