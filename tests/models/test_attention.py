"""Who sees whom, and the arithmetic, against a loop in NumPy."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from glore_jax.models import attention


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def run(attend, q, k, v):
    return jax.jit(lambda q, k, v: attend(q, k, v, None))(q, k, v)


def sees(attend, length, batch=1):
    """bool [B, T, T]: the keys with weight for each query.

    Values are unit vectors, so outputs are weights.
    """
    q, k = draw(0, batch, length, 2, length), draw(1, batch, length, 1, length)
    v = np.broadcast_to(np.eye(length, dtype=np.float32)[None, :, None], (batch, length, 1, length))
    out, _ = run(attend, q, k, v)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    return np.asarray(out > 0).all(axis=2)


def picture(text):
    return np.array([[mark == "x" for mark in row.split()] for row in text.strip().splitlines()])


def test_causal_within_segments():
    segments = jnp.array([[1, 1, 1, 2, 2, 0]])
    expected = picture("""
        x . . . . .
        x x . . . .
        x x x . . .
        . . . x . .
        . . . x x .
        . . . . . x
    """)
    np.testing.assert_array_equal(sees(attention.causal(segments), 6)[0], expected)


def test_positions_set_the_order():
    segments, positions = jnp.ones((1, 3), jnp.int32), jnp.array([[2, 0, 1]])
    expected = picture("""
        x x x
        . x .
        . x x
    """)
    np.testing.assert_array_equal(sees(attention.causal(segments, positions), 3)[0], expected)


def test_prefix_is_seen_both_ways_within_its_segment():
    segments = jnp.array([[1, 1, 1, 1, 1, 2, 2]])
    prefix = jnp.array([[True, True, True, False, False, True, False]])
    expected = picture("""
        x x x . . . .
        x x x . . . .
        x x x . . . .
        x x x x . . .
        x x x x x . .
        . . . . . x .
        . . . . . x x
    """)
    np.testing.assert_array_equal(sees(attention.prefix_lm(segments, prefix), 7)[0], expected)
    np.testing.assert_array_equal(
        sees(attention.causal(segments, prefix_mask=prefix), 7)[0], expected
    )


def test_rows_have_their_own_masks():
    seen = sees(attention.causal(jnp.array([[1, 1, 1], [1, 2, 2]])), 3, batch=2)
    assert seen[0, 2, 0] and not seen[1, 2, 0]


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_matches_a_plain_loop(kv_heads):
    batch, length, heads, width = 2, 9, 4, 6
    q = draw(0, batch, length, heads, width)
    k, v = (draw(seed, batch, length, kv_heads, width) for seed in (1, 2))
    segments = np.array([[1, 1, 1, 1, 2, 2, 2, 0, 0], [3, 3, 3, 3, 3, 3, 3, 3, 3]])
    out, _ = run(attention.causal(jnp.asarray(segments)), q, k, v)

    expected = np.zeros(out.shape)
    for b, t, h in np.ndindex(batch, length, heads):
        keys = [s for s in range(t + 1) if segments[b, s] == segments[b, t]]
        # Consecutive query heads share one key/value head, as in Hugging Face.
        head = h // (heads // kv_heads)
        scores = np.array([np.dot(q[b, t, h], k[b, s, head]) for s in keys]) / np.sqrt(width)
        weights = np.exp(scores - scores.max())
        expected[b, t, h] = (weights / weights.sum()) @ np.asarray(v)[b, keys, head]
    np.testing.assert_allclose(out, expected, atol=2e-6)


def test_blocks_of_queries_change_nothing():
    """Blocks of 64, 64 and 22 tokens; outputs and gradients are those of the whole square."""
    segments = np.repeat([[1, 2, 0], [3, 3, 3]], [70, 61, 19], axis=1)
    before = np.tri(150, dtype=bool)[None]
    same = segments[:, :, None] == segments[:, None]
    whole = attention.masked(jnp.asarray(before & same))
    weights = draw(3, 2, 150, 4, 8)
    arrays = draw(0, 2, 150, 4, 8), draw(1, 2, 150, 2, 8), draw(2, 2, 150, 2, 8)

    def value(attend):
        def loss(q, k, v):
            out, _ = attend(q, k, v, None)
            return jnp.sum(out * weights), out

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True))(*arrays)

    found, expected = value(attention.causal(jnp.asarray(segments))), value(whole)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_keep_kv_gives_them_back():
    q, k, v = draw(0, 1, 4, 2, 4), draw(1, 1, 4, 1, 4), draw(2, 1, 4, 1, 4)
    segments = jnp.ones((1, 4), jnp.int32)
    assert run(attention.causal(segments), q, k, v)[1] is None
    kept_k, kept_v = run(attention.causal(segments, keep_kv=True), q, k, v)[1]
    np.testing.assert_array_equal(kept_k, k)
    np.testing.assert_array_equal(kept_v, v)


def test_softmax_is_float32_for_bfloat16_inputs():
    """513 equal weights: a bfloat16 sum stops at 256, where adding one changes nothing any more."""
    length = 513
    q = jnp.zeros((1, length, 1, 2), jnp.bfloat16)
    v = jnp.ones((1, length, 1, 2), jnp.bfloat16)
    out, _ = run(attention.causal(jnp.ones((1, length), jnp.int32)), q, q, v)
    assert out.dtype == jnp.bfloat16
    np.testing.assert_allclose(out.astype(jnp.float32), 1, atol=0.01)
    attend = attention.causal(jnp.ones((1, length), jnp.int32))
    jaxpr = jax.make_jaxpr(lambda x: attend(x, x, x, None)[0])(q)
    exponentials = [line for line in str(jaxpr).splitlines() if " exp " in line]
    assert exponentials and all("f32" in line for line in exponentials)


def test_padding_rows_stay_finite():
    q = draw(0, 1, 4, 2, 4) * 100
    kv = draw(1, 1, 4, 2, 4)
    out, _ = run(attention.causal(jnp.zeros((1, 4), jnp.int32)), q, kv, kv)
    assert np.isfinite(out).all()


def test_shapes_in_signatures_are_checked_here():
    """`conftest.SHAPES_CHECKED`: without it a row of positions too long would only look wrong."""
    segments, positions = jnp.ones((2, 3), jnp.int32), jnp.zeros((2, 4), jnp.int32)
    with pytest.raises(jaxtyping.TypeCheckError, match="positions"):
        attention.causal(segments, positions)
