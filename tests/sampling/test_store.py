"""The store keeps what it is given where it is told to, in either layout."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from filled_store import (
    BLOCK,
    BLOCKS,
    CONFIG,
    GROUPS,
    LAYOUTS,
    TRUNK,
    as_given,
    draw,
    empty,
    history,
)
from jax.sharding import PartitionSpec

from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.cpu.listed import Listed
from glore_jax.sampling.store import Layer, Stacked


def arrays(tree):
    """Those of the only layer, without an axis in front for it where there is one."""
    return [np.asarray(x).reshape(x.shape[-5:]) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_padding_rows_of_a_prefill_go_nowhere(layout):
    k, v = draw(3, TRUNK, 2, 4), draw(3, TRUNK, 2, 4, seed=1)
    groups, shelves = jnp.array([1, GROUPS, GROUPS]), jnp.array([1, 0, 1])
    store = empty(layout).put_trunks(as_given(layout, (k, v)), groups, shelves)
    trunk_k, trunk_v = (x.reshape(x.shape[-4:]) for x in jax.tree.leaves(store.trunks))
    np.testing.assert_array_equal(trunk_k[1, :, :, TRUNK:], k[0].transpose(1, 2, 0))
    np.testing.assert_array_equal(trunk_v[1, :, TRUNK:], v[0].transpose(1, 0, 2))
    assert not trunk_k[0].any() and not trunk_v[0].any()  # the other group
    assert not trunk_k[1, :, :, :TRUNK].any() and not trunk_v[1, :, :TRUNK].any()  # and shelf


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_column_is_read_as_it_was_written(layout):
    store, _, (k, v), column = history(8, layout)
    for step in range(8):
        block = store.suffix[step // BLOCK]
        found = arrays(store.get_column(block, jnp.int32(step % BLOCK)))
        np.testing.assert_array_equal(found[0], k[step])
        np.testing.assert_array_equal(found[1], v[step])
    empty_column = store.get_column(store.suffix[1], jnp.int32(column % BLOCK))
    assert not any(x.any() for x in arrays(empty_column))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_block_becomes_the_last(layout):
    store = history(BLOCKS * BLOCK, layout)[0]
    old, new = store.suffix, store.rotated().suffix
    assert new == (old[1], old[2], old[0])  # the very same arrays


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_store_is_what_lies_before_a_block_and_that_block(layout):
    store = history(BLOCKS * BLOCK, layout)[0]
    assert store.columns == BLOCK
    for last in range(BLOCKS):
        read = store.before(last)
        assert read.suffix == store.suffix[:last]
        assert read.with_block(last, store.suffix[last]).suffix == store.suffix[: last + 1]
        assert store.with_block(last, store.suffix[last]) == store


def test_a_model_is_handed_what_it_takes_for_a_cache():
    """A list, where its layers are written out; one tree with an axis of layers, where not."""
    config = dataclasses.replace(CONFIG, num_layers=3)
    listed, stacked = empty(Listed, config).layers(), empty(Stacked, config).layers()
    assert [type(layer) for layer in listed] == [Layer] * 3 and type(stacked) is Layer
    assert {x.shape[0] for x in jax.tree.leaves(stacked)} == {3}
    assert len(stacked.suffix) == len(listed[0].suffix) == BLOCKS
    assert empty(Listed, config).unread() == [None] * 3 and empty(Stacked, config).unread() is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_and_heads_are_divided(layout):
    """Groups of all arrays over the rows of a mesh, heads over its tensor axis."""
    mesh = meshes.make_mesh(GROUPS, 1, 2, jax.devices()[: 2 * GROUPS])
    store = empty(layout)
    specs = store.specs(mesh)
    leading = () if layout is Listed else (None,)
    rows = meshes.RULES["rows"]
    trunk = PartitionSpec(*leading, rows, "tensor", None, None)
    block = PartitionSpec(*leading, rows, None, "tensor", None, None)
    assert set(jax.tree.leaves(specs.trunks)) == {trunk}
    assert set(jax.tree.leaves(specs.suffix)) == {block}
    assert jax.tree.structure(specs) == jax.tree.structure(store)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_prefill_may_fill_all_shelves_of_a_group(layout):
    k, v = draw(2, TRUNK, 2, 4), draw(2, TRUNK, 2, 4, seed=1)
    store = empty(layout).put_trunks(as_given(layout, (k, v)), jnp.array([0, 0]), jnp.array([1, 0]))
    trunk_k, trunk_v = (x.reshape(x.shape[-4:]) for x in jax.tree.leaves(store.trunks))
    np.testing.assert_array_equal(trunk_k[0], np.concatenate(k[::-1]).transpose(1, 2, 0))
    np.testing.assert_array_equal(trunk_v[0], np.concatenate(v[::-1]).transpose(1, 0, 2))
