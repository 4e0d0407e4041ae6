"""What fits in a budget of bytes is what the engine then holds."""

import dataclasses

import jax
import pytest
from tiny_llama import CONFIG, model

from glore_jax.errors import UserError
from glore_jax.parallel.mesh import make_mesh
from glore_jax.sampling import budget
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.cpu.listed import Listed
from glore_jax.sampling.engine import Engine
from glore_jax.sampling.store import Stacked

WANTED = Capacity(groups=3, slots=4, shelves=2, max_trunk=24, max_new=40)


@pytest.mark.parametrize("layout", [Stacked, Listed])
def test_bytes_are_those_of_the_store(layout):
    store = jax.eval_shape(lambda: layout.empty(CONFIG, WANTED, "bfloat16"))
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(store))
    assert WANTED.cache_bytes(CONFIG, "bfloat16") == held


def test_the_engine_holds_what_was_derived():
    held = WANTED.cache_bytes(CONFIG, "float32")
    found = budget.derive(held, WANTED, CONFIG, "float32", most_groups=100)
    assert found == WANTED  # the three groups, to the byte
    store = Engine(model(), found).fresh_state().store
    assert sum(x.nbytes for x in jax.tree.leaves(store)) == held


def test_groups_follow_the_budget():
    one = Capacity(1, 4, 2, 24, 40).cache_bytes(CONFIG, "float32")

    def groups(held, **more):
        wanted = Capacity(9, 4, 2, 24, 40, **more)
        return budget.derive(held, wanted, CONFIG, "float32", most_groups=6).groups

    assert [groups(b) for b in (one, 2 * one - 1, 2 * one, 99 * one)] == [1, 1, 2, 6]
    assert groups(one, rows=4) == 4 and groups(2 * one, rows=4) == 8  # bytes are a device's


def test_heads_are_divided_where_they_divide():
    whole = WANTED.cache_bytes(CONFIG, "float32")
    assert dataclasses.replace(WANTED, tensor=2).cache_bytes(CONFIG, "float32") == whole // 2
    # Two heads cannot be divided over four chips.
    assert dataclasses.replace(WANTED, tensor=4).cache_bytes(CONFIG, "float32") == whole
    mesh = make_mesh(1, 1, 2, jax.devices()[:2])
    store = Engine(model(), WANTED, mesh=mesh).fresh_state().store
    shards = [x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(store)]
    assert sum(shards) == whole // 2


def test_a_mesh_divides_groups_and_heads():
    mesh = make_mesh(2, 2, 2)
    expected = dataclasses.replace(WANTED, groups=4, rows=4, tensor=2)  # three groups are not
    assert WANTED.on(mesh) == expected == Engine(model(), WANTED, mesh=mesh).capacity


def test_shelves_go_before_slots():
    def shape(slots, shelves):
        held = Capacity(1, slots, shelves, 24, 40).cache_bytes(CONFIG, "float32")
        found = budget.derive(held, Capacity(1, 4, 2, 24, 40), CONFIG, "float32", 1)
        return found.slots, found.shelves

    assert [shape(4, 1), shape(2, 1), shape(1, 1)] == [(4, 1), (2, 1), (1, 1)]


def test_too_small_for_one_fork():
    least = Capacity(1, 1, 1, 24, 40).cache_bytes(CONFIG, "float32")
    message = f"cache_bytes is {least - 1}, but one trunk of 24 tokens .* takes {least} bytes"
    with pytest.raises(UserError, match=message):
        budget.derive(least - 1, WANTED, CONFIG, "float32", 1)
