"""A slot attends to its trunk below its cut and to what it wrote itself, in whatever blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled_store import CONFIG, GROUPS, LAYOUTS, SLOTS, TRUNK, draw, history
from jax import export

from glore_jax.sampling.attention import attend_over
from glore_jax.sampling.cpu.listed import Listed
from glore_jax.sampling.store import Block, Layer, Trunks

QUERY_HEADS = 4
CUTS = jnp.array([[6, 2, 0], [1, 5, 3]], jnp.int32)
SHELF = jnp.array([[0, 1, 0], [1, 1, 0]], jnp.int32)
KV_HEADS, WIDTH = CONFIG.num_kv_heads, CONFIG.head_dim


def layer_of(store):
    """Of the only layer, whatever the layout."""
    layers = store.layers()
    return layers[0] if isinstance(store, Listed) else jax.tree.map(lambda x: x[0], layers)


def explicit(q, keys, values):
    """Attention of one query [heads, C] over keys and values [kv heads, C], head by head."""
    out = np.zeros_like(q)
    for h in range(len(q)):
        k, v = (np.stack([x[h // 2] for x in xs]).astype(np.float64) for xs in (keys, values))
        weights = np.exp(k @ q[h] / 2.0)  # the root of the width 4
        out[h] = weights @ v / weights.sum()
    return out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("now", [0, 3, 4, 5, 13, 22], ids="step {}".format)
def test_a_slot_sees_its_trunk_and_its_own_suffix(now, layout):
    """Slots begin at different steps: nobody sees the columns of those who sat there before."""
    store, (trunk_k, trunk_v), (suffix_k, suffix_v), column = history(now, layout)
    age = np.minimum([[4, 1, 0], [2, 8, 4]], now).astype(np.int32)
    slots = GROUPS * SLOTS
    q = draw(slots, 1, QUERY_HEADS, WIDTH)
    k = draw(slots, 1, KV_HEADS, WIDTH, seed=1)
    v = draw(slots, 1, KV_HEADS, WIDTH, seed=2)
    attend = attend_over(SHELF * TRUNK, CUTS, jnp.asarray(age), jnp.int32(column))
    found, kept = attend(*map(jnp.asarray, (q, k, v)), layer_of(store))
    assert kept.k.shape == kept.v.shape == (GROUPS, SLOTS, KV_HEADS, 1, WIDTH)
    for g, f in np.ndindex(GROUPS, SLOTS):
        own = range(now - age[g, f], now)
        i, shelf, cut = g * SLOTS + f, SHELF[g, f], CUTS[g, f]
        keys = [*trunk_k[shelf, g, :cut], *(suffix_k[t, g, f, :, 0] for t in own), k[i, 0]]
        values = [*trunk_v[shelf, g, :cut], *(suffix_v[t, g, f, :, 0] for t in own), v[i, 0]]
        np.testing.assert_allclose(found[i, 0], explicit(q[i, 0], keys, values), atol=1e-5)


@pytest.mark.parametrize("query_heads", [2, 6], ids="{} query heads".format)
def test_bfloat16_is_float32_rounded(query_heads):
    store, _, _, column = history(5, Listed)
    q = draw(GROUPS * SLOTS, 1, query_heads, WIDTH, seed=5)
    k, v = draw(2, GROUPS * SLOTS, 1, KV_HEADS, WIDTH, seed=6)
    age = jnp.full((GROUPS, SLOTS), 3, jnp.int32)
    attend = attend_over(SHELF * TRUNK, CUTS, age, jnp.int32(column))
    arrays = (*map(jnp.asarray, (q, k, v)), layer_of(store))
    brief = [jax.tree.map(lambda x: x.astype(jnp.bfloat16), x) for x in arrays]
    exact = [jax.tree.map(lambda x: x.astype(jnp.float32), x) for x in brief]
    (found, kept), (expected, _) = attend(*brief), attend(*exact)
    assert found.dtype == kept.k.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.02)


def test_a_large_score_does_not_overflow():
    store, _, _, column = history(2, Listed)
    q = jnp.full((GROUPS * SLOTS, 1, QUERY_HEADS, WIDTH), 1e4, jnp.float32)
    k, v = jnp.ones((2, GROUPS * SLOTS, 1, KV_HEADS, WIDTH), jnp.float32)
    age = jnp.full((GROUPS, SLOTS), 2, jnp.int32)
    attend = attend_over(SHELF * TRUNK, CUTS, age, jnp.int32(column))
    found, _ = attend(q, k, v, layer_of(store))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("platform, rows", [("cuda", 1), ("cpu", 2), ("tpu", 2)])
def test_one_query_head_a_key_is_two_rows_but_on_a_gpu(platform, rows):
    """What is lowered in bfloat16 where each key/value head has one query head."""

    def shape(*sizes, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(sizes, dtype)

    def attend(start, cut, age, q, k, v, layer):
        return attend_over(start, cut, age, jnp.int32(5))(q, k, v, layer)[0]

    places, heads, width = shape(GROUPS, SLOTS, dtype=jnp.int32), 4, 16
    block = shape(GROUPS, SLOTS, heads, 7, width)
    trunks = Trunks(shape(GROUPS, heads, width, 8), shape(GROUPS, heads, 8, width))
    token = shape(GROUPS * SLOTS, 1, heads, width)
    layer = Layer(trunks, (Block(block, block),))
    made = export.export(jax.jit(attend), platforms=[platform])
    text = made(*[places] * 3, *[token] * 3, layer).mlir_module()
    scores = f"tensor<{GROUPS}x{SLOTS}x{heads}x{rows}x7xf32>"
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert scores in [line.rsplit("-> ", 1)[-1].split(" ")[0] for line in products]


def test_shapes_that_do_not_fit_are_refused():
    """jaxtyping holds every call of a test to the signatures."""
    store, _, _, column = history(1, Listed)
    age = jnp.zeros((GROUPS, SLOTS), jnp.int32)
    attend = attend_over(SHELF * TRUNK, CUTS, age, jnp.int32(column))
    q = jnp.ones((GROUPS * SLOTS, 1, QUERY_HEADS, WIDTH))
    k = jnp.ones((GROUPS * SLOTS, 1, KV_HEADS, WIDTH))
    with pytest.raises(TypeError, match="parameter 'v'"):
        attend(q, k, k[:, :, :1], layer_of(store))
    with pytest.raises(TypeError, match="parameter 'age'"):
        attend_over(SHELF * TRUNK, CUTS, age[:1], jnp.int32(column))
