"""What fits in a budget of bytes is what the engine then holds."""

import dataclasses

import jax
import pytest
from tiny_llama import CONFIG, model

from glore_jax.errors import UserError
from glore_jax.parallel.mesh import make_mesh
from glore_jax.sampling import budget
from glore_jax.sampling.engine import Engine

ROOM = budget.Capacity(groups=3, slots=4, shelves=2, max_trunk=24, max_new=40)


@pytest.mark.parametrize("listed", [False, True])
def test_bytes_are_those_of_the_store(listed):
    store = jax.eval_shape(
        lambda: store.empty(CONFIG, 3, 4, 2 * 24, *store.suffix_blocks(40), "bfloat16", listed)
    )
    assert ROOM.cache_bytes(CONFIG, "bfloat16") == sum(
        x.size * x.dtype.itemsize for x in jax.tree.leaves(store)
    )


def test_the_engine_holds_what_was_derived():
    held = ROOM.cache_bytes(CONFIG, "float32")
    found = budget.derive(held, ROOM, CONFIG, "float32", most_groups=100)
    assert found == ROOM  # the three groups, to the byte
    engine = Engine(
        model(),
        groups=found.groups,
        slots=found.slots,
        shelves=found.shelves,
        max_trunk=24,
        max_new=40,
    )
    cache = engine._fresh_state()["cache"]
    assert sum(x.nbytes for x in jax.tree.leaves(cache)) == held


def test_groups_follow_the_budget():
    one = budget.Capacity(1, 4, 2, 24, 40).cache_bytes(CONFIG, "float32")

    def groups(held, **more):
        return budget.derive(
            held, budget.Capacity(9, 4, 2, 24, 40, **more), CONFIG, "float32", most_groups=6
        ).groups

    assert [groups(b) for b in (one, 2 * one - 1, 2 * one, 99 * one)] == [1, 1, 2, 6]
    assert groups(one, rows=4) == 4 and groups(2 * one, rows=4) == 8  # bytes are a device's


def test_heads_are_divided_where_they_divide():
    whole = ROOM.cache_bytes(CONFIG, "float32")
    assert dataclasses.replace(ROOM, tensor=2).cache_bytes(CONFIG, "float32") == whole // 2
    assert (
        dataclasses.replace(ROOM, tensor=4).cache_bytes(CONFIG, "float32") == whole
    )  # 2 heads, 4 chips
    mesh = make_mesh(1, 1, 2, jax.devices()[:2])
    engine = Engine(
        model(),
        groups=3,
        slots=4,
        shelves=2,
        max_trunk=24,
        max_new=40,
        mesh=mesh,
    )
    shards = [
        x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(engine._fresh_state()["cache"])
    ]
    assert sum(shards) == whole // 2


def test_shelves_go_before_slots():
    def shape(slots, shelves):
        wanted = budget.Capacity(1, slots, shelves, 24, 40)
        found = budget.derive(
            wanted.cache_bytes(CONFIG, "float32"),
            budget.Capacity(1, 4, 2, 24, 40),
            CONFIG,
            "float32",
            1,
        )
        return found.slots, found.shelves

    assert [shape(4, 1), shape(2, 1), shape(1, 1)] == [(4, 1), (2, 1), (1, 1)]


def test_too_small_for_one_fork():
    least = budget.Capacity(1, 1, 1, 24, 40).cache_bytes(CONFIG, "float32")
    with pytest.raises(
        UserError,
        match=f"cache_bytes is {least - 1}, but one trunk of 24 tokens .* takes {least} bytes",
    ):
        budget.derive(least - 1, ROOM, CONFIG, "float32", 1)
