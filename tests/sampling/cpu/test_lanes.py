"""Engines side by side write what one writes, and end together."""

import dataclasses
import itertools
import threading

import pytest
from tiny_llama import CONFIG, Characters, fresh

from glore_jax.models.model import Model
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.cpu.lanes import Lanes, _Shared
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling

DRAWN = Sampling(1.0, max_new=12)


@pytest.fixture(scope="module")
def policy():
    return fresh()


def engines(policy, count, shelves=1):
    model = Model(*policy, CONFIG, Characters())
    capacity = Capacity(groups=2, slots=2, shelves=shelves, max_trunk=16, max_new=12)
    return [Engine(model, capacity, round_steps=5) for _ in range(count)]


def jobs(count=9):
    return [
        Job(f"q{i}", [0, *range(3, 6 + i % 7)], [Fork(3, rollout=r) for r in range(5)])
        for i in range(count)
    ]


def texts(found):
    return {(j.question_id, f): c.tokens for j in found for f, c in j.completions.items()}


def test_lanes_share_the_jobs_and_write_what_one_engine_writes(policy):
    lanes, (one,) = Lanes(engines(policy, 2)), engines(policy, 1)
    assert texts(lanes.run(jobs(), DRAWN)) == texts(one.run(jobs(), DRAWN))
    counts = [e.stats.forks for e in lanes.engines]
    assert sum(counts) == lanes.stats.forks == 45 and min(counts) > 0
    assert lanes.stats.tokens == one.stats.tokens
    assert lanes.stats.seconds == max(e.stats.seconds for e in lanes.engines)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 9])
def test_the_last_jobs_are_divided(count):
    """Whoever comes first takes no more than its share of what is left."""
    shared = _Shared(jobs(count), lanes=2, ahead=8)
    first, second = shared.of(0), shared.of(1)
    taken = list(itertools.takewhile(lambda job: job is not None, itertools.islice(first, count)))
    others = list(itertools.takewhile(lambda job: job is not None, second))
    assert len(taken) + len(others) == count
    assert len(taken) == -(-count // 2) if count < 8 else len(taken) >= count // 2
    assert next(first, "nothing") == next(second, "nothing") == "nothing"


def test_who_is_done_takes_what_another_has_not_begun():
    shared = _Shared(jobs(4), lanes=2, ahead=8)
    first = shared.of(0)
    assert next(first) and next(first) and next(first) is None
    shared.complete(0)
    assert next(first) and next(first) is None  # one of three is the other's


def test_few_trunks_with_many_forks_keep_all_slots_busy(policy):
    """As many slots as forks, two trunks a lane: no lane takes the other's, no group is empty."""
    lanes = Lanes(engines(policy, 2, shelves=2))
    few = [Job(f"q{i}", [0, 4, 5], [Fork(3, rollout=r) for r in range(8)]) for i in range(4)]
    fixed = dataclasses.replace(DRAWN, max_new=4)
    list(lanes.run(few, fixed))
    assert [engine.stats.forks for engine in lanes.engines] == [16, 16]


def test_an_error_in_one_lane_ends_all(policy):
    class Broken(Job):
        def done(self, fork, completion):
            raise RuntimeError("cannot grade")

    with pytest.raises(RuntimeError, match="cannot grade"):
        with_broken = [*jobs(3), Broken("b", [0, 3], [Fork(2)]), *jobs(50)]
        list(Lanes(engines(policy, 2)).run(with_broken, DRAWN))
    assert not [t for t in threading.enumerate() if t.name.startswith("lane")]


def test_who_stops_listening_stops_the_lanes(policy):
    drawn = iter(endless := jobs(2000))
    run = Lanes(engines(policy, 2)).run(drawn, DRAWN)
    assert next(run) in endless
    run.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("lane")]
    assert next(drawn, None) is not None  # most were never begun


def test_rounds_of_all_lanes_are_reported(policy):
    seen = []
    lanes = Lanes(engines(policy, 2))
    list(lanes.run(jobs(), DRAWN, lambda stats: seen.append(stats.rounds)))
    assert len(seen) == lanes.stats.rounds and max(seen) == lanes.stats.rounds
