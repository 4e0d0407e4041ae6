"""Shelves and slots are given, emptied and waited for as told, without any device."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.jobs import Fork, Job
from glore_jax.sampling.scheduler import Scheduler
from glore_jax.sampling.state import Look
from glore_jax.sampling.tokens import Sampling

CAPACITY = Capacity(groups=2, slots=2, shelves=2, max_trunk=8, max_new=6)
FOUR = dataclasses.replace(CAPACITY, groups=4)


def text_of(ids):
    return "".join(map(chr, ids))


def scheduler(jobs, stop=(), capacity=CAPACITY, max_positions=100):
    sampling = Sampling(max_new=6, stop=stop)
    return Scheduler(capacity, iter(jobs), sampling, decode=text_of, max_positions=max_positions)


def job(name, forks=1, length=4):
    return Job(name, list(range(length)), [Fork(length, sample=i) for i in range(forks)])


def look(live=(), ended=(), texts=None, capacity=CAPACITY):
    """Slots (group, number) that are live or at end-of-sequence; what they have written."""
    shape = (capacity.groups, capacity.slots)
    seen = Look(
        live=np.zeros(shape, bool),
        age=np.zeros(shape, np.int32),
        ended=np.zeros(shape, bool),
        logprob=np.zeros(shape, np.float32),
        out=np.zeros((*shape, CAPACITY.max_new), np.int32),
    )
    for slot in live:
        seen.live[slot] = True
    for slot, text in (texts or {}).items():
        seen.out[slot][: len(text)] = [ord(c) for c in text]
        seen.age[slot] = len(text)
    for slot in ended:
        seen.ended[slot] = True
        seen.age[slot] += 1
    return seen


def seated(s):
    return {slot: (p.job.question_id, fork.sample) for slot, (p, fork) in s.seated.items()}


def test_jobs_are_spread_over_the_groups_first():
    s = scheduler([job(name) for name in "abcde"])
    assert s.fill_shelves() == [] and s.jobs_may_come
    names = [[placement.job.question_id for placement in row] for row in s.shelves]
    assert names == [["a", "c"], ["b", "d"]]


def test_a_trunk_comes_to_slots_that_no_job_fills():
    s = scheduler([job("a", 7), job("b", 1)], capacity=FOUR)
    s.fill_shelves()
    lain = [[p and p.job.question_id for p in row] for row in s.shelves]
    assert lain == [["a", None], ["b", "a"], ["a", None], ["a", None]]
    s.admissions()
    assert len(s.seated) == 8 and not s.forks_wait
    assert sorted(seated(s).values()) == [*(("a", i) for i in range(7)), ("b", 0)]
    read = [group for batch in s.prefill_batches() for group in batch.groups if group < 4]
    assert sorted(read) == [0, 1, 1, 2, 3]

    assert s.fill_shelves() == [] and list(s.prefill_batches()) == []  # none waits, none moves


def test_a_trunk_is_seen_on_the_shelf_on_which_it_lies_in_a_forks_group():
    s = scheduler([job("a", 3), job("b", 1)])
    s.fill_shelves()
    new = s.admissions()
    assert seated(s)[1, 1] == ("a", 2)
    assert new.start.tolist() == [[0, 0], [0, 8]]


def test_a_job_that_lies_in_several_groups_leaves_all():
    a = job("a", 4)
    s = scheduler([a])
    s.fill_shelves()
    s.admissions()
    assert s.settle(s.grade(s.harvest(look(live=[(1, 1)])))) == []
    assert s.settle(s.grade(s.harvest(look()))) == [a]
    assert s.shelves == [[None, None], [None, None]]


def test_jobs_for_other_engines_are_waited_for():
    s = scheduler([job("a"), None, job("b")])
    assert s.fill_shelves() == [] and s.jobs_may_come
    assert [p.job.question_id for row in s.shelves for p in row if p] == ["a"]
    assert s.fill_shelves() == [] and not s.jobs_may_come
    assert {p.job.question_id for row in s.shelves for p in row if p} == {"a", "b"}


def test_a_trunk_whose_seats_another_has_taken_comes_to_others():
    left, many, one = job("left"), job("many"), job("one")
    s = scheduler([left, many, one])
    s.fill_shelves()
    s.admissions()
    finished = s.harvest(look())
    many.waiting.extend(Fork(4, rollout=i) for i in range(1, 4))
    one.waiting.append(Fork(4, rollout=1))
    assert s.settle(s.grade(finished)) == [left]
    s.fill_shelves()  # `many` comes to group 0, before `one`; so `one` to group 1
    s.admissions()
    assert len(s.seated) == 4 and not s.forks_wait


@hypothesis.given(st.data())
def test_no_slot_is_empty_while_a_fork_waits_for_one(data):
    """Whatever comes, in any number of groups: a free shelf is all that it takes."""
    capacity = dataclasses.replace(FOUR, groups=data.draw(st.integers(1, 4)))
    counts = data.draw(st.lists(st.integers(1, 9), max_size=6))
    jobs = [job(f"q{i}", forks) for i, forks in enumerate(counts)]
    s = scheduler(jobs, capacity=capacity)
    complete = []
    for _ in range(100):
        complete += s.fill_shelves()
        s.admissions()
        for group, row in enumerate(s.shelves):
            is_full = all((group, number) in s.seated for number in range(capacity.slots))
            assert is_full or not s.forks_wait or None not in row
        live = [slot for slot in s.seated if data.draw(st.booleans())]
        complete += s.settle(s.grade(s.harvest(look(live=live, capacity=capacity))))
    assert sorted(j.question_id for j in complete) == [j.question_id for j in jobs]
    assert [len(j.completions) for j in jobs] == counts
    assert not s.seated and not any(p for row in s.shelves for p in row)


def test_jobs_that_want_nothing_are_complete_at_once():
    s = scheduler([job("a", 0), job("b"), job("c", 0)])
    assert [j.question_id for j in s.fill_shelves()] == ["a", "c"]
    assert not s.jobs_may_come and s.forks_wait


def test_a_trunk_that_is_too_long():
    with pytest.raises(UserError, match="question a has 9 tokens, more than the 8 planned for"):
        scheduler([job("a", length=9)]).fill_shelves()


def test_trunks_are_read_once_in_batches_that_padding_fills():
    s = scheduler([job("a", length=3), job("b", length=5), job("c", length=8)])
    s.fill_shelves()
    assert CAPACITY.prefill_rows == 2
    first, second = s.prefill_batches()
    assert first.lengths.tolist() == [3, 5] and second.lengths.tolist() == [8, 0]
    assert first.trunks[0].tolist() == [0, 1, 2, 0, 0, 0, 0, 0]
    assert (first.groups.tolist(), first.shelves.tolist()) == ([0, 1], [0, 0])
    assert (second.groups.tolist(), second.shelves.tolist()) == ([0, 2], [1, 0])  # 2: nowhere
    assert list(s.prefill_batches()) == []


def test_forks_of_the_next_trunk_take_the_slots_that_are_left():
    s = scheduler([job("a", 1), job("b", 3), job("c", 4)], max_positions=9)
    s.fill_shelves()
    new = s.admissions()
    assert seated(s) == {
        (0, 0): ("a", 0),
        (0, 1): ("c", 0),
        (1, 0): ("b", 0),
        (1, 1): ("b", 1),
    }
    assert new.fresh.all() and not new.stop.any()
    assert new.token.tolist() == [[3, 3], [3, 3]]  # the last of the prefix, fed again
    assert new.cut.tolist() == [[3, 3], [3, 3]]
    assert new.start.tolist() == [[0, 8], [0, 0]]  # c lies on the second shelf
    assert new.limit.tolist() == [[5, 5], [5, 5]]  # what the context leaves
    assert s.forks_wait and not s.admissions().fresh.any()


def test_a_job_leaves_when_its_last_fork_is_settled():
    class Again(Job):
        def done(self, fork, completion):
            return [Fork(1)] if fork.at > 1 else []

    a = Again("a", [7, 8], [Fork(2)])
    s = scheduler([a, job("b")])
    s.fill_shelves()
    s.admissions()
    finished = s.harvest(look(live=[(1, 0)], ended=[(0, 0)], texts={(0, 0): "xy"}))
    graded = s.grade(finished)
    assert a.completions[Fork(2)].text == "xy" and a.completions[Fork(2)].ended
    assert s.settle(graded) == [] and list(a.waiting) == [Fork(1)]  # it asked for another
    s.admissions()
    graded = s.grade(s.harvest(look(live=[(1, 0)], texts={(0, 0): "z"})))
    assert not a.completions[Fork(1)].ended
    assert s.settle(graded) == [a] and s.shelves[0] == [None, None]
    assert seated(s) == {(1, 0): ("b", 0)}


def test_a_stop_text_ends_a_fork_that_still_writes():
    s = scheduler([job("a"), job("b")], stop=("!", "??"))
    s.fill_shelves()
    s.admissions()
    both = [(0, 0), (1, 0)]
    assert s.harvest(look(live=both, texts={(0, 0): "no", (1, 0): "?"})) == []
    (finished,) = s.harvest(look(live=both, texts={(0, 0): "no !", (1, 0): "?x"}))
    assert (finished.text, finished.ended, text_of(finished.tokens)) == ("no ", True, "no !")
    new = s.admissions()
    assert np.argwhere(new.stop).tolist() == [[0, 0]]
    assert not s.admissions().stop.any()  # said once


def test_slots_starve_while_their_group_waits_for_grades():
    s = scheduler([job("a", 2), job("b", 2)])
    s.fill_shelves()
    s.admissions()
    assert not s.starving(0.0)
    finished = s.harvest(look(live=[(0, 1), (1, 0), (1, 1)]))
    assert len(finished) == 1 and s.starving(0.2) and not s.starving(0.25)  # one slot of four
    finished[0].placement.job.waiting.append(Fork(1))
    assert not s.starving(0.0)  # there is somebody to take it
