"""Batches hold what went in: every example once an epoch, whole, and each target and label at its place."""

import math
import threading

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.training.batches import (
    Batches,
    Example,
    ahead,
    assemble,
    language_example,
    pack_into,
)

ROW = 16
properties = hypothesis.settings(deadline=None, max_examples=40)
some_lengths = st.lists(st.integers(1, ROW), min_size=1, max_size=30)


def policy_examples(lengths):
    """Token j of example i is 100 i + j + 1, so that a batch tells where everything came from; the first half is source."""
    rows = [[100 * i + j + 1 for j in range(n)] for i, n in enumerate(lengths)]
    return [
        language_example(row[: len(row) // 2], row[len(row) // 2 :], prefix=True) for row in rows
    ]


def reward_examples(lengths):
    """Labels at every third token: a fraction that tells its place."""
    out = []
    for i, n in enumerate(lengths):
        at = np.arange(n) % 3 == n % 3
        at[-1] = True
        tokens = np.arange(n, dtype=np.int32) + 100 * i + 1
        out.append(
            Example(
                tokens, at.astype(np.float32), np.where(at, tokens / 4096, 0).astype(np.float32)
            )
        )
    return out


def pieces(batch):
    """(example, place, slice) of each segment of a batch; checks that segments number the runs of each row from 1."""
    for r, row in enumerate(batch["segments"]):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        numbers = [int(row[a]) for a in edges[:-1]]
        assert numbers in ([*range(1, len(numbers) + 1)], [*range(1, len(numbers)), 0])
        for a, b, number in zip(edges, edges[1:], numbers, strict=False):
            if number:
                yield int(batch["tokens"][r, a] - 1) // 100, r, slice(a, b)


@properties
@hypothesis.given(some_lengths, st.integers(1, 8), st.integers(0, 3), st.integers(1, 3))
def test_every_example_once_an_epoch(lengths, batch_size, seed, row_multiple):
    examples = policy_examples(lengths)
    batches = Batches(
        examples,
        batch_size=batch_size,
        row_length=ROW,
        epochs=2,
        seed=seed,
        row_multiple=row_multiple,
    )
    size = min(batch_size, len(examples))
    assert len(batches) == 2 * math.ceil(len(examples) / size) == batches.plan.steps
    orders = []
    for epoch in range(2):
        seen, per_step = [], batches.plan.steps_per_epoch
        for step in range(epoch * per_step, (epoch + 1) * per_step):
            batch = batches[step]
            assert {v.shape for v in batch.values()} == {(batches.plan.rows, ROW)}
            found = [(i, s.stop - s.start) for i, _, s in pieces(batch)]
            last = step == (epoch + 1) * per_step - 1
            assert len(found) == (len(examples) - (per_step - 1) * size if last else size)
            seen += found
        orders.append([i for i, _ in seen])
        assert sorted(seen) == list(enumerate(lengths))  # all of them, whole
    assert batches.plan.rows % row_multiple == 0
    tokens = sum(lengths) / (batches.plan.steps_per_epoch * batches.plan.rows * ROW)
    assert batches.plan.fill == pytest.approx(tokens)
    if len(examples) > 12:
        assert orders[0] != orders[1]  # each epoch in its own order


@properties
@hypothesis.given(some_lengths, st.integers(1, 8))
def test_targets_stay_inside_their_example(lengths, batch_size):
    examples = policy_examples(lengths)
    if not any(e.weights.any() for e in examples):
        return
    batches = Batches(examples, batch_size=batch_size, row_length=ROW, epochs=1, seed=0)
    for step in range(len(batches)):
        batch, accounted = batches[step], np.zeros(batches[step]["tokens"].shape, bool)
        for i, r, s in pieces(batch):
            n, source = s.stop - s.start, (s.stop - s.start) // 2
            np.testing.assert_array_equal(batch["tokens"][r, s], 100 * i + 1 + np.arange(n))
            np.testing.assert_array_equal(batch["positions"][r, s], np.arange(n))
            np.testing.assert_array_equal(
                batch["targets"][r, s], [*range(100 * i + 2, 100 * i + n + 1), 0]
            )
            # The prediction of target token j stands at j - 1; nothing is predicted at the last token.
            expected = [float(j + 1 >= source) for j in range(n - 1)] + [0.0]
            np.testing.assert_array_equal(batch["weights"][r, s], expected)
            if "prefix" in batch:
                np.testing.assert_array_equal(batch["prefix"][r, s], np.arange(n) < source)
            accounted[r, s] = True
        for name, array in batch.items():
            assert not array[~accounted].any(), name


def test_a_prefix_is_in_every_batch_or_in_none():
    """One program serves all batches, and without a prefix it is a simpler one."""
    plain, one = language_example([3, 4], [5]), language_example([3, 4], [5], prefix=True)
    for examples, found in (([plain] * 3, [False] * 3), ([plain, one, plain], [True] * 3)):
        batches = Batches(examples, batch_size=1, row_length=ROW, epochs=1, seed=0)
        assert ["prefix" in batches[step] for step in range(3)] == found
        assert sum(batches[step]["prefix"].sum() for step in range(3) if any(found)) == 2 * any(
            found
        )


@properties
@hypothesis.given(some_lengths, st.integers(1, 8))
def test_labels_stand_at_their_token(lengths, batch_size):
    examples = reward_examples(lengths)
    batches = Batches(examples, batch_size=batch_size, row_length=ROW, epochs=1, seed=0)
    for step in range(len(batches)):
        batch = batches[step]
        assert batch["labels"].dtype == batch["weights"].dtype == np.float32
        for i, r, s in pieces(batch):
            np.testing.assert_array_equal(batch["labels"][r, s], examples[i].labels)
            np.testing.assert_array_equal(batch["weights"][r, s], examples[i].weights)
        at = batch["weights"] > 0
        np.testing.assert_array_equal(
            batch["labels"][at], (batch["tokens"][at] / 4096).astype(np.float32)
        )  # fractions survive
        assert not batch["labels"][~at].any()


def test_the_solution_of_a_text_is_marked():
    examples = [
        Example(
            np.arange(n, dtype=np.int32), np.ones(n, np.float32), np.ones(n, np.float32), source=s
        )
        for n, s in ((5, 2), (4, 3), (3, 0))
    ]
    batch = assemble(examples, [[0, 1], [2]], 2, 10)
    np.testing.assert_array_equal(
        batch["solution"], [[0, 0, 1, 1, 1, 0, 0, 0, 1, 0], [1, 1, 1, *[0] * 7]]
    )


def test_a_restart_needs_only_the_step():
    options = dict(batch_size=4, row_length=ROW, epochs=3, seed=5)
    lengths = np.random.default_rng(0).integers(1, ROW, 23).tolist()
    whole, again = (Batches(policy_examples(lengths), **options) for _ in range(2))
    for step in (len(whole) - 1, 7, 0):  # without those before
        for name, array in again[step].items():
            np.testing.assert_array_equal(array, whole[step][name])
    other = Batches(policy_examples(lengths), **options | {"seed": 6})
    assert any(
        (
            whole[s]["tokens"].shape != other[s]["tokens"].shape
            or (whole[s]["tokens"] != other[s]["tokens"]).any()
        )
        for s in range(3)
    )
    for beyond in (-1, len(whole)):
        with pytest.raises(IndexError):
            whole[beyond]


def test_pack_into_leaves_out_what_does_not_fit():
    layout = pack_into(policy_examples([10, 9, 7, 6, 3]), 2, ROW)
    assert layout == [[0, 3], [1, 2]]


@pytest.mark.parametrize(
    "examples, message",
    [
        ([], "no training examples"),
        (policy_examples([3, ROW + 1]), "an example has 17 tokens, more than row_length 16"),
        ([language_example([1, 2, 3], [])], "no example carries any weight"),
    ],
)
def test_nothing_to_train_on(examples, message):
    with pytest.raises(UserError, match=message):
        Batches(examples, batch_size=2, row_length=ROW, epochs=1, seed=0)


def test_examples_are_checked():
    tokens, ones = np.arange(3, dtype=np.int32), np.ones(3, np.float32)
    with pytest.raises(ValueError, match="differ in length"):
        Example(tokens, ones[:2])
    with pytest.raises(ValueError, match="differ in length"):
        Example(tokens, ones, ones[:2])
    with pytest.raises(ValueError, match="labels must be float32, not int64"):
        Example(tokens, ones, np.ones(3, np.int64))


# Made ahead.


def makers() -> list[str]:
    """Names of the running threads that make batches."""
    return [t.name for t in threading.enumerate() if t.name.startswith("batches")]


def test_one_is_made_while_the_one_before_is_in_use():
    started = {step: threading.Event() for step in range(3, 7)}
    threads = set()

    def make(step):
        threads.add(threading.current_thread())
        started[step].set()
        return 10 * step

    made = ahead(make, range(3, 7))
    for step in range(3, 7):
        assert next(made) == 10 * step
        if step < 6:
            assert started[step + 1].wait(timeout=60)  # without being asked for
        if step < 5:
            assert not started[step + 2].is_set()
    assert next(made, None) is None
    assert len(threads) == 1 and threading.main_thread() not in threads and makers() == []


def test_nothing_to_make():
    assert list(ahead(lambda step: step, range(0))) == [] and makers() == []


def test_an_error_comes_in_place_of_its_result_and_ends_the_thread():
    asked = []

    def make(step):
        asked.append(step)
        return 6 // (2 - step)

    made = ahead(make, range(5))
    assert [next(made), next(made)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert asked == [0, 1, 2] and makers() == []


def test_closing_makes_no_more():
    asked = []
    made = ahead(asked.append, range(100))
    next(made)
    made.close()
    assert len(asked) <= 2 and makers() == []
