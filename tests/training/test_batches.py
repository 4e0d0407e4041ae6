"""Batches hold what went in: every example once an epoch, whole, each target and label in place."""

import dataclasses
import math

import hypothesis
import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from glore_jax.errors import UserError
from glore_jax.training.batches import (
    Batch,
    Batches,
    BatchSource,
    assemble,
    pack_into,
)
from glore_jax.training.examples import Example, language_example

ROW = 16
properties = hypothesis.settings(deadline=None, max_examples=40)
some_lengths = st.lists(st.integers(1, ROW), min_size=1, max_size=30)


def policy_examples(lengths):
    """The first half of each is source.

    Token j of example i is 100 i + j + 1, so that a batch tells where everything came from.
    """
    examples = []
    for i, n in enumerate(lengths):
        row = [100 * i + j + 1 for j in range(n)]
        examples.append(language_example(row[: n // 2], row[n // 2 :], prefix=True))
    return examples


def reward_examples(lengths):
    """Labels at every third token: a fraction that tells its place."""
    examples = []
    for i, n in enumerate(lengths):
        at = np.arange(n) % 3 == n % 3
        at[-1] = True
        tokens = np.arange(n, dtype=np.int32) + 100 * i + 1
        labels = np.where(at, tokens / 4096, 0).astype(np.float32)
        examples.append(Example(tokens, at.astype(np.float32), labels))
    return examples


def arrays(batch) -> dict[str, np.ndarray]:
    """The fields that the batch has."""
    fields = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return {name: value for name, value in fields.items() if value is not None}


def pieces(batch):
    """(example, row, slice) of each segment of a batch.

    Checks that segments number the runs of each row from 1.
    """
    for r, row in enumerate(batch.segments):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        numbers = [int(row[a]) for a in edges[:-1]]
        assert numbers in ([*range(1, len(numbers) + 1)], [*range(1, len(numbers)), 0])
        for a, b, number in zip(edges, edges[1:], numbers, strict=False):
            if number:
                yield int(batch.tokens[r, a] - 1) // 100, r, slice(a, b)


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
    assert isinstance(batches, BatchSource)
    size = min(batch_size, len(examples))
    assert len(batches) == 2 * math.ceil(len(examples) / size) == batches.plan.updates
    per_epoch = batches.plan.updates_per_epoch
    orders = []
    for epoch in range(2):
        seen = []
        for update in range(epoch * per_epoch, (epoch + 1) * per_epoch):
            batch = batches[update]
            assert {v.shape for v in arrays(batch).values()} == {(batches.plan.rows, ROW)}
            found = [(i, s.stop - s.start) for i, _, s in pieces(batch)]
            last = update == (epoch + 1) * per_epoch - 1
            assert len(found) == (len(examples) - (per_epoch - 1) * size if last else size)
            seen += found
        orders.append([i for i, _ in seen])
        assert sorted(seen) == list(enumerate(lengths))  # all of them, whole
    assert batches.plan.rows % row_multiple == 0
    share = sum(lengths) / (per_epoch * batches.plan.rows * ROW)
    assert batches.plan.fill == pytest.approx(share)
    if len(examples) > 12:
        assert orders[0] != orders[1]  # each epoch in its own order


@properties
@hypothesis.given(some_lengths, st.integers(1, 8))
def test_targets_stay_inside_their_example(lengths, batch_size):
    examples = policy_examples(lengths)
    if not any(e.weights.any() for e in examples):
        return
    batches = Batches(examples, batch_size=batch_size, row_length=ROW, epochs=1, seed=0)
    for update in range(len(batches)):
        batch = batches[update]
        accounted = np.zeros(batch.tokens.shape, bool)
        for i, r, s in pieces(batch):
            n = s.stop - s.start
            source = n // 2
            tokens = 100 * i + 1 + np.arange(n)
            np.testing.assert_array_equal(batch.tokens[r, s], tokens)
            np.testing.assert_array_equal(batch.positions[r, s], np.arange(n))
            np.testing.assert_array_equal(batch.targets[r, s], [*tokens[1:], 0])
            # Target j is predicted at j - 1; nothing is predicted at the last token.
            expected = [float(j + 1 >= source) for j in range(n - 1)] + [0.0]
            np.testing.assert_array_equal(batch.weights[r, s], expected)
            if batch.prefix is not None:
                np.testing.assert_array_equal(batch.prefix[r, s], np.arange(n) < source)
            accounted[r, s] = True
        for name, array in arrays(batch).items():
            assert not array[~accounted].any(), name


def test_a_prefix_is_in_every_batch_or_in_none():
    """One program serves all batches, and without a prefix it is a simpler one."""
    plain = language_example([3, 4], [5])
    one = language_example([3, 4], [5], prefix=True)
    for examples, has_prefix in (([plain] * 3, False), ([plain, one, plain], True)):
        batches = Batches(examples, batch_size=1, row_length=ROW, epochs=1, seed=0)
        prefixes = [batches[update].prefix for update in range(3)]
        assert [prefix is not None for prefix in prefixes] == [has_prefix] * 3
        if has_prefix:
            assert sum(prefix.sum() for prefix in prefixes) == 2


@properties
@hypothesis.given(some_lengths, st.integers(1, 8))
def test_labels_stand_at_their_token(lengths, batch_size):
    examples = reward_examples(lengths)
    batches = Batches(examples, batch_size=batch_size, row_length=ROW, epochs=1, seed=0)
    for update in range(len(batches)):
        batch = batches[update]
        assert batch.labels.dtype == batch.weights.dtype == np.float32
        for i, r, s in pieces(batch):
            np.testing.assert_array_equal(batch.labels[r, s], examples[i].labels)
            np.testing.assert_array_equal(batch.weights[r, s], examples[i].weights)
        at = batch.weights > 0
        fractions = (batch.tokens[at] / 4096).astype(np.float32)
        np.testing.assert_array_equal(batch.labels[at], fractions)  # they survive
        assert not batch.labels[~at].any()


def test_the_solution_of_a_text_is_marked():
    examples = []
    for n, source in ((5, 2), (4, 3), (3, 0)):
        tokens = np.arange(n, dtype=np.int32)
        ones = np.ones(n, np.float32)
        examples.append(Example(tokens, ones, ones, source=source))
    batch = assemble(examples, [[0, 1], [2]], 2, 10)
    first = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0]
    np.testing.assert_array_equal(batch.solution, [first, [1, 1, 1, *[0] * 7]])


def test_a_restart_needs_only_the_number_of_the_update():
    options = dict(batch_size=4, row_length=ROW, epochs=3, seed=5)
    lengths = np.random.default_rng(0).integers(1, ROW, 23).tolist()
    whole, again = (Batches(policy_examples(lengths), **options) for _ in range(2))
    for update in (len(whole) - 1, 7, 0):  # without those before
        before = arrays(whole[update])
        for name, array in arrays(again[update]).items():
            np.testing.assert_array_equal(array, before[name])
    other = Batches(policy_examples(lengths), **options | {"seed": 6})
    assert not all(np.array_equal(whole[n].tokens, other[n].tokens) for n in range(3))
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


def pack_plainly(indices, lengths):
    """First fit, longest first, one example after the other."""
    rows = []
    for i in sorted(indices, key=lambda i: -lengths[i]):
        for row in rows:
            if sum(lengths[j] for j in row) + lengths[i] <= ROW:
                row.append(i)
                break
        else:
            rows.append([i])
    return rows


@properties
@hypothesis.given(
    st.lists(st.integers(1, ROW), min_size=1, max_size=90), st.integers(1, 9), st.integers(0, 3)
)
def test_batches_are_those_of_plain_lists(lengths, batch_size, seed):
    """Layouts of many batches side by side, examples from the disk: the arrays of lists of both."""
    for examples in (
        policy_examples([n + 1 if n < 2 else n for n in lengths]),
        reward_examples(lengths),
    ):
        sizes = [len(e.tokens) for e in examples]
        found = Batches(examples, batch_size=batch_size, row_length=ROW, epochs=2, seed=seed)
        size = min(batch_size, len(examples))
        layouts = []
        for epoch in range(2):
            order = np.random.Generator(np.random.Philox([seed, epoch])).permutation(len(examples))
            chunks = [order[i : i + size].tolist() for i in range(0, len(order), size)]
            layouts += [pack_plainly(chunk, sizes) for chunk in chunks]
        assert found.plan.rows == max(map(len, layouts)) and len(found) == len(layouts)
        for update, layout in enumerate(layouts):
            expected = arrays(assemble(examples, layout, found.plan.rows, ROW))
            batch = arrays(found[update])
            assert batch.keys() == expected.keys()
            for name, array in batch.items():
                assert array.dtype == expected[name].dtype
                np.testing.assert_array_equal(array, expected[name])


def test_a_fingerprint_stands_for_every_batch():
    def of(lengths, **changes):
        options = dict(batch_size=4, row_length=ROW, epochs=1, seed=0) | changes
        return Batches(policy_examples(lengths), **options).fingerprint()

    same, other = of([3, 4, 5]), [of([3, 5, 4]), of([3, 4]), of([3, 4, 5], seed=1)]
    assert of([3, 4, 5]) == same and len({same, *other}) == 4


def test_a_batch_is_a_tree_of_the_arrays_it_has():
    batch = assemble(policy_examples([5, 4]), [[0], [1]], 2, ROW)
    assert len(jax.tree.leaves(batch)) == len(arrays(batch)) == 6
    shapes = jax.eval_shape(lambda x: x, batch)
    assert isinstance(shapes, Batch) and shapes.labels is None
    assert shapes.tokens.shape == (2, ROW)
