"""Ranks depend on the ids alone."""

import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels.identity import identity_rank, subset

an_id = st.one_of(st.integers(), st.text())


@given(ids=st.lists(an_id, max_size=4), more=st.lists(an_id, max_size=4))
def test_a_rank_is_a_share_and_tells_ids_apart(ids, more):
    assert 0 <= identity_rank(*ids) < 1
    assert (identity_rank(*ids) == identity_rank(*more)) == (ids == more)


def test_where_one_id_ends_matters():
    ranks = [
        identity_rank(*ids)
        for ids in [("a", "bc"), ("ab", "c"), ("abc",), ("abc", ""), (1, 2), (12,), (1, "2")]
    ]
    assert len(set(ranks)) == len(ranks)


def test_numpy_integers_count_as_integers():
    rank = identity_rank(np.int64(3), np.int32(-2))
    assert rank == identity_rank(3, -2) != identity_rank("3", -2)


def test_ranks_are_uniform():
    names = [f"gsm8k-train-{i:05d}" for i in range(1000)]
    ranks = [identity_rank(0, name, sample) for name in names for sample in range(4)]
    counts = collections.Counter(int(10 * r) for r in ranks)
    assert [counts[i] for i in range(10)] == pytest.approx([400] * 10, abs=100)
    assert abs(np.corrcoef(ranks[:-1], ranks[1:])[0, 1]) < 0.08


def test_subsets_are_drawn_by_identity():
    names = [f"q{i}" for i in range(200)]
    drawn = subset(names, 50, str, 0, "one purpose")
    assert len(drawn) == 50 and drawn == [name for name in names if name in set(drawn)]
    assert set(subset(names[::-1], 50, str, 0, "one purpose")) == set(drawn)
    # Questions that are gone make room; nothing else moves.
    assert set(drawn) - {"q0"} <= set(subset(names[1:], 50, str, 0, "one purpose"))
    other = subset(names, 50, str, 0, "another purpose")
    assert 3 <= len(set(drawn) & set(other)) <= 23  # 12.5 are expected, with a deviation of 2.7
    assert subset(names, 0, str, 0) == subset(names, 500, str, 0) == names


def test_golden_values():
    """A change of these changes every subset that is chosen by rank."""
    found = [identity_rank(0, "chains-train-00000", 3), identity_rank("ü", -1)]
    assert found == pytest.approx([0.0935260814501444, 0.8792849188184924], abs=1e-15)
