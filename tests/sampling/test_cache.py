"""A slot attends to its trunk below its cut and to what it wrote itself, wherever that lies in the ring."""

from types import SimpleNamespace

import numpy as np
import pytest

from glore_jax.sampling import cache

CONFIG = SimpleNamespace(num_kv_heads=2, head_dim=4, num_layers=1)
GROUPS, SLOTS, TRUNK, COLUMNS, QUERY_HEADS = 2, 3, 6, 5, 4
CUTS = np.array([[6, 2, 0], [1, 5, 3]], np.int32)


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def history(steps, listed):
    """(store, trunk keys and values, suffix keys and values of every step): all slots write a column at each step."""
    store = cache.empty(CONFIG, GROUPS, SLOTS, TRUNK, COLUMNS, np.float32, listed)
    trunk = [draw(GROUPS, TRUNK, 2, 4, seed=i) for i in range(2)]
    suffix = [draw(steps, GROUPS, SLOTS, 2, 1, 4, seed=i) for i in range(2)]

    def wrap(pair):
        return [tuple(pair)] if listed else tuple(x[None] for x in pair)

    store = cache.put_trunks(store, wrap(trunk), np.arange(GROUPS))
    for t in range(steps):
        store = cache.put_column(store, wrap([s[t] for s in suffix]), t % COLUMNS)
    return store, trunk, suffix


def layer_of(store):
    return store[0] if isinstance(store, list) else {name: x[0] for name, x in store.items()}


def explicit(q, keys, values):
    """Attention of one query [heads, C] over a list of keys and values [kv heads, C], head by head."""
    out = np.zeros_like(q)
    for h in range(len(q)):
        k, v = (np.stack([x[h // 2] for x in xs]).astype(np.float64) for xs in (keys, values))
        weights = np.exp(k @ q[h] / 2.0)  # the root of the width 4
        out[h] = weights @ v / weights.sum()
    return out


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "stacked"])
@pytest.mark.parametrize("now", [0, 3, 4, 5, 13], ids="step {}".format)
def test_a_slot_sees_its_trunk_and_its_own_suffix(now, listed):
    """Slots begin at different steps: the columns of those who sat there before, and of later steps' places, are not seen."""
    store, (trunk_k, trunk_v), (suffix_k, suffix_v) = history(now, listed)
    age = np.minimum([[4, 1, 0], [2, 3, 4]], now).astype(np.int32)
    slots = GROUPS * SLOTS
    q, k, v = draw(slots, 1, QUERY_HEADS, 4), draw(slots, 1, 2, 4, seed=1), draw(slots, 1, 2, 4, seed=2)
    found, kept = cache.attend_over(CUTS, age, now % COLUMNS)(q, k, v, layer_of(store))
    assert kept[0].shape == kept[1].shape == (GROUPS, SLOTS, 2, 1, 4)
    for g, f in np.ndindex(GROUPS, SLOTS):
        own = range(now - age[g, f], now)
        i = g * SLOTS + f
        keys = [*trunk_k[g, : CUTS[g, f]], *(suffix_k[t, g, f, :, 0] for t in own), k[i, 0]]
        values = [*trunk_v[g, : CUTS[g, f]], *(suffix_v[t, g, f, :, 0] for t in own), v[i, 0]]
        np.testing.assert_allclose(found[i, 0], explicit(q[i, 0], keys, values), atol=1e-5)


def test_a_large_score_does_not_overflow():
    store, _, _ = history(2, True)
    q = np.full((GROUPS * SLOTS, 1, QUERY_HEADS, 4), 1e4, np.float32)
    k, v = np.ones((2, GROUPS * SLOTS, 1, 2, 4), np.float32)
    found, _ = cache.attend_over(CUTS, np.full((GROUPS, SLOTS), 2, np.int32), 2)(q, k, v, layer_of(store))
    assert np.isfinite(found).all()


def test_padding_rows_of_a_prefill_go_nowhere():
    store = cache.empty(CONFIG, GROUPS, SLOTS, TRUNK, COLUMNS, np.float32, True)
    trunk = [(draw(3, TRUNK, 2, 4), draw(3, TRUNK, 2, 4, seed=1))]
    (layer,) = cache.put_trunks(store, trunk, np.array([1, GROUPS, GROUPS]))
    np.testing.assert_array_equal(layer["trunk_k"][1], trunk[0][0][0].transpose(1, 2, 0))
    np.testing.assert_array_equal(layer["trunk_v"][1], trunk[0][1][0].transpose(1, 0, 2))
    assert not layer["trunk_k"][0].any() and not layer["trunk_v"][0].any()
