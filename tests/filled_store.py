"""A small store with a history, for the tests of the store and of the attention over it."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_llama import CONFIG as TINY

from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.cpu.listed import Listed
from glore_jax.sampling.store import Stacked, TokenKV

CONFIG = dataclasses.replace(TINY, num_kv_heads=2, head_dim=4, num_layers=1)
GROUPS, SLOTS, SHELVES, TRUNK, BLOCKS, BLOCK = 2, 3, 2, 6, 3, 5
LAYOUTS = [pytest.param(Listed, id="listed"), pytest.param(Stacked, id="stacked")]


class Small(Capacity):
    """With fewer and shorter blocks than an engine would make."""

    blocks = BLOCKS
    block = BLOCK


CAPACITY = Small(GROUPS, SLOTS, SHELVES, max_trunk=TRUNK, max_new=BLOCKS * BLOCK)


def draw(*shape, seed=0):
    """float32 of a normal distribution."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def empty(layout, config=CONFIG):
    return layout.empty(config, CAPACITY, np.float32)


def as_given(layout, pair, kind=tuple):
    """Keys and values of the only layer, as a model gives them to a store of this layout."""
    k, v = map(jnp.asarray, pair)
    return [kind((k, v))] if layout is Listed else kind((k[None], v[None]))


def history(steps, layout):
    """A store in which trunks lie on all shelves and all slots have written so many columns.

    Returns (store, (k, v) of the trunks [shelves, G, T, K, C], (k, v) of the suffixes
    [steps, G, F, K, 1, C], the next column). What is older than the blocks hold is gone.
    """
    store = empty(layout)
    trunks = [draw(SHELVES, GROUPS, TRUNK, 2, 4, seed=i) for i in range(2)]
    suffix = [draw(steps, GROUPS, SLOTS, 2, 1, 4, seed=i) for i in range(2)]
    for shelf in range(SHELVES):
        new = as_given(layout, [t[shelf] for t in trunks])
        store = store.put_trunks(new, jnp.arange(GROUPS), jnp.full(GROUPS, shelf))
    column = 0
    for step in range(steps):
        if column == BLOCKS * BLOCK:
            store = store.rotated()
            column -= BLOCK
        last = column // BLOCK
        new = as_given(layout, [s[step] for s in suffix], TokenKV._make)
        block = store.put_column(store.suffix[last], new, jnp.int32(column % BLOCK))
        store = store.with_block(last, block)
        column += 1
    return store, trunks, suffix, column
