"""ORM records: outcome labels, balance and caps, and independence of the order of the samples."""

import collections
import random

import all_at_once
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.labels import outcome
from glore_jax.labels.identity import identity_rank
from glore_jax.labels.outcome import GREEDY, drawn_first


def orm_records(samples, *args):
    return list(outcome.orm_records(all_at_once.groups(samples), *args))


def distinct_samples(samples, repeats=False):
    return {
        group[0]["question_id"]: outcome.distinct_samples(group, repeats)
        for group in all_at_once.groups(samples)
    }


def sample(question, index, text, correct):
    steps = [f"{text} {line}" for line in range(1 + text % 3)] + [f"#### {int(correct)}"]
    return dict(
        question_id=f"q{question}",
        sample_id=index,
        question="?",
        gold="1",
        steps=steps,
        correct=correct,
    )


@st.composite
def sample_sets(draw):
    """Samples of up to 3 questions; few texts, so that many are identical."""
    rows = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.booleans()), max_size=40)
    )
    return [sample(q, i, text, correct) for i, (q, text, correct) in enumerate(rows)]


def test_identity_rank():
    ranks = [identity_rank(7, f"q{q}", s) for q in range(40) for s in range(50)]
    assert len(set(ranks)) == 2000 and 0 <= min(ranks) and max(ranks) < 1
    counts = np.bincount((np.array(ranks) * 10).astype(int), minlength=10)
    assert counts.min() > 150 and counts.max() < 250  # uniform: 200 +- 13
    assert identity_rank(7, "q1", 2) == identity_rank(np.int64(7), "q1", np.int32(2))
    several = [(1, "2"), (12,), ("12",), (1, 2)]
    assert len({identity_rank(*ids) for ids in several}) == 4
    # The same on any machine and in any version: sha256 of the text [0, "q", 1].
    assert identity_rank(0, "q", 1) == 0.2710223531205862


@given(sample_sets(), st.booleans(), st.sampled_from([0, 2, 3, 6]), st.integers(0, 3), st.randoms())
def test_orm_records(samples, balanced, per_question, seed, shuffler):
    records = orm_records(samples, balanced, per_question, seed)
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    assert orm_records(shuffled, balanced, per_question, seed) == records

    chosen = collections.Counter((r["question_id"], r["correct"]) for r in records)
    total = collections.Counter(r["question_id"] for r in records)
    assert len({(r["question_id"], *r["steps"]) for r in records}) == len(records)
    for record in records:
        assert record["labels"] == [1.0 if record["correct"] else 0.0] * len(record["steps"])
        assert all(type(label) is float for label in record["labels"])
    for question_id, group in distinct_samples(samples).items():
        right = sum(s["correct"] for s in group)
        wrong = len(group) - right
        if balanced:
            side = min(right, wrong, per_question // 2 if per_question else len(group))
            assert chosen[question_id, True] == chosen[question_id, False] == side
        else:
            assert total[question_id] == min(len(group), per_question or len(group))


@given(sample_sets(), st.sets(st.integers(0, 39), max_size=5), st.booleans(), st.randoms())
def test_distinct_samples(samples, greedy, repeats, shuffler):
    """Per question one of each text, or all; by ascending id, but greedy drafts in front."""
    for row in samples:
        row["policy"] = GREEDY if row["sample_id"] in greedy else "student"
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    distinct = distinct_samples(shuffled, repeats)
    assert list(distinct) == sorted({s["question_id"] for s in samples})
    for question_id, group in distinct.items():
        of_question = [s for s in samples if s["question_id"] == question_id]
        in_order = sorted(of_question, key=lambda s: (s["policy"] != GREEDY, s["sample_id"]))
        first = {}
        for row in in_order:
            first.setdefault(tuple(row["steps"]), row)
        assert group == (in_order if repeats else list(first.values()))


@given(sample_sets(), st.booleans(), st.sampled_from([0, 2, 3]), st.booleans(), st.randoms())
def test_question_by_question_is_as_all_at_once(samples, balanced, cap, repeats, shuffler):
    shuffler.shuffle(samples)
    arguments = samples, balanced, cap, 1, repeats
    assert orm_records(*arguments) == all_at_once.orm_records(*arguments)


@given(st.sets(st.integers(0, 20), min_size=1), st.integers(0, 20), st.integers(0, 3))
def test_a_greedy_draft_is_drawn_first(ids, greedy, seed):
    """And the others in an order that has nothing to do with it."""
    rows = [sample(0, i, i, True) | {"policy": "student"} for i in sorted(ids)]
    without = sorted(rows, key=lambda s: drawn_first(seed, s))
    for row in rows:
        row["policy"] = GREEDY if row["sample_id"] == greedy else "student"
    drawn = sorted(rows, key=lambda s: drawn_first(seed, s))
    if greedy in ids:
        assert drawn[0]["sample_id"] == greedy
    others = [s for s in without if s["sample_id"] != greedy]
    assert [s for s in drawn if s["sample_id"] != greedy] == others


@given(sample_sets(), st.booleans(), st.integers(1, 4), st.integers(0, 3))
def test_a_smaller_draw_is_a_part_of_a_larger_one(samples, balanced, cap, seed):
    few, many = (orm_records(samples, balanced, size, seed) for size in (2 * cap, 2 * cap + 2))
    assert all(record in many for record in few)


def test_draws_depend_on_the_seed_and_not_on_other_questions():
    samples = [sample(q, i, i, i % 4 == 0) for q in range(2) for i in range(40)]
    first = orm_records(samples, False, 8, 0)
    assert first != orm_records(samples, False, 8, 1)
    alone = orm_records([s for s in samples if s["question_id"] == "q1"], False, 8, 0)
    assert alone == [r for r in first if r["question_id"] == "q1"]


def test_balanced_cap_counts_both_sides():
    samples = [sample(0, i, i, i < 10) for i in range(30)]
    sizes = {
        cap: [r["correct"] for r in orm_records(samples, True, cap, 0)] for cap in (0, 2, 5, 6, 100)
    }
    assert {cap: (c.count(True), c.count(False)) for cap, c in sizes.items()} == {
        0: (10, 10),
        2: (1, 1),
        5: (2, 2),
        6: (3, 3),
        100: (10, 10),
    }


def test_repeated_text_is_no_likelier_to_be_drawn():
    """49 copies of one solution and one other: each is drawn for about half of the questions."""
    samples = [sample(q, i, int(i == 49), True) for q in range(400) for i in range(50)]
    drawn = [r["sample_id"] for r in orm_records(samples, False, 1, 0)]
    assert len(drawn) == 400 and 150 < drawn.count(49) < 250


def test_samples_without_steps_are_left_out():
    empty = sample(0, 0, 0, False) | {"steps": []}
    assert orm_records([empty, sample(0, 1, 1, True)], True, 0, 0) == []
    assert len(orm_records([empty, sample(0, 1, 1, True)], False, 0, 0)) == 1


@pytest.mark.parametrize("balanced, per_question", [(True, 1), (True, -1), (False, -2)])
def test_impossible_caps_are_refused(balanced, per_question):
    with pytest.raises(UserError, match=f"orm.per_question = {per_question}"):
        orm_records([], balanced, per_question, 0)


def test_numpy_grades():
    rows = [sample(0, i, i, np.bool_(i < 2)) for i in random.Random(0).sample(range(5), 5)]
    assert [r["labels"][0] for r in orm_records(rows, False, 0, 0)] == [1.0, 1.0, 0.0, 0.0, 0.0]
