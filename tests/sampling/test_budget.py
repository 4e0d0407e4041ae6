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


# What a device has left.


def test_an_engine_fills_what_is_left(monkeypatch):
    """Weights, a reserve, what programs take and the store are together what the device has."""
    policy = model()
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    weights = sum(x.nbytes for x in jax.tree.leaves(policy.params))
    monkeypatch.setattr(budget, "_live_bytes", lambda device: 0)
    for limit in (2 * weights + 2**20, 2 * weights + 2**24):
        monkeypatch.setattr(budget, "memory_limit", lambda device, limit=limit: limit)
        room = budget.room(policy, mesh)
        assert 0 < room < limit - weights
        found = budget.fill(room, WANTED, CONFIG, "float32", most_groups=10**6)

        def taken(groups, found=found):
            size = dataclasses.replace(found, groups=groups)
            return size.cache_bytes(CONFIG, "float32") + size.working_bytes(CONFIG, "float32")

        assert taken(found.groups) <= room
        is_most = found.groups * found.slots >= budget._MOST_FORKS
        assert is_most or taken(found.groups + 1) > room


def test_room_counts_what_else_lies_there(monkeypatch):
    policy = model().on(make_mesh(1, 1, 1, jax.devices()[:1]))
    mesh = make_mesh(1, 1, 1, jax.devices()[:1])
    monkeypatch.setattr(budget, "memory_limit", lambda device: 2**34)
    before = budget.room(policy, mesh)
    other = jax.device_put(jax.numpy.zeros(2**20, "uint8"), jax.devices()[0])
    assert budget.room(policy, mesh) == before - other.nbytes
    del other
    assert budget.room(policy, mesh) == before


def test_a_cpu_states_no_memory():
    assert budget.room(model(), make_mesh(1, 1, 1, jax.devices()[:1])) is None


def test_no_more_groups_than_trunks_and_than_are_worth_while():
    def forks(most_groups, **more):
        wanted = Capacity(9, 4, 2, 24, 40, **more)
        found = budget.fill(2**40, wanted, CONFIG, "float32", most_groups)
        return found.groups * found.slots

    assert forks(6) == 24
    assert forks(10**6) == budget._MOST_FORKS and forks(10**6, rows=4) == 4 * budget._MOST_FORKS


def test_no_room_for_a_fork():
    with pytest.raises(budget.NoRoom, match="0.00 GiB of a device are left beside the model"):
        budget.fill(1000, WANTED, CONFIG, "float32", 1)


@pytest.mark.parametrize("max_new, expected", [(40, (3, 32)), (300, (11, 32)), (512, (9, 64))])
def test_blocks_waste_little(max_new, expected):
    blocks, columns = budget.suffix_blocks(max_new)
    assert (blocks, columns) == expected
    assert max_new + columns - 1 <= blocks * columns <= max_new + 2 * columns
