"""All processes save and stop after the same update, whichever of them wants to.

No JAX device takes part: processes are threads here, and the collective is a barrier.
"""

import threading

import pytest

from glore_jax.parallel.processes import DelayedMaximum
from glore_jax.training.saving import Action, SaveClock, SavePolicy

CONTINUE, SAVE, STOP = Action


class Ticks:
    """A clock that is set by hand."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def decide(updates, *, ticks=(), signals=None, exchange=None, enabled=True):
    """The actions of one process, up to the first STOP.

    `ticks`: after which updates a second has passed, which is time to save. `signals`: after which
    update the process is signalled.
    """
    time = Ticks()
    signalled = threading.Event()
    clock = SaveClock(0.5, enabled=enabled, now=time)
    policy = SavePolicy(updates, signalled.is_set, clock, exchange or DelayedMaximum())
    actions = []
    for done in range(1, updates + 1):
        time.seconds += done in ticks
        if done == signals:
            signalled.set()
        actions.append(policy.after_update(done))
        if actions[-1] == STOP:
            break
    return actions


# One process.


def test_alone_it_saves_and_stops_at_once():
    assert decide(6, ticks=(2, 3), signals=5) == [CONTINUE, SAVE, SAVE, CONTINUE, STOP]


def test_a_signal_matters_more_than_the_clock():
    assert decide(3, ticks=(2,), signals=2) == [CONTINUE, STOP]


def test_after_the_last_update_only_a_signal_saves():
    """The result is exported at once."""
    assert decide(3, ticks=(3,)) == [CONTINUE] * 3
    assert decide(3, ticks=(3,), signals=3) == [CONTINUE, CONTINUE, STOP]


@pytest.mark.parametrize(
    "readings, due",
    [
        ([1, 2, 3], [False, False, True]),  # more than two seconds
        ([3, 4, 5, 6], [True, False, False, True]),  # from the last time it was due
    ],
)
def test_the_clock_is_due_once_every_so_many_seconds(readings, due):
    time = Ticks()
    clock = SaveClock(2.0, enabled=True, now=time)
    found = []
    for seconds in readings:
        time.seconds = float(seconds)
        found.append(clock.is_due())
    assert found == due


# Several.


class Collective:
    """The maximum over `count` threads; each of them has to come."""

    def __init__(self, count):
        self.barrier = threading.Barrier(count, timeout=60)
        self.numbers = [0] * count

    def maximum_of(self, index):
        def maximum(number):
            self.numbers[index] = number
            self.barrier.wait()  # all have written
            largest = max(self.numbers)
            self.barrier.wait()  # all have read
            return largest

        return maximum


def decide_together(updates, *each):
    """The actions of several processes, of which process 0 alone has a clock that counts."""
    collective = Collective(len(each))
    found = [None] * len(each)

    def run(index, wants):
        exchange = DelayedMaximum(collective.maximum_of(index))
        found[index] = decide(updates, exchange=exchange, enabled=index == 0, **wants)

    threads = [threading.Thread(target=run, args=item) for item in enumerate(each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


NOTHING = {}
DUE = {"ticks": (2,)}
SIGNALLED = {"signals": 2}


@pytest.mark.parametrize(
    "each, actions",
    [
        ([NOTHING, NOTHING], [CONTINUE] * 5),
        ([DUE, NOTHING], [CONTINUE, CONTINUE, SAVE, CONTINUE, CONTINUE]),
        ([NOTHING, DUE], [CONTINUE] * 5),  # not its clock
        ([SIGNALLED, NOTHING, NOTHING], [CONTINUE, CONTINUE, STOP]),
        ([NOTHING, NOTHING, SIGNALLED], [CONTINUE, CONTINUE, STOP]),
        ([DUE, {"signals": 3}], [CONTINUE, CONTINUE, SAVE, STOP]),  # the picture in `saving.py`
        ([{"signals": 3}, SIGNALLED], [CONTINUE, CONTINUE, STOP]),  # the first signal counts
    ],
)
def test_all_do_the_largest_of_what_is_wanted_one_update_late(each, actions):
    assert decide_together(5, *each) == [actions] * len(each)


@pytest.mark.parametrize(
    "each, last_two",
    [
        ([NOTHING, {"signals": 4}], [CONTINUE, STOP]),  # wanted before the last update
        ([NOTHING, {"signals": 5}], [CONTINUE, STOP]),  # and at it: not one update late
        ([{"ticks": (4,)}, NOTHING], [CONTINUE, SAVE]),  # so does the clock, one update late
        ([{"ticks": (5,)}, NOTHING], [CONTINUE, CONTINUE]),  # the export serves as the save
    ],
)
def test_the_last_update_waits_for_what_is_wanted(each, last_two):
    before = [CONTINUE] * 3
    assert decide_together(5, *each) == [before + last_two] * 2


def test_a_run_of_one_update_stops_too():
    assert decide_together(1, NOTHING, {"signals": 1}) == [[STOP]] * 2
