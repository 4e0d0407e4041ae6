"""The suffix clock says what a plain simulation of columns finds out by looking at all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.clock import SuffixClock

CAPACITY = Capacity(groups=2, slots=2, shelves=1, max_trunk=8, max_new=100)
BLOCK = CAPACITY.block  # 32
SLOTS = list(np.ndindex(2, 2))


def clock_at(column, ages):
    clock = SuffixClock(CAPACITY)
    clock.advance(column, np.array(ages).reshape(2, 2))
    return clock


def test_a_new_clock():
    clock = SuffixClock(CAPACITY)
    assert (clock.column, clock.blocks_in_use, clock.room(8)) == (0, 1, 8)
    assert clock.age.shape == (2, 2) and not clock.age.any()


@pytest.mark.parametrize(
    "column, blocks, room", [(0, 1, 8), (24, 1, 8), (25, 1, 7), (31, 1, 1), (32, 2, 8), (95, 3, 1)]
)
def test_a_round_stays_in_one_block(column, blocks, room):
    clock = clock_at(column, [0] * 4)
    assert (clock.blocks_in_use, clock.room(8)) == (blocks, room)


def test_only_slots_that_are_taken_count():
    clock = clock_at(40, [40, 3, 9, 0])
    assert clock.oldest(SLOTS) == 40 and clock.oldest(SLOTS[1:]) == 9 and clock.oldest([]) == 0
    assert not clock.may_rotate(SLOTS) and not clock.may_rotate([(1, 0)])
    assert clock.may_rotate([(0, 1)]) and clock.may_rotate([])


def test_a_block_rotates_when_the_oldest_has_left_it():
    """Of age 8 at column 40: it sees columns 32 to 39."""
    assert not clock_at(39, [8, 0, 0, 0]).may_rotate(SLOTS)
    clock = clock_at(40, [8, 0, 0, 0])
    assert clock.may_rotate(SLOTS)
    clock.rotate()
    assert (clock.column, clock.blocks_in_use, clock.oldest(SLOTS)) == (8, 1, 8)
    assert not clock.may_rotate(SLOTS)


def test_who_begins_is_young():
    clock = clock_at(40, [40, 3, 9, 0])
    clock.begin(np.array([[True, False], [False, True]]))
    assert clock.age.tolist() == [[0, 3], [9, 0]] and clock.oldest(SLOTS) == 9


class Columns:
    """Every column by the number of its token, in blocks; each slot knows which ones it wrote."""

    def __init__(self):
        self.blocks = [[None] * BLOCK for _ in range(CAPACITY.blocks)]
        self.tokens = 0
        self.seen = {slot: [] for slot in SLOTS}

    def write(self, live, last):
        """A token of every slot that is `live` into the block `last`, which must have room."""
        at = self.blocks[last].index(None)
        self.blocks[last][at] = self.tokens
        for slot in live:
            self.seen[slot].append(self.tokens)
        self.tokens += 1

    def rotate(self):
        self.blocks = [*self.blocks[1:], [None] * BLOCK]


ROUND = st.tuples(
    st.lists(st.sampled_from(SLOTS), max_size=4, unique=True),  # slots whose forks are replaced
    st.lists(st.sampled_from(SLOTS), max_size=4, unique=True),  # slots that are then emptied
    st.integers(1, 16),  # round_steps
    st.floats(0, 1),  # of these, the share that the device runs
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROUND, max_size=60))
def test_as_a_plain_simulation(rounds):
    clock, columns, seated = SuffixClock(CAPACITY), Columns(), set()
    for replaced, emptied, round_steps, share in rounds:
        fresh = np.zeros((2, 2), bool)
        # A fork ends at the latest after `max_new` tokens.
        at_the_end = [slot for slot in seated if len(columns.seen[slot]) == CAPACITY.max_new]
        for slot in {*replaced, *at_the_end}:
            columns.seen[slot] = []
            fresh[slot] = True
            seated.add(slot)
        seated -= set(emptied)
        clock.begin(fresh)

        in_first = {t for t in columns.blocks[0] if t is not None}
        full = None not in columns.blocks[0]
        unseen = not any(in_first & set(columns.seen[slot]) for slot in seated)
        assert clock.may_rotate(seated) == (full and unseen)
        while clock.may_rotate(seated):
            columns.rotate()
            clock.rotate()

        assert clock.oldest(seated) == max((len(columns.seen[s]) for s in seated), default=0)
        last = clock.blocks_in_use - 1
        assert last < CAPACITY.blocks
        in_use = columns.blocks[: last + 1]
        for slot in seated:  # whatever a slot sees is read
            assert set(columns.seen[slot]) <= {t for block in in_use for t in block}
        for block in columns.blocks[last + 1 :]:  # and nothing else
            assert set(block) == {None}

        room = clock.room(round_steps)
        assert 1 <= room <= round_steps
        most = min([room, *(CAPACITY.max_new - len(columns.seen[slot]) for slot in seated)])
        steps = max(0, int(share * most))
        for _ in range(steps):
            columns.write(seated, last)
        age = np.array([[len(columns.seen[g, f]) for f in range(2)] for g in range(2)])
        clock.advance(steps, age)
        assert clock.column == sum(t is not None for block in columns.blocks for t in block)
