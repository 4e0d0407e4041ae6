"""A slot attends to its trunk below its cut and to what it wrote itself, in whatever blocks that lies."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from glore_jax.sampling import cache

CONFIG = SimpleNamespace(num_kv_heads=2, head_dim=4, num_layers=1)
GROUPS, SLOTS, SHELVES, TRUNK, BLOCKS, BLOCK, QUERY_HEADS = 2, 3, 2, 6, 3, 5, 4
CUTS = np.array([[6, 2, 0], [1, 5, 3]], np.int32)
SHELF = np.array([[0, 1, 0], [1, 1, 0]], np.int32)


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def history(steps, listed):
    """(store, trunk keys and values a shelf, suffix keys and values of every step): all slots write a column at each step. What
    is older than the blocks hold is gone."""
    store = cache.empty(CONFIG, GROUPS, SLOTS, SHELVES * TRUNK, BLOCKS, BLOCK, np.float32, listed)
    trunks = [draw(SHELVES, GROUPS, TRUNK, 2, 4, seed=i) for i in range(2)]
    suffix = [draw(steps, GROUPS, SLOTS, 2, 1, 4, seed=i) for i in range(2)]

    def wrap(pair, kind):
        return [kind(*pair)] if listed else kind(*(x[None] for x in pair))

    for shelf in range(SHELVES):
        rows = np.arange(GROUPS)
        store = cache.put_trunks(
            store, wrap([t[shelf] for t in trunks], lambda *x: x), rows, np.full(GROUPS, shelf)
        )
    column = 0
    for t in range(steps):
        if column == BLOCKS * BLOCK:
            store, column = cache.rotate_blocks(store), column - BLOCK
        used = column // BLOCK + 1
        new = wrap([s[t] for s in suffix], lambda k, v: {"k": k, "v": v})
        block = cache.put_column(cache.split(store, used)[1], new, column % BLOCK)
        store, column = cache.join(store, block, used), column + 1
    return store, trunks, suffix, column


def layer_of(store):
    return store[0] if isinstance(store, list) else jax.tree.map(lambda x: x[0], store)


def explicit(q, keys, values):
    """Attention of one query [heads, C] over a list of keys and values [kv heads, C], head by head."""
    out = np.zeros_like(q)
    for h in range(len(q)):
        k, v = (np.stack([x[h // 2] for x in xs]).astype(np.float64) for xs in (keys, values))
        weights = np.exp(k @ q[h] / 2.0)  # the root of the width 4
        out[h] = weights @ v / weights.sum()
    return out


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "stacked"])
@pytest.mark.parametrize("now", [0, 3, 4, 5, 13, 22], ids="step {}".format)
def test_a_slot_sees_its_trunk_and_its_own_suffix(now, listed):
    """Slots begin at different steps: the columns of those who sat there before, and of later steps' places, are not seen."""
    store, (trunk_k, trunk_v), (suffix_k, suffix_v), column = history(now, listed)
    age = np.minimum([[4, 1, 0], [2, 8, 4]], now).astype(np.int32)
    slots = GROUPS * SLOTS
    q, k, v = (
        draw(slots, 1, QUERY_HEADS, 4),
        draw(slots, 1, 2, 4, seed=1),
        draw(slots, 1, 2, 4, seed=2),
    )
    found, kept = cache.attend_over(SHELF * TRUNK, CUTS, age, column)(q, k, v, layer_of(store))
    assert kept["k"].shape == kept["v"].shape == (GROUPS, SLOTS, 2, 1, 4)
    for g, f in np.ndindex(GROUPS, SLOTS):
        own = range(now - age[g, f], now)
        i, shelf = g * SLOTS + f, SHELF[g, f]
        keys = [*trunk_k[shelf, g, : CUTS[g, f]], *(suffix_k[t, g, f, :, 0] for t in own), k[i, 0]]
        values = [
            *trunk_v[shelf, g, : CUTS[g, f]],
            *(suffix_v[t, g, f, :, 0] for t in own),
            v[i, 0],
        ]
        np.testing.assert_allclose(found[i, 0], explicit(q[i, 0], keys, values), atol=1e-5)


@pytest.mark.parametrize("query_heads", [2, 6], ids="{} query heads".format)
def test_bfloat16_is_float32_rounded(query_heads):
    store, _, _, column = history(5, True)
    q = draw(GROUPS * SLOTS, 1, query_heads, 4, seed=5)
    k, v = draw(2, GROUPS * SLOTS, 1, 2, 4, seed=6)
    age = np.full((GROUPS, SLOTS), 3, np.int32)
    attend = cache.attend_over(SHELF * TRUNK, CUTS, age, column)
    brief = [jax.tree.map(lambda x: x.astype(jnp.bfloat16), x) for x in (q, k, v, layer_of(store))]
    exact = [jax.tree.map(lambda x: x.astype(jnp.float32), x) for x in brief]
    (found, kept), (expected, _) = attend(*brief), attend(*exact)
    assert found.dtype == kept["k"].dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.02)


def test_a_large_score_does_not_overflow():
    store, _, _, column = history(2, True)
    q = np.full((GROUPS * SLOTS, 1, QUERY_HEADS, 4), 1e4, np.float32)
    k, v = np.ones((2, GROUPS * SLOTS, 1, 2, 4), np.float32)
    age = np.full((GROUPS, SLOTS), 2, np.int32)
    found, _ = cache.attend_over(SHELF * TRUNK, CUTS, age, column)(q, k, v, layer_of(store))
    assert np.isfinite(found).all()


def test_padding_rows_of_a_prefill_go_nowhere():
    store = cache.empty(CONFIG, GROUPS, SLOTS, SHELVES * TRUNK, BLOCKS, BLOCK, np.float32, True)
    trunk = [(draw(3, TRUNK, 2, 4), draw(3, TRUNK, 2, 4, seed=1))]
    (layer,) = cache.put_trunks(store, trunk, np.array([1, GROUPS, GROUPS]), np.array([1, 0, 1]))
    np.testing.assert_array_equal(
        layer["trunk_k"][1, :, :, TRUNK:], trunk[0][0][0].transpose(1, 2, 0)
    )
    np.testing.assert_array_equal(layer["trunk_v"][1, :, TRUNK:], trunk[0][1][0].transpose(1, 0, 2))
    for x, rest in (("trunk_k", np.s_[:, :, :TRUNK]), ("trunk_v", np.s_[:, :TRUNK])):
        assert not layer[x][0].any() and not layer[x][1][rest].any()


@pytest.mark.parametrize("platform, rows", [("cuda", 1), ("cpu", 2), ("tpu", 2)])
def test_one_query_head_a_key_is_two_rows_but_on_a_gpu(platform, rows):
    """What is lowered in bfloat16 where each key/value head has one query head."""

    def shape(*sizes, dtype=jnp.bfloat16):
        return jax.ShapeDtypeStruct(sizes, dtype)

    def attend(start, cut, age, q, k, v, layer):
        return cache.attend_over(start, cut, age, 5)(q, k, v, layer)[0]

    places, heads, width = shape(GROUPS, SLOTS, dtype=jnp.int32), 4, 16
    block = shape(GROUPS, SLOTS, heads, 7, width)
    trunks = {"trunk_k": shape(GROUPS, heads, width, 8), "trunk_v": shape(GROUPS, heads, 8, width)}
    token = shape(GROUPS * SLOTS, 1, heads, width)
    made = export.export(jax.jit(attend), platforms=[platform])
    text = made(
        *[places] * 3, *[token] * 3, trunks | {"suffix": [{"k": block, "v": block}]}
    ).mlir_module()
    scores = f"tensor<{GROUPS}x{SLOTS}x{heads}x{rows}x7xf32>"
    assert scores in [
        line.rsplit("-> ", 1)[-1].split(" ")[0]
        for line in text.splitlines()
        if "dot_general" in line
    ]
