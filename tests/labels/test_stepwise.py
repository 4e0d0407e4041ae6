"""Step labels: which rollouts verify, the two schedules, propagation and evidence."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels.stepwise import SCHEDULES, LabelRule, StepLabeller, verifies
from glore_jax.tasks.base import Task

K = 4


class AnyTask(Task):
    name = "any"
    splits = ()

    def load(self, split):
        return []


TASK = AnyTask({})


SUM = ["2+3 = <<2+3=5>>5"]


@pytest.mark.parametrize(
    "prefix, continuation, plain, consistent",
    [
        (SUM, ["5*2 = <<5*2=10>>10", "#### 10"], True, True),
        # Solved afresh: the wrong 6 is not used.
        (["2+3 = <<2+3=6>>6"], ["2+3 = 5, 5*2 = <<5*2=10>>10", "#### 10"], True, False),
        # The 2 in 12 is no use of 2.
        (["1+1 = <<1+1=2>>2"], ["12-2.5 = 9.5, 9.5+0.5 = 10", "#### 10"], True, False),
        # Equal numbers, other texts.
        (["2+3 = <<2+3=5>>5.0"], ["$5.00*2 = 10", "#### 10"], True, True),
        (["5*2 = <<5*2=10>>10"], ["#### 10"], True, True),
        (["4*2 = <<4*2=8>>8"], ["#### 10"], True, False),
        # No result that could be used.
        (["Let us think."], ["#### 10"], True, True),
        ([], ["#### 10"], True, True),
        (SUM, ["5*2 = <<5*2=10>>10", "#### 11"], False, False),
        # Cut off before the answer.
        (SUM, ["5*2 = <<5*2=10>>10"], False, False),
        # The prefix's own answer proves nothing.
        (["#### 10"], [], False, False),
        (["#### 10"], ["So it is 10."], False, False),
    ],
)
def test_verifies(prefix, continuation, plain, consistent):
    assert verifies(TASK, prefix, continuation, "10", consistency=False) is plain
    assert verifies(TASK, prefix, continuation, "10", consistency=True) is consistent


def label(schedule, correct, hits, rng=None, propagate=True):
    """Labels of a draft whose cut c has hits[c - 1] of K; `rng` chooses the order of outcomes."""
    rule = LabelRule(K, schedule, propagate=propagate)
    labeller = StepLabeller(len(hits) + 1, correct, rule)
    tried, running = [], []
    while not labeller.done:
        while (cut := labeller.next_cut()) is not None:
            running.append(cut)
        tried += running[:1] if rng is None else []
        cut = running.pop(rng.randrange(len(running)) if rng else 0)
        if rng:
            tried.append(cut)
        labeller.record(cut, hits[cut - 1], K)
    assert not running and labeller.next_cut() is None
    return labeller.result(), tried


drafts = st.tuples(st.booleans(), st.lists(st.integers(0, K) | st.just(0), max_size=8))


@given(drafts, st.integers(0, 99))
def test_backward_labels_equal_full_labels(draft, seed):
    correct, hits = draft
    full, tried_full = label("full", correct, hits, random.Random(seed))
    back, tried_back = label("backward", correct, hits)

    assert full.labels == back.labels and full.first_error == back.first_error
    assert sorted(tried_full) == list(range(1, len(hits) + 1))
    last_hit = max((c for c in range(1, len(hits) + 1) if hits[c - 1]), default=0)
    assert tried_back == ([] if correct else list(range(len(hits), max(last_hit, 1) - 1, -1)))

    # From the definition: good if a rollout of this prefix or of a later one, or the draft itself,
    # succeeds.
    raw = [h > 0 for h in hits] + [correct]
    assert full.labels == [int(any(raw[i:])) for i in range(len(raw))]
    assert full.first_error == (full.labels.index(0) if 0 in full.labels else -1)
    assert full.hits == hits + [0] and full.tries == [K] * len(hits) + [0]


@given(drafts, st.sampled_from(SCHEDULES))
def test_evidence_and_sources(draft, schedule):
    correct, hits = draft
    labels, tried = label(schedule, correct, hits)
    assert labels.source[-1] == "graded" and labels.labels[-1] == int(correct)
    for i, (value, h, t, source) in enumerate(
        zip(labels.labels[:-1], labels.hits, labels.tries, labels.source)
    ):
        assert (h, t) == ((hits[i], K) if i + 1 in tried else (0, 0))
        assert source == ("propagated" if not h and (value or not t) else "rollout")
        assert source == "propagated" or t > 0  # a label that rollouts decided has rollouts


@given(drafts)
def test_bisect(draft):
    """Few prefixes; never better labels than `full`, and its own if no failure precedes a hit."""
    correct, hits = draft
    full, _ = label("full", correct, hits)
    half, tried = label("bisect", correct, hits)
    assert len(tried) == len(set(tried)) <= (0 if correct else len(hits).bit_length())
    assert all(a <= b for a, b in zip(half.labels, full.labels))
    monotone = [K if value else 0 for value in full.labels[:-1]]
    if not correct:
        assert label("bisect", correct, monotone)[0].labels == full.labels
    else:
        assert half.labels == full.labels


def test_bisect_may_disagree():
    assert label("full", False, [0, 0, 0, 2])[0].labels == [1, 1, 1, 1, 0]
    half, tried = label("bisect", False, [0, 0, 0, 2])
    assert half.labels == [0, 0, 0, 0, 0] and half.first_error == 0 and tried == [2, 1]
    assert half.source == ["rollout", "rollout", "propagated", "propagated", "graded"]
    assert half.tries == [K, K, 0, 0, 0]  # what was skipped has no rate


@given(drafts)
def test_propagation_is_idempotent(draft):
    """Labelling again from the labels, as if they were the rollouts, changes nothing."""
    correct, hits = draft
    first, _ = label("full", correct, hits)
    again, _ = label("full", correct, [K * value for value in first.labels[:-1]])
    assert again.labels == first.labels and sorted(first.labels, reverse=True) == first.labels


@given(drafts)
def test_without_propagation_a_step_is_as_good_as_its_own_rollouts(draft):
    correct, hits = draft
    labels, tried = label("full", correct, hits, propagate=False)
    assert labels.labels == [*(int(h > 0) for h in hits), int(correct)]
    assert sorted(tried) == list(range(1, len(hits) + 1))  # also those of a right draft
    assert labels.source == ["rollout"] * len(hits) + ["graded"]
    assert labels.first_error == (labels.labels.index(0) if 0 in labels.labels else -1)
    # Propagation only ever makes steps good.
    with_it, _ = label("full", correct, hits)
    assert all(a <= b for a, b in zip(labels.labels, with_it.labels))


def test_full_keeps_the_evidence_of_a_propagated_step():
    labels, _ = label("full", False, [0, 3, 0])
    assert labels.labels == [1, 1, 0, 0] and labels.first_error == 2
    assert labels.source == ["propagated", "rollout", "rollout", "graded"]
    assert labels.hits == [0, 3, 0, 0] and labels.tries == [K, K, K, 0]


def test_backward_waits_for_an_outcome_and_then_stops():
    labeller = StepLabeller(5, False, LabelRule(8))
    assert labeller.next_cut() == 4 and labeller.next_cut() is None and not labeller.done
    labeller.record(4, 0, 8)
    assert not labeller.done and labeller.next_cut() == 3
    labeller.record(3, 1, 2)  # rollouts stopped after the first hit
    assert labeller.done and labeller.next_cut() is None
    result = labeller.result()
    assert result.labels == [1, 1, 1, 0, 0] and result.first_error == 3
    assert result.tries == [0, 0, 2, 8, 0]
    assert result.source == ["propagated", "propagated", "rollout", "rollout", "graded"]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_needs_no_rollouts(schedule):
    for correct in (True, False):
        labeller = StepLabeller(1, correct, LabelRule(8, schedule))
        assert labeller.done and labeller.next_cut() is None
        assert labeller.result().labels == [int(correct)]
        assert labeller.result().first_error == (-1 if correct else 0)


def test_misuse_is_refused():
    labeller = StepLabeller(3, False, LabelRule(8, "full"))
    with pytest.raises(RuntimeError):
        labeller.result()
    with pytest.raises(ValueError, match="not running"):
        labeller.record(2, 0, 8)
    assert [labeller.next_cut(), labeller.next_cut(), labeller.next_cut()] == [2, 1, None]
    # (0, 7): a bad label needs all 8 failures.
    for hits, tries in [(0, 7), (3, 2), (-1, 8), (9, 9), (0, 0)]:
        with pytest.raises(ValueError, match="hits of"):
            labeller.record(2, hits, tries)
    labeller.record(2, 0, 8)
    with pytest.raises(ValueError, match="not running"):
        labeller.record(2, 0, 8)
    assert not labeller.done
    with pytest.raises(ValueError, match="num_steps"):
        StepLabeller(0, False, LabelRule(8))
    for args in [(0,), (8, "forward"), (8, "backward", True, False), (8, "bisect", True, False)]:
        with pytest.raises(ValueError):
            LabelRule(*args)
