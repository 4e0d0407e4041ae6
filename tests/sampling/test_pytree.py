"""Classes of state: taken apart by JAX, never written into, and checked where it is useful."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from filled_store import BLOCK, GROUPS, SLOTS

from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.state import Slots
from glore_jax.sampling.store import Block

CAPACITY = Capacity(GROUPS, SLOTS, shelves=1, max_trunk=4, max_new=7)


def test_fields_are_the_leaves_in_the_order_written():
    slots = Slots.empty(CAPACITY)
    paths, _ = jax.tree_util.tree_flatten_with_path(slots)
    names = [jax.tree_util.keystr(path, simple=True) for path, _ in paths]
    assert names == [field.name for field in dataclasses.fields(Slots)]


def test_what_stands_in_for_arrays_may_stand_in_them():
    slots = Slots.empty(CAPACITY)
    assert jax.tree.map(str, jax.tree.map(lambda x: x.dtype, slots)).live == "bool"
    assert jax.eval_shape(lambda s: s, slots).out.shape == (GROUPS, SLOTS, 7)


def test_nothing_is_written_into_them():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Slots.empty(CAPACITY).age = jnp.ones((GROUPS, SLOTS), jnp.int32)


def test_their_methods_are_checked():
    block = Block.empty((GROUPS, SLOTS, 2), BLOCK, 4, jnp.float32)
    with pytest.raises(TypeError, match="parameter 'column'"):
        block.get(jnp.zeros(3, jnp.int32))
