"""Balance by prefix length."""

import all_at_once
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.labels import balance as balancing
from glore_jax.labels.balance import StepLabelTable, balance_counts, label_rates, ranks_of


def balance(records, seed):
    """The weights of the labels of each record."""
    kept = balancing.balance(StepLabelTable.of(records), ranks_of(records, seed))
    ends = np.cumsum([len(record["labels"]) for record in records])
    return [piece.astype(float).tolist() for piece in np.split(kept, ends)[:-1]]


@st.composite
def labelled(draw):
    shapes = draw(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 6)), max_size=30))
    return [
        {
            "question_id": f"q{i % 5}",
            "sample_id": i,
            "labels": [1] * min(good, n) + [0] * (n - min(good, n)),
        }
        for i, (good, n) in enumerate(shapes)
    ]


@given(labelled(), st.integers(0, 3), st.randoms())
def test_balance(records, seed, shuffler):
    weights = balance(records, seed)
    assert [len(w) for w in weights] == [len(r["labels"]) for r in records]
    assert weights == all_at_once.balance(records, seed)
    kept = np.array([w > 0 for row in weights for w in row], bool)
    counts, rates = balance_counts(StepLabelTable.of(records), kept), label_rates(records)
    longest = max((len(r["labels"]) for r in records), default=0)
    lengths = list(range(1, longest + 1))
    assert [c["length"] for c in counts] == [r["length"] for r in rates] == lengths
    for step in range(longest):
        pairs = [
            (r["labels"][step], w[step])
            for r, w in zip(records, weights)
            if len(r["labels"]) > step
        ]
        good, bad = pairs.count((1, 1.0)), pairs.count((0, 1.0))
        ones = sum(label for label, _ in pairs)
        assert good == bad == min(ones, len(pairs) - ones)  # equal, and no more dropped than needed
        assert counts[step] == {
            "length": step + 1,
            "kept": good + bad,
            "dropped": len(pairs) - good - bad,
        }
        assert rates[step] == {"length": step + 1, "n": len(pairs), "rate": ones / len(pairs)}

    order = list(range(len(records)))
    shuffler.shuffle(order)
    assert balance([records[i] for i in order], seed) == [weights[i] for i in order]


def test_which_labels_are_kept_is_random():
    """The draw is new at every length and for every seed: no record is favoured all along."""
    records = [
        {"question_id": "q", "sample_id": i, "labels": [1, 1, 1] if i < 40 else [0, 0, 0]}
        for i in range(50)
    ]
    kept = [[w[step] for w in balance(records, 0)[:40]] for step in range(3)]
    assert sum(kept[0]) == 10 and kept[0] != kept[1] != kept[2] != kept[0]
    assert kept[0] != [w[0] for w in balance(records, 1)[:40]]


def test_float_labels_are_labels_and_ignore_marks_are_not():
    rows = [{"question_id": "q", "sample_id": i, "labels": [float(i)]} for i in range(2)]
    assert balance(rows, 0) == [[1.0], [1.0]]
    for label in (-100, 0.5, float("nan")):
        with pytest.raises(ValueError, match="must be 0 or 1"):
            balance([*rows, {"question_id": "q", "sample_id": 2, "labels": [label]}], 0)
