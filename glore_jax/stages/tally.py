"""Counts of samples, read off their columns."""

import dataclasses
from collections.abc import Iterable
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc

COLUMNS = ("question_id", "correct", "ended", "tokens")


@dataclasses.dataclass(frozen=True)
class Tally:
    """Attributes:
    samples: how many there are.
    right: how many have the right answer.
    truncated: how many ran out of length.
    tokens: drawn for all of them.
    solved: questions that have a right one.
    """

    samples: int
    right: int
    truncated: int
    tokens: int
    solved: int

    @classmethod
    def of(cls, batches: Iterable[pa.RecordBatch]) -> Self:
        """`batches`: records of type `Sample` with (at least) the columns `COLUMNS`."""
        samples = right = ended = tokens = 0
        solved = []
        for batch in batches:
            samples += batch.num_rows
            right += batch["correct"].true_count
            ended += batch["ended"].true_count
            tokens += pc.sum(batch["tokens"]).as_py() or 0
            solved.append(batch["question_id"].filter(batch["correct"]).unique())
        questions = len(pa.chunked_array(solved, pa.string()).unique())
        return cls(samples, right, samples - ended, tokens, questions)

    @property
    def accuracy(self) -> float:
        """Share of right ones."""
        return self.right / self.samples
