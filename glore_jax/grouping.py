"""Records question by question, in the order of the questions' ids, whatever their number.

A sort that needs a fraction of the records in memory. The ids are read first and cut into ranges of
about as many records each; then every record goes to the bucket of its range, on this machine's
disk, and buckets are sorted one after the other:

    in the folder    d0 a0 c0 | b0 a1 d1 | c1 b1 ...
    buckets          a0 b0 a1 b1          d0 c0 d1 c1        ids up to b; from c on
    groups           a0 a1    b0 b1       c0 c1    d0 d1

The records of a group keep the order that they have in the folder.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from etils import epath

from glore_jax import parquet
from glore_jax.parquet import Rows
from glore_jax.records import Record
from glore_jax.scratch import ScratchFile

Left = TypeVar("Left")
Right = TypeVar("Right")

KEY = "question_id"

_BUCKET_ROWS = 16384  # records that are sorted in memory
_MOST_BUCKETS = 512  # of larger ones then: a bucket that gets a record at a time is slow
_PIECE_ROWS = 16384  # read before they are dealt out to the buckets
_RANK = "rank of the question"  # a column beside those of the records; no field has this name

# columns, all or those named -> the records, some at a time, each time from the beginning
Read = Callable[[Sequence[str] | None], Iterator[pa.RecordBatch]]


class Groups(Generic[Record]):
    """The records of each question; can be gone through again and again.

    Args:
      kind: of the records, for the type checker.
      read: gives all records; it is called twice before the first group comes.
      columns: the fields that the records have; None: all. The id of the question is among them.
    """

    def __init__(self, kind: type[Record], read: Read, columns: Sequence[str] | None = None):
        del kind
        self._columns = columns
        self._read = read
        self._buckets: _Buckets | None = None

    def __iter__(self) -> Iterator[list[Record]]:
        if self._buckets is None:
            self._buckets = _sort_into_buckets(self._read, self._columns)
        for table in self._buckets:
            yield from cast(Iterator[list[Record]], _groups_of(table))


def of_folder(
    folder: epath.PathLike,
    kind: type[Record],
    columns: Sequence[str] | None = None,
    rows: Rows = None,
) -> Groups[Record]:
    """The records of `folder`; arguments and errors as for `records.stream`."""
    return Groups(kind, lambda names: parquet.stream(folder, names, rows), columns)


def joined(
    groups: Iterable[Sequence[Left]], others: Iterable[Sequence[Right]]
) -> Iterator[tuple[Sequence[Left], Sequence[Right]]]:
    """Each of `groups` with the group of `others` of the same question, empty if there is none.

    Both in ascending order of the ids.
    """
    rest = iter(others)
    other = next(rest, None)
    for group in groups:
        while other is not None and _id_of(other) < _id_of(group):
            other = next(rest, None)
        same = other is not None and _id_of(other) == _id_of(group)
        yield group, other if other is not None and same else []


def _id_of(group: Sequence[Any]) -> str:
    return group[0][KEY]


# Sorting.


@dataclasses.dataclass(frozen=True)
class _Buckets:
    """Tables on the local disk, in pieces; `pieces[b]`: (where, how many bytes) of bucket b."""

    file: ScratchFile
    pieces: list[list[tuple[int, int]]]

    def __iter__(self) -> Iterator[pa.Table]:
        for places in self.pieces:
            parts = [_unpacked(self.file.read(*place)) for place in places]
            if parts:
                yield pa.concat_tables(parts)


def _sort_into_buckets(read: Read, columns: Sequence[str] | None) -> _Buckets:
    ranks = _ranks(read)
    buckets = _buckets_of(ranks)
    file = ScratchFile()
    pieces: list[list[tuple[int, int]]] = [[] for _ in range(int(buckets.max(initial=-1)) + 1)]
    start = 0
    for table in _tables(read(columns)):
        mine = ranks[start : start + table.num_rows]
        start += table.num_rows
        table = table.append_column(_RANK, pa.array(mine))
        for bucket in np.unique(buckets[mine]).tolist():
            chosen = table.take(np.flatnonzero(buckets[mine] == bucket))
            data = _packed(chosen)
            pieces[bucket].append((file.append(data), len(data)))
    return _Buckets(file, pieces)


def _ranks(read: Read) -> np.ndarray:
    """int32 [records]: how many different ids come before that of each record."""
    chunks = [batch.column(0).dictionary_encode() for batch in read([KEY])]
    if not chunks:
        return np.zeros(0, np.int32)
    ids = pa.chunked_array(chunks).unify_dictionaries()
    order = pc.array_sort_indices(ids.chunk(0).dictionary).to_numpy()
    rank_of = np.empty(len(order), np.int32)
    rank_of[order] = np.arange(len(order), dtype=np.int32)
    return np.concatenate([rank_of[chunk.indices.to_numpy()] for chunk in ids.chunks])


def _buckets_of(ranks: np.ndarray) -> np.ndarray:
    """int64 [different ids]: the bucket of each id, by its rank."""
    sizes = np.bincount(ranks)
    before = np.cumsum(sizes) - sizes
    return before // max(_BUCKET_ROWS, -(-len(ranks) // _MOST_BUCKETS))


def _tables(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= _PIECE_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _packed(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _unpacked(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(use_threads=False)) as reader:
        return reader.read_all()


def _groups_of(table: pa.Table) -> Iterator[list[dict]]:
    ranks = table.column(_RANK).to_numpy()
    order = np.argsort(ranks, kind="stable")  # keeps the order of the folder within a question
    rows = table.drop_columns([_RANK]).take(order).combine_chunks()
    edges = np.flatnonzero(np.diff(ranks[order], prepend=-1, append=-1)).tolist()
    for start, end in zip(edges, edges[1:], strict=False):
        yield rows.slice(start, end - start).to_pylist()
