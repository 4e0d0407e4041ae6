"""The records that stages hand on: their fields, their Arrow schemas, and how they are written.

A record is a plain dict; its type here says which keys it has. A folder of records holds Parquet
parts (see `parquet`) of one type, its fields in the order declared. `X | None` is a column that
may be null, no other one is.

    Sample            sample/records, sample/greedy, evaluate/SPLIT/drafts and /samples,
                      student/one-shot, /samples-R and /dev-R, pretrain/NAME/dev, ...
    Solution          student/solutions-R
    LabelledDraft     rollout/records, evaluate/SPLIT/step_labels
    Pair              refiner/pairs
    StepScores        evaluate/SPLIT/scores/MODEL
    Refinement        evaluate/SPLIT/refinements, /base_refinements and /backtracks
    LogLikelihood     evaluate/SPLIT/scores/loglik, .../base_loglik

As a program it prints the records of a folder as JSON Lines, for tools that do not read Parquet:

    python -m glore_jax.records runs/tiny/rollout/records > labels.jsonl
"""

import dataclasses
import itertools
import json
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, Self, TypedDict, TypeVar

import pyarrow as pa
from absl import app, flags
from etils import epath

from glore_jax import parquet
from glore_jax.errors import UserError
from glore_jax.parquet import Rows


class Sample(TypedDict):
    """A solution that a model wrote (or, `policy` "worked", that the task brings), and its grade.

    Fields:
      question_id, question, gold: the problem: its name, its text, its right final answer.
      sample_id: number of the sample among those of its question.
      steps: lines of the solution, up to its answer line.
      answer: the final answer as written; None if there is none.
      correct: whether the answer equals `gold`.
      ended: whether the text came to an end before `max_new` tokens.
      tokens: drawn, without end-of-sequence; 0 of a worked solution.
      logprob: natural logarithm of the text's probability at temperature 1, end-of-sequence
        included; None of a worked solution.
      seed: of the run.
      policy: the folder of records that it was drawn for, or `labels.outcome.GREEDY`, `WORKED`.
    """

    question_id: str
    sample_id: int
    question: str
    gold: str
    steps: list[str]
    answer: str | None
    correct: bool
    ended: bool
    tokens: int
    logprob: float | None
    seed: int
    policy: str


class Trace(TypedDict):
    """A rollout of the labelling: the `steps` that it wrote behind the first `cut` of a draft.

    `verified`: whether it shows that those can still lead to the right answer.
    """

    cut: int
    rollout: int
    steps: list[str]
    verified: bool


class LabelledDraft(TypedDict):
    """A sample with a label for each step, and the evidence for it.

    `prompt`, `completions` and `labels` are what other libraries call stepwise supervision. One
    entry a step in `completions`, `labels` (1 good, 0 bad), `hits`, `tries` and `source`; see
    `labels.stepwise.StepLabels`. `tokens` were drawn for it, end-of-sequence included.
    """

    question_id: str
    sample_id: int
    prompt: str
    gold: str
    completions: list[str]
    labels: list[int]
    hits: list[int]
    tries: list[int]
    source: list[str]
    schedule: str
    first_error: int
    correct: bool
    tokens: int
    traces: list[Trace]


class Pair(TypedDict):
    """A wrong draft, where it goes wrong, and a right solution: what the refiner learns from.

    Or a right draft that is its own target (`refiner.keep_right`). `kind` is "global" or "local";
    `first_error` is the index of the step behind `[BAD]`.
    """

    question_id: str
    kind: str
    prompt: str
    draft: list[str]
    first_error: int
    target: list[str]


class Refinement(TypedDict):
    """Another solution to a question, made from its draft with a view to step `bad`.

    The refiner's with `[BAD]` in front of that step, the untrained base's behind the steps before
    it, or, as number `rollout`, the student's from there on. `tokens` were drawn for it, without
    end-of-sequence.
    """

    question_id: str
    bad: int
    rollout: int
    steps: list[str]
    ended: bool
    correct: bool
    tokens: int


class StepScores(TypedDict):
    """A reward model's probability for each step of a solution, in 0..1."""

    scores: list[float]


class LogLikelihood(TypedDict):
    """The natural logarithm of a solution's probability under a model, at temperature 1."""

    loglik: float


class Solution(TypedDict):
    """A solution that the student learns from."""

    question_id: str
    question: str
    steps: list[str]


Record = TypeVar("Record")  # one of the types above

PART_ROWS = 4096  # of a part whose records are not made part by part

_SCALARS = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def schema_of(kind: type) -> pa.Schema:
    """The Arrow schema of a record type: str, int, float, bool, lists, records inside records.

    TypeError naming the field if it has another type.
    """
    return pa.schema(_fields(kind))


def _fields(kind: type) -> list[pa.Field]:
    hints = typing.get_type_hints(kind)
    return [_field(name, hint, f"{kind.__name__}.{name}") for name, hint in hints.items()]


def _field(name: str, hint: Any, place: str) -> pa.Field:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    others = [option for option in options if option is not type(None)]
    if len(others) != 1:
        raise TypeError(f"{place}: a column has one type, not {hint}")
    return pa.field(name, _arrow_type(others[0], place), nullable=len(others) < len(options))


def _arrow_type(hint: Any, place: str) -> pa.DataType:
    if hint in _SCALARS:
        return _SCALARS[hint]
    if typing.get_origin(hint) is list:
        # "element" is Parquet's own name for it, so a schema that was read equals this one.
        (element,) = typing.get_args(hint)
        return pa.list_(_field("element", element, place))
    if typing.is_typeddict(hint):
        return pa.struct(_fields(hint))
    raise TypeError(f"{place}: no Arrow type for {hint}")


def write_part(
    folder: epath.PathLike,
    index: int,
    rows: Sequence[Record],
    kind: type[Record],
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write records of type `kind` as part `index` of `folder`, see `parquet.write_part`."""
    parquet.write_part(folder, index, typing.cast(Any, rows), schema_of(kind), notes)


def write_all(folder: epath.PathLike, rows: Iterable[Record], kind: type[Record]) -> list[int]:
    """Writes records as they come, in parts; how many rows each part has."""
    counts: list[int] = []
    for part in in_parts(rows):
        write_part(folder, len(counts), part, kind)
        counts.append(len(part))
    return counts


def in_parts(rows: Iterable[Record]) -> Iterator[list[Record]]:
    """Up to `PART_ROWS` of `rows` at a time; no rows at all are one empty part."""
    rest = iter(rows)
    part = list(itertools.islice(rest, PART_ROWS))
    yield part
    while part := list(itertools.islice(rest, PART_ROWS)):
        yield part


@dataclasses.dataclass(frozen=True)
class StoredRecords(Generic[Record]):
    """Records that lie in folders, in their order; read from there each time they are gone through.

    Attributes:
      kind: of the records.
      folders: (folder, rows of each of its parts), one behind the other.
      fields: that the records have; None: all.
    """

    kind: type[Record]
    folders: tuple[tuple[epath.Path, tuple[int, ...]], ...]
    fields: tuple[str, ...] | None = None

    @classmethod
    def of(cls, folder: epath.Path, kind: type[Record], rows: Sequence[int]) -> Self:
        return cls(kind, ((folder, tuple(rows)),))

    def __add__(self, others: Self) -> Self:
        return dataclasses.replace(self, folders=self.folders + others.folders)

    def __len__(self) -> int:
        return sum(sum(rows) for _, rows in self.folders)

    def __iter__(self) -> Iterator[Record]:
        for folder, rows in self.folders:
            yield from stream(folder, self.kind, self.fields, rows)

    def select(self, *fields: str) -> Self:
        """The same records with these fields only: the others are not read."""
        return dataclasses.replace(self, fields=fields)

    def columns(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The records as columns; see `stream_columns`."""
        for folder, rows in self.folders:
            yield from stream_columns(folder, self.kind, names, rows)


def read(folder: epath.PathLike, kind: type[Record], rows: Rows = None) -> list[Record]:
    """All records of `folder`, which are of type `kind`, as one list: for small folders.

    rows, errors: as for `parquet.stream`.
    """
    return list(stream(folder, kind, rows=rows))


def stream(
    folder: epath.PathLike,
    kind: type[Record],
    columns: Sequence[str] | None = None,
    rows: Rows = None,
) -> Iterator[Record]:
    """The records of `folder`, which are of type `kind`, one after the other; few are in memory.

    columns: the fields that they have; None: all. rows, errors: as for `parquet.stream`.
    """
    for batch in stream_columns(folder, kind, columns, rows):
        yield from typing.cast(list[Record], batch.to_pylist())


def stream_columns(
    folder: epath.PathLike,
    kind: type[Record],
    columns: Sequence[str] | None = None,
    rows: Rows = None,
) -> Iterator[pa.RecordBatch]:
    """As `stream`, as columns: up to `parquet.BATCH_ROWS` records at a time."""
    del kind  # for the type checker; a folder holds what was written to it
    return parquet.stream(folder, columns, rows)


# The program.


def lines(folder: str, columns: list[str] | None) -> Iterator[str]:
    """The records of `folder` as JSON, all its parts in order, with all or the named columns.

    UserError: the folder holds no records, a part is damaged, or a column does not exist.
    """
    for batch in parquet.stream(folder, columns):
        for record in batch.to_pylist():
            names = columns or list(record)
            yield json.dumps({name: record[name] for name in names}, ensure_ascii=False)


def main(argv: list[str]) -> int:
    try:
        if len(argv) != 2:
            raise UserError("give one folder of records, such as runs/tiny/rollout/records")
        for line in lines(argv[1], flags.FLAGS.columns):
            print(line)
        return 0
    except UserError as e:
        print(f"glore: error: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    flags.DEFINE_list("columns", None, "only these, separated by commas, in this order")
    app.run(main)
