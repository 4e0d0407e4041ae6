"""Examples to batches: exact batch sizes in examples, packed into rows of one static shape.

    one batch, row_length 12                     segments (0 = padding), positions restart with each example
    row 0   a a a a a b b b b . . .              1 1 1 1 1 2 2 2 2 0 0 0      0 1 2 3 4 0 1 2 3 0 0 0
    row 1   c c c c c c c c c d d .              1 1 1 1 1 1 1 1 1 2 2 0      0 1 2 3 4 5 6 7 8 0 1 0

A batch is `batch_size` examples of a shuffled epoch (as the paper counts them), first-fit packed; every batch has as many rows
as the fullest one, so one program serves them all. Batch n is a function of (examples, seed, n): the position of a restart is
the step number alone.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from glore_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Example:
    """One training sequence, length n.

    tokens: int32 [n]. weights: float32 [n], the weight of predicting token i (language model), or of the label at i (reward model).
    labels: float32 [n] in 0..1 for reward models, else None. prefix: tokens that see each other both ways (prefix attention).
    source: tokens before the solution (reward models).
    """

    tokens: np.ndarray
    weights: np.ndarray
    labels: np.ndarray | None = None
    prefix: int = 0
    source: int = 0

    def __post_init__(self):
        if len(self.tokens) != len(self.weights) or (
            self.labels is not None and len(self.labels) != len(self.tokens)
        ):
            raise ValueError("tokens, weights and labels of an example differ in length")
        if self.labels is not None and self.labels.dtype != np.float32:
            raise ValueError(f"labels must be float32, not {self.labels.dtype}")


def language_example(
    source: list[int], target: list[int], prefix: bool = False, source_weight: float = 0.0
) -> Example:
    """Predict `target` after `source`."""
    weights = [source_weight] * len(source) + [1.0] * len(target)
    return Example(
        np.asarray(source + target, np.int32),
        np.asarray(weights, np.float32),
        prefix=len(source) if prefix else 0,
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """The batches of a run. `fill` is the share of row positions that hold a token."""

    epochs: int
    batch_size: int
    rows: int
    row_length: int
    steps_per_epoch: int
    fill: float
    seed: int

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs


class Batches:
    """`batches[n]` is the batch of step n, a dict of arrays [rows, row_length]:

    tokens, positions, segments int32; targets int32 (the next token), weights float32 (of predicting `targets`, or of `labels`);
    labels float32 and solution int32 (1 at the tokens of the solution) for reward models; prefix bool, True inside a bidirectional
    prefix, only if some example has one.

    Raises UserError if an example is longer than `row_length` (truncate and count before) or nothing carries weight.
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
        if not examples:
            raise UserError("no training examples: the stage before produced none")
        longest = max(len(e.tokens) for e in examples)
        if longest > row_length:
            raise UserError(
                f"an example has {longest} tokens, more than row_length {row_length}: raise it in this stage's config"
            )
        if not any(e.weights.any() for e in examples):
            raise UserError("no example carries any weight: every label or target is masked")
        batch_size = min(batch_size, len(examples))
        self.examples, self.row_length = examples, row_length
        self.lengths = np.array([len(e.tokens) for e in examples])
        self._layouts: dict[int, list[list[list[int]]]] = {}
        steps = math.ceil(len(examples) / batch_size)
        self.plan = Plan(epochs, batch_size, 0, row_length, steps, 0.0, seed)
        rows = max(len(b) for epoch in range(epochs) for b in self._layout(epoch))
        rows = math.ceil(rows / row_multiple) * row_multiple
        fill = float(self.lengths.sum()) / (steps * rows * row_length)
        self.plan = dataclasses.replace(self.plan, rows=rows, fill=fill)

    def _layout(self, epoch: int) -> list[list[list[int]]]:
        """Batches of an epoch, each a list of rows, each a list of example indices."""
        if epoch not in self._layouts:
            p = self.plan
            order = np.random.Generator(np.random.Philox([p.seed, epoch])).permutation(
                len(self.examples)
            )
            chunks = [order[i : i + p.batch_size] for i in range(0, len(order), p.batch_size)]
            self._layouts[epoch] = [_pack(chunk, self.lengths, self.row_length) for chunk in chunks]
        return self._layouts[epoch]

    def __len__(self) -> int:
        return self.plan.steps

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        if not 0 <= step < len(self):
            raise IndexError(step)
        layout = self._layout(step // self.plan.steps_per_epoch)[step % self.plan.steps_per_epoch]
        return assemble(self.examples, layout, self.plan.rows, self.row_length)


def ahead(make: Callable[[int], Any], steps: Iterable[int]) -> Iterator[Any]:
    """Yields `make(step)` for each of `steps`, in order; the next is made on a thread of the host while this one is in use.

    What `make` raises is raised here, in place of its result. Closing the generator ends the thread once it has finished what it is
    making, and makes no more; `contextlib.closing` does that however the loop over it ends.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        futures = (thread.submit(make, step) for step in steps)
        made = next(futures, None)
        while made is not None:
            result, made = made.result(), next(futures, None)
            yield result


def assemble(
    examples: list[Example], layout: list[list[int]], rows: int, row_length: int
) -> dict[str, np.ndarray]:
    """The arrays of one batch; `layout[r]` lists the examples of row r."""
    shape, reward = (rows, row_length), examples[0].labels is not None
    out = {k: np.zeros(shape, np.int32) for k in ("tokens", "targets", "positions", "segments")}
    out["weights"] = np.zeros(shape, np.float32)
    if any(e.prefix for e in examples):
        out["prefix"] = np.zeros(shape, bool)
    if reward:
        out["labels"], out["solution"] = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
    for r, row in enumerate(layout):
        start = 0
        for segment, index in enumerate(row, 1):
            e = examples[index]
            n = len(e.tokens)
            here, before = slice(start, start + n), slice(start, start + n - 1)
            out["tokens"][r, here], out["segments"][r, here] = e.tokens, segment
            out["positions"][r, here] = np.arange(n)
            if e.prefix:
                out["prefix"][r, start : start + e.prefix] = True
            if reward:
                out["labels"][r, here], out["weights"][r, here] = e.labels, e.weights
                out["solution"][r, start + e.source : start + n] = 1
            else:  # the prediction of token i is made at i - 1
                out["targets"][r, before], out["weights"][r, before] = e.tokens[1:], e.weights[1:]
            start += n
    return out


def pack_into(examples: list[Example], rows: int, row_length: int) -> list[list[int]]:
    """As many of `examples` as fit into `rows` rows, first fit; the rest is left out."""
    lengths = np.array([len(e.tokens) for e in examples])
    return _pack(np.arange(len(examples)), lengths, row_length)[:rows]


def _pack(indices: np.ndarray, lengths: np.ndarray, row_length: int) -> list[list[int]]:
    """First fit, longest first: rows of example indices."""
    rows, room = [], []
    for i in sorted(indices, key=lambda i: -lengths[i]):
        for r, space in enumerate(room):
            if lengths[i] <= space:
                rows[r].append(int(i))
                room[r] -= lengths[i]
                break
        else:
            rows.append([int(i)])
            room.append(row_length - lengths[i])
    return rows
