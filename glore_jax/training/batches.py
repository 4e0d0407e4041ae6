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
import hashlib
import math
from collections.abc import Sequence
from typing import Any, Protocol, no_type_check, runtime_checkable

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int, Int32

from glore_jax.errors import UserError

Array = Any  # of a batch: NumPy's where it is made, JAX's on the devices

# For each batch its rows, for each row the indices of its examples.
Layout = list[list[int]]


@no_type_check  # it checks itself, in every run
@dataclasses.dataclass(frozen=True)
class Example:
    """One training sequence of n tokens.

    Attributes:
      tokens: ids.
      weights: of the prediction of token i (language model), or of the label at i (reward model).
      labels: in 0..1, for reward models; else None.
      prefix: how many tokens at the start see each other both ways (prefix attention).
      source: how many tokens stand before the solution (reward models).
    """

    tokens: Int32[np.ndarray, " n"]
    weights: Float32[np.ndarray, " n"]
    labels: Float32[np.ndarray, " n"] | None = None
    prefix: int = 0
    source: int = 0

    def __post_init__(self) -> None:
        lengths = {len(x) for x in (self.tokens, self.weights, self.labels) if x is not None}
        if len(lengths) > 1:
            raise ValueError("tokens, weights and labels of an example differ in length")
        # Fractions would be cut off in silence.
        if self.labels is not None and self.labels.dtype != np.float32:
            raise ValueError(f"labels must be float32, not {self.labels.dtype}")


def language_example(
    source: list[int], target: list[int], prefix: bool = False, source_weight: float = 0.0
) -> Example:
    """Predict `target` after `source`; a token of the source counts `source_weight`.

    `prefix`: the tokens of the source see each other both ways.
    """
    weights = [source_weight] * len(source) + [1.0] * len(target)
    return Example(
        np.asarray(source + target, np.int32),
        np.asarray(weights, np.float32),
        prefix=len(source) if prefix else 0,
    )


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
      examples: all with labels, or all without.
      batch_size: examples of a batch.
      row_length: tokens of a row.
      epochs: how often every example is seen.
      seed: of the order of the examples.
      row_multiple: what the rows of a batch are a multiple of; the last ones may be empty.
    """

    def __init__(
        self,
        examples: list[Example],
        *,
        batch_size: int,
        row_length: int,
        epochs: int,
        seed: int,
        row_multiple: int = 1,
    ):
        _check(examples, row_length)
        batch_size = min(batch_size, len(examples))
        updates_per_epoch = math.ceil(len(examples) / batch_size)
        self.examples = examples
        self.row_length = row_length
        self.lengths = np.array([len(e.tokens) for e in examples])
        self._layouts: dict[int, list[Layout]] = {}  # of each epoch that was looked at

        # The rows are known once every batch is laid out, which the rest of the plan says how.
        self.plan = Plan(epochs, batch_size, 0, row_length, updates_per_epoch, 0.0, seed)
        fullest = max(len(layout) for epoch in range(epochs) for layout in self._layouts_of(epoch))
        rows = math.ceil(fullest / row_multiple) * row_multiple
        fill = float(self.lengths.sum()) / (updates_per_epoch * rows * row_length)
        self.plan = dataclasses.replace(self.plan, rows=rows, fill=fill)

    def __len__(self) -> int:
        return self.plan.updates

    def __getitem__(self, update: int) -> Batch:
        if not 0 <= update < len(self):
            raise IndexError(update)
        epoch, place = divmod(update, self.plan.updates_per_epoch)
        layout = self._layouts_of(epoch)[place]
        return assemble(self.examples, layout, self.plan.rows, self.row_length)

    def fingerprint(self) -> str:
        """See `BatchSource`: of all examples in their order, and the plan."""
        digest = hashlib.sha256(repr(self.plan).encode())
        for e in self.examples:
            digest.update(f"{len(e.tokens)} {e.prefix} {e.source}".encode())
            for array in (e.tokens, e.weights, e.labels):
                digest.update(b"-" if array is None else np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    def _layouts_of(self, epoch: int) -> list[Layout]:
        """The layout of each batch of an epoch."""
        if epoch not in self._layouts:
            size = self.plan.batch_size
            shuffle = np.random.Generator(np.random.Philox([self.plan.seed, epoch]))
            order = shuffle.permutation(len(self.examples))
            chunks = [order[i : i + size] for i in range(0, len(order), size)]
            self._layouts[epoch] = [_pack(chunk, self.lengths, self.row_length) for chunk in chunks]
        return self._layouts[epoch]


def _check(examples: Sequence[Example], row_length: int) -> None:
    if not examples:
        raise UserError("no training examples: the stage before produced none")
    longest = max(len(e.tokens) for e in examples)
    if longest > row_length:
        raise UserError(
            f"an example has {longest} tokens, more than row_length {row_length}: "
            "raise it in this stage's config"
        )
    if not any(e.weights.any() for e in examples):
        raise UserError("no example carries any weight: every label or target is masked")


def assemble(examples: Sequence[Example], layout: Layout, rows: int, row_length: int) -> Batch:
    """The arrays of one batch [rows, row_length]; `layout[r]` lists the examples of row r."""
    shape = (rows, row_length)
    with_labels = examples[0].labels is not None
    tokens, targets, positions, segments = (np.zeros(shape, np.int32) for _ in range(4))
    weights = np.zeros(shape, np.float32)
    # Also where only examples of other batches have a prefix: one program serves all batches.
    prefix = np.zeros(shape, bool) if any(e.prefix for e in examples) else None
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
    lengths = np.array([len(e.tokens) for e in examples])
    return _pack(np.arange(len(examples)), lengths, row_length)[:rows]


def _pack(
    indices: Int[np.ndarray, " chosen"], lengths: Int[np.ndarray, " examples"], row_length: int
) -> Layout:
    """First fit, longest first: each example goes into the first row that has room for it."""
    rows: Layout = []
    room: list[int] = []  # of each row
    for i in sorted(indices, key=lambda i: -lengths[i]):
        for r, space in enumerate(room):
            if lengths[i] <= space:
                rows[r].append(int(i))
                room[r] -= int(lengths[i])
                break
        else:
            rows.append([int(i)])
            room.append(row_length - int(lengths[i]))
    return rows
