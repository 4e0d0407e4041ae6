"""The rate is that of the last minutes, and what earlier starts did is none of it."""

import pytest

from glore_jax.progress.pace import Pace


def test_nothing_is_known_before_anything_is_counted(clock):
    pace = Pace(40, clock)
    clock.now = 10.0
    assert (pace.rate, pace.left(100), pace.count) == (None, None, 40)


def test_what_was_done_before_counts_for_the_whole_alone(clock):
    pace = Pace(40, clock)
    clock.now = 10.0
    pace.reach(60)
    assert pace.rate == 2.0 and pace.left(100) == 20.0
    assert (pace.count, pace.done, pace.seconds) == (60, 20, 10.0)


def test_time_goes_by_between_two_counts(clock):
    pace = Pace(0, clock)
    clock.now = 10.0
    pace.reach(10)
    clock.now = 15.0
    assert pace.rate == 1.0 and pace.left(30) == 15.0
    clock.now = 1000.0
    assert pace.left(30) == 0.0


def test_an_hour_at_another_rate_is_forgotten(clock):
    pace = Pace(0, clock)
    for count in range(1, 3601):  # one a second
        clock.now = float(count)
        pace.reach(count)
    for count in range(400):  # one every ten seconds
        clock.now += 10.0
        pace.reach(3601 + count)
    assert pace.rate == pytest.approx(0.1, rel=0.05)
    assert len(pace._samples) < 100
