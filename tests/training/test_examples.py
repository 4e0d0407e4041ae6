"""Examples come back from the disk as they were, bit for bit, and leave nothing there."""

import dataclasses
import tempfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.training.examples import Example, PackedExamples, language_example

FLOATS = st.sampled_from([0.0, -0.0, 1.0, 0.25, 3e-39, float("nan"), 0.1]) | st.floats(width=32)


@st.composite
def example(draw, labelled):
    n = draw(st.integers(0, 9))
    array = st.lists(FLOATS, min_size=n, max_size=n).map(lambda x: np.array(x, np.float32))
    tokens = draw(st.lists(st.integers(0, 2**31 - 1), min_size=n, max_size=n))
    labels = draw(array) if labelled else None
    prefix, source = draw(st.integers(0, n)), draw(st.integers(0, n))
    return Example(np.array(tokens, np.int32), draw(array), labels, prefix, source)


def bits(e):
    fields = dataclasses.asdict(e)
    return {
        k: (v.dtype, v.tobytes()) if isinstance(v, np.ndarray) else v for k, v in fields.items()
    }


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(st.booleans().flatmap(lambda labelled: st.lists(example(labelled), max_size=12)))
def test_examples_come_back_bit_for_bit(examples):
    packed = PackedExamples(iter(examples))
    assert [bits(e) for e in packed] == [bits(e) for e in examples]
    assert packed.lengths.tolist() == [len(e.tokens) for e in examples]
    assert packed.labelled == any(e.labels is not None for e in examples)
    assert packed.prefixed == any(e.prefix for e in examples)
    assert packed.weighted == any(e.weights.any() for e in examples)


def numbered(count, first=0):
    return [language_example([i], [i + 1] * (i % 5)) for i in range(first, first + count)]


def test_many_examples_are_written_as_they_come():
    """More than are written at a time."""
    examples = numbered(3000)
    packed = PackedExamples(iter(examples))
    assert len(packed) == 3000 and packed.left_out == 0
    for i in (0, 1023, 1024, 2999):
        assert bits(packed[i]) == bits(examples[i])
    assert packed.nbytes < 3000 * 100


def test_longer_examples_are_left_out_and_counted():
    packed = PackedExamples(numbered(10), longest=3)
    assert packed.lengths.tolist() == [1, 2, 3] * 2 and packed.left_out == 4


def test_a_fingerprint_stands_for_the_examples_in_their_order():
    one = PackedExamples(numbered(9)).fingerprint()
    assert PackedExamples(numbered(9)).fingerprint() == one
    relabelled = [dataclasses.replace(e, source=1) for e in numbered(9)]
    others = [numbered(8), numbered(9)[::-1], numbered(9, first=1), relabelled]
    assert len({one, *(PackedExamples(o).fingerprint() for o in others)}) == 5
    # What is left out is not learned from.
    assert PackedExamples(numbered(9), longest=3).fingerprint() != one


def test_nothing_stays_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    packed = PackedExamples(numbered(50))
    assert list(tmp_path.iterdir()) == [] and len(packed[3].tokens) == 4


def test_a_disk_without_room_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match="cannot keep temporary data in .*gone: .*set TMPDIR"):
        PackedExamples(numbered(5))


def test_examples_with_and_without_labels_do_not_mix():
    ones = np.ones(2, np.float32)
    labelled = Example(np.arange(2, dtype=np.int32), ones, ones)
    with pytest.raises(ValueError, match="some examples have labels and some have none"):
        PackedExamples([labelled, *numbered(1)])


def test_examples_are_checked():
    tokens = np.arange(3, dtype=np.int32)
    ones = np.ones(3, np.float32)
    with pytest.raises(ValueError, match="differ in length"):
        Example(tokens, ones[:2])
    with pytest.raises(ValueError, match="differ in length"):
        Example(tokens, ones, ones[:2])
    with pytest.raises(ValueError, match="labels must be float32, not int64"):
        Example(tokens, ones, np.ones(3, np.int64))
