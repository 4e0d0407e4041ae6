"""Examples to batches: exact batch sizes in examples, packed into rows of one static shape.

    one batch of four examples a, b, c, d; row_length 12; · is padding

            tokens                     segments                   positions
    row 0   a a a a a b b b b · · ·    1 1 1 1 1 2 2 2 2 0 0 0    0 1 2 3 4 0 1 2 3 0 0 0
    row 1   c c c c c c c c c d d ·    1 1 1 1 1 1 1 1 1 2 2 0    0 1 2 3 4 5 6 7 8 0 1 0

A batch is `batch_size` examples of a shuffled epoch (as the paper counts them), first-fit packed;
every batch has as many rows as the fullest one, so one program serves them all. Batch n is a
function of (examples, seed, n): the position of a restart is the number of the update alone.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, no_type_check, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.training.examples import Example, PackedExamples

Array = Any  # of a batch: NumPy's where it is made, JAX's on the devices

# For each row of a batch the indices of its examples.
Layout = list[list[int]]

_BATCHES_AT_ONCE = 256  # that are laid out side by side


# JAX makes batches around placeholders of its own: tests do not check the fields.
@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Batch:
    """The examples of one update, packed into rows; padding is 0 in every field.

    Attributes:
      tokens: ids.
      targets: the next token of the same example; 0 at its last one, and for reward models.
      positions: place of a token in its example.
      segments: number of the example in its row, from 1; 0 is padding.
      weights: of the prediction of `targets`; in a reward model's batch, of `labels`.
      prefix: True inside a prefix that is read both ways; only if some example has one.
      labels: of the value at each token, 0..1; only to train a value head.
      solution: 1 at the tokens of the solution; only for reward models.
      label_weights: of `labels` where `weights` belong to `targets`: both are learned at once.
      judging: how much the labels count beside the targets then, one number for all rows.
    """

    tokens: Int32[Array, "rows tokens"]
    targets: Int32[Array, "rows tokens"]
    positions: Int32[Array, "rows tokens"]
    segments: Int32[Array, "rows tokens"]
    weights: Float32[Array, "rows tokens"]
    prefix: Bool[Array, "rows tokens"] | None = None
    labels: Float32[Array, "rows tokens"] | None = None
    solution: Int32[Array, "rows tokens"] | None = None
    label_weights: Float32[Array, "rows tokens"] | None = None
    judging: Float32[Array, " rows"] | None = None


@dataclasses.dataclass(frozen=True)
class Plan:
    """The batches of a run.

    Attributes:
      epochs: how often every example is seen.
      batch_size: examples of a batch.
      rows, row_length: the shape of every batch.
      updates_per_epoch: batches of an epoch.
      fill: share of row positions that hold a token, 0..1.
      seed: of the order of the examples.
    """

    epochs: int
    batch_size: int
    rows: int
    row_length: int
    updates_per_epoch: int
    fill: float
    seed: int

    @property
    def updates(self) -> int:
        return self.updates_per_epoch * self.epochs


@runtime_checkable
class BatchSource(Protocol):
    """What the training loop reads: `source[n]` is the batch of update n, 0 <= n < len(source)."""

    plan: Plan

    def __len__(self) -> int: ...

    def __getitem__(self, update: int) -> Batch: ...

    def fingerprint(self) -> str:
        """Stands for all batches: two sources that have the same give the same batches."""
        ...


class Batches:
    """`batches[n]` is the batch of update n.

    Raises UserError if an example is longer than `row_length` (leave it out and count it before)
    or nothing carries weight.

    Args:
      examples: all with labels, or all without; packed on the local disk if they are not yet.
      batch_size: examples of a batch.
      row_length: tokens of a row.
      epochs: how often every example is seen.
      seed: of the order of the examples.
      row_multiple: what the rows of a batch are a multiple of; the last ones may be empty.
    """

    def __init__(
        self,
        examples: Iterable[Example] | PackedExamples,
        *,
        batch_size: int,
        row_length: int,
        epochs: int,
        seed: int,
        row_multiple: int = 1,
    ):
        self.examples = PackedExamples.of(examples)
        _check(self.examples, row_length)
        count = len(self.examples)
        batch_size = min(batch_size, count)
        updates_per_epoch = math.ceil(count / batch_size)
        self._order: tuple[int, Int[np.ndarray, " examples"]] | None = None

        # The rows are known once every batch is laid out, which the rest of the plan says how.
        self.plan = Plan(epochs, batch_size, 0, row_length, updates_per_epoch, 0.0, seed)
        fullest = max(self._fullest(epoch) for epoch in range(epochs))
        rows = math.ceil(fullest / row_multiple) * row_multiple
        tokens = float(self.examples.lengths.sum(dtype=np.int64))
        fill = tokens / (updates_per_epoch * rows * row_length)
        self.plan = dataclasses.replace(self.plan, rows=rows, fill=fill)

    def __len__(self) -> int:
        return self.plan.updates

    def __getitem__(self, update: int) -> Batch:
        if not 0 <= update < len(self):
            raise IndexError(update)
        epoch, place = divmod(update, self.plan.updates_per_epoch)
        start = place * self.plan.batch_size
        chosen = self._order_of(epoch)[start : start + self.plan.batch_size]
        layout = _pack(chosen, self.examples.lengths, self.plan.row_length)
        shape = self.plan.rows, self.plan.row_length
        return assemble(self.examples, layout, *shape, prefixed=self.examples.prefixed)

    def fingerprint(self) -> str:
        """See `BatchSource`: of the examples in their order, and the plan."""
        return storage.fingerprint([self.examples.fingerprint(), dataclasses.asdict(self.plan)])

    def _order_of(self, epoch: int) -> Int[np.ndarray, " examples"]:
        """The examples in the order of an epoch; batch b has those from b * batch_size on."""
        # One epoch is held: updates come one after the other.
        held = self._order
        if held is None or held[0] != epoch:
            shuffle = np.random.Generator(np.random.Philox([self.plan.seed, epoch]))
            held = epoch, shuffle.permutation(len(self.examples))
            self._order = held
        return held[1]

    def _fullest(self, epoch: int) -> int:
        """The rows that the fullest batch of an epoch takes."""
        size = self.plan.batch_size
        lengths = self.examples.lengths[self._order_of(epoch)]
        whole = len(lengths) // size * size
        groups = [*_some(lengths[:whole].reshape(-1, size))]
        if whole < len(lengths):  # the last batch is a smaller one
            groups.append(lengths[None, whole:])
        return max(int(_first_fit(g, self.plan.row_length).max()) + 1 for g in groups)


def _some(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BATCHES_AT_ONCE):
        yield rows[start : start + _BATCHES_AT_ONCE]


def _check(examples: PackedExamples, row_length: int) -> None:
    if not len(examples):
        raise UserError("no training examples: the stage before produced none")
    longest = int(examples.lengths.max())
    if longest > row_length:
        raise UserError(
            f"an example has {longest} tokens, more than row_length {row_length}: "
            "raise it in this stage's config"
        )
    if not examples.weighted:
        raise UserError("no example carries any weight: every label or target is masked")


def assemble(
    examples: Sequence[Example] | PackedExamples,
    layout: Layout,
    rows: int,
    row_length: int,
    prefixed: bool | None = None,
) -> Batch:
    """The arrays of one batch [rows, row_length]; `layout[r]` lists the examples of row r.

    prefixed: whether the batch has the array `prefix`; None: if one of `examples` has a prefix.
    """
    shape = (rows, row_length)
    with_labels = examples[0].labels is not None
    tokens, targets, positions, segments = (np.zeros(shape, np.int32) for _ in range(4))
    weights = np.zeros(shape, np.float32)
    # Also where only examples of other batches have a prefix: one program serves all batches.
    if prefixed is None:
        prefixed = any(e.prefix for e in examples)
    prefix = np.zeros(shape, bool) if prefixed else None
    labels = np.zeros(shape, np.float32) if with_labels else None
    solution = np.zeros(shape, np.int32) if with_labels else None

    for r, row in enumerate(layout):
        start = 0
        for segment, index in enumerate(row, 1):
            e = examples[index]
            end = start + len(e.tokens)
            tokens[r, start:end] = e.tokens
            segments[r, start:end] = segment
            positions[r, start:end] = np.arange(len(e.tokens))
            if prefix is not None:
                prefix[r, start : start + e.prefix] = True
            if labels is not None and solution is not None:
                # A label stands at the token whose value it judges.
                labels[r, start:end] = e.labels
                weights[r, start:end] = e.weights
                solution[r, start + e.source : end] = 1
            else:
                # Token i is predicted at i - 1; nothing is predicted at the last one.
                targets[r, start : end - 1] = e.tokens[1:]
                weights[r, start : end - 1] = e.weights[1:]
            start = end
    return Batch(tokens, targets, positions, segments, weights, prefix, labels, solution)


def pack_into(examples: Sequence[Example], rows: int, row_length: int) -> Layout:
    """As many of `examples` as fit into `rows` rows, first fit; the rest is left out."""
    lengths = np.array([len(e.tokens) for e in examples], np.int32)
    return _pack(np.arange(len(examples)), lengths, row_length)[:rows]


def _pack(
    indices: Int[np.ndarray, " chosen"], lengths: Int[np.ndarray, " examples"], row_length: int
) -> Layout:
    """First fit, longest first: each example goes into the first row that has room for it."""
    longest_first = indices[_longest_first(lengths[indices])]
    rows = _first_fit(lengths[None, longest_first], row_length)[0]
    layout: Layout = [[] for _ in range(int(rows.max(initial=-1)) + 1)]
    for row, index in zip(rows.tolist(), longest_first.tolist(), strict=True):
        layout[row].append(index)
    return layout


def _longest_first(lengths: Int[np.ndarray, "... size"]) -> Int[np.ndarray, "... size"]:
    """The places of each batch by falling length, equal ones in their order."""
    return np.argsort(-lengths, axis=-1, kind="stable")


def _first_fit(
    lengths: Int[np.ndarray, "batches size"], row_length: int
) -> Int[np.ndarray, "batches size"]:
    """The row of each example, packed in the order of falling length, in that order.

    All batches are packed side by side: their longest examples, then the second longest, ...
    """
    falling = np.take_along_axis(lengths, _longest_first(lengths), axis=-1)
    # First fit leaves at most one row half empty.
    most = 2 * int(falling.sum(axis=-1, dtype=np.int64).max(initial=0)) // row_length + 1
    batches = np.arange(len(falling))
    room = np.full((len(falling), min(most, falling.shape[-1])), row_length, np.int64)
    placed = np.zeros(falling.shape, np.int64)
    for place in range(falling.shape[-1]):
        length = falling[:, place]
        row = (room >= length[:, None]).argmax(axis=-1)
        room[batches, row] -= length
        placed[:, place] = row
    return placed
