"""Training sequences, one by one and packed on the local disk.

    tokens    a a a a a b b b b c c ...       int32, one example behind the other
    runs      0×3 1×2 | 0×4 | ...             weights, then labels, as (value, how many tokens)
    index     one row an example              where its tokens and its runs lie, and what it has

Most weights and labels equal their neighbours, so that runs take a fraction of an array and lose
nothing. Only lengths are in memory; the rest is read from the disk as a batch asks for it.
"""

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int32

from glore_jax.scratch import ScratchFile


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


_RUN = np.dtype([("value", "<f4"), ("count", "<i4")])
_ROW = np.dtype(
    [
        ("tokens", "<i8"),  # where they begin, in tokens
        ("length", "<i4"),
        ("runs", "<i8"),  # where they begin, in runs: those of the weights, then of the labels
        ("weight_runs", "<i4"),
        ("label_runs", "<i4"),
        ("prefix", "<i4"),
        ("source", "<i4"),
    ]
)
_CHUNK = 1024  # examples that are written at a time


class PackedExamples:
    """Examples on the local disk, which go when this does; `self[i]` is the i-th.

    Attributes:
      lengths: int32 [n], tokens of each.
      labelled: whether they have labels.
      prefixed: whether some example has a prefix.
      weighted: whether some token of some example has a weight.
      left_out: examples that were too long.
    """

    def __init__(self, examples: Iterable[Example], longest: int | None = None):
        """Writes `examples` as they come, all with labels or all without.

        longest: tokens; an example of more is left out and counted.

        Raises:
          ValueError: some examples have labels and some have none.
          UserError: the local disk is full.
        """
        self.prefixed = False
        self.weighted = False
        self.left_out = 0
        self._kinds: set[bool] = set()
        self._digest = hashlib.sha256()
        files = ScratchFile(), ScratchFile(), ScratchFile()
        for chunk in _chunks(self._fitting(examples, longest)):
            for file, data in zip(files, _packed(chunk, *files[:2]), strict=True):
                file.append(data)
                self._digest.update(data)
        self.labelled = True in self._kinds
        tokens, runs, rows = files
        self._tokens = tokens.mapped(np.dtype("<i4"))
        self._runs = runs.mapped(_RUN)
        self._rows = rows.mapped(_ROW)
        self.lengths = np.array(self._rows["length"], np.int32)

    @classmethod
    def of(cls, examples: "Iterable[Example] | PackedExamples") -> "PackedExamples":
        """`examples`, packed if they are not yet."""
        return examples if isinstance(examples, PackedExamples) else cls(examples)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        row = self._rows[index]
        start = int(row["tokens"])
        runs = int(row["runs"])
        labels = runs + int(row["weight_runs"])
        end = labels + int(row["label_runs"])
        return Example(
            np.array(self._tokens[start : start + int(row["length"])], np.int32),
            _expanded(self._runs[runs:labels]),
            _expanded(self._runs[labels:end]) if self.labelled else None,
            prefix=int(row["prefix"]),
            source=int(row["source"]),
        )

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    @property
    def nbytes(self) -> int:
        """Bytes on the local disk."""
        return self._tokens.nbytes + self._runs.nbytes + self._rows.nbytes

    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for all examples, in their order; free of cost."""
        return self._digest.hexdigest()[:16]

    def _fitting(self, examples: Iterable[Example], longest: int | None) -> Iterator[Example]:
        """Those of at most `longest` tokens, each looked at as it passes."""
        for e in examples:
            if longest is not None and len(e.tokens) > longest:
                self.left_out += 1
                continue
            self._kinds.add(e.labels is not None)
            if len(self._kinds) > 1:
                raise ValueError("some examples have labels and some have none")
            self.prefixed = self.prefixed or e.prefix > 0
            self.weighted = self.weighted or bool(e.weights.any())
            yield e


def _chunks(examples: Iterable[Example]) -> Iterator[list[Example]]:
    chunk: list[Example] = []
    for example in examples:
        chunk.append(example)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _packed(
    chunk: list[Example], tokens: ScratchFile, runs: ScratchFile
) -> tuple[bytes, bytes, bytes]:
    """What goes behind that which is in the files: tokens, runs, rows of the index."""
    lengths = np.array([len(e.tokens) for e in chunk], np.int32)
    pieces = [x for e in chunk for x in (e.weights, e.labels) if x is not None]
    found, counts = _runs(pieces)
    index = np.zeros(len(chunk), _ROW)
    index["tokens"] = tokens.size // 4 + np.cumsum(lengths) - lengths
    index["length"] = lengths
    # Of each example the runs of its weights, then those of its labels.
    columns = counts.reshape(len(chunk), -1)
    index["weight_runs"] = columns[:, 0]
    index["label_runs"] = columns[:, 1:].sum(axis=1)
    both = columns.sum(axis=1)
    index["runs"] = runs.size // _RUN.itemsize + np.cumsum(both) - both
    index["prefix"] = [e.prefix for e in chunk]
    index["source"] = [e.source for e in chunk]
    ids = np.concatenate([e.tokens for e in chunk]).astype("<i4", copy=False)
    return ids.tobytes(), found.tobytes(), index.tobytes()


def _runs(pieces: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(runs of equal values of all float32 `pieces`, how many each of them has)."""
    sizes = np.array([len(piece) for piece in pieces])
    ends = np.cumsum(sizes)
    values = np.concatenate(pieces).astype(np.float32, copy=False)
    bits = values.view(np.int32)  # so that NaN equals itself
    begins = np.ones(len(values) + 1, bool)  # where a run does; also behind the last one
    begins[1:-1] = bits[1:] != bits[:-1]
    begins[ends - sizes] = True
    starts = np.flatnonzero(begins[:-1])
    found = np.empty(len(starts), _RUN)
    found["value"] = values[starts]
    found["count"] = np.diff(starts, append=len(values))
    before = np.searchsorted(starts, np.stack([ends - sizes, ends]))
    return found, before[1] - before[0]


def _expanded(runs: np.ndarray) -> Float32[np.ndarray, " n"]:
    return np.repeat(runs["value"].astype(np.float32), runs["count"])
