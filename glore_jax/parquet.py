"""Records on disk: a folder of Parquet files with one schema, and nothing else in it.

    folder/part-00000.parquet      a part: the rows of one share of the work, in order
    folder/part-00001.parquet
    ...

A part is the unit of restart: it is written in one piece (see `storage`), so `has_part` says what
is done already, and `stream` puts the rows together again in the order of the indices.

Every part has the schema that its writer was given, also one without any row: other tools read
the whole folder as one table. Nothing here knows what the rows mean; see `records`.
"""

import dataclasses
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError

BATCH_ROWS = 1024  # decoded at a time

Rows = Sequence[int] | None  # of each part, where that is known

_NOTES = b"glore_jax"  # key of a part's notes among the metadata of its file
_PART = re.compile(r"part-(\d{5,})\.parquet")
_AGAIN = "delete the folder of its stage and run again"


def part_path(folder: epath.PathLike, index: int) -> epath.Path:
    """Where part `index` (from 0) of the records in `folder` lies."""
    return storage.path(folder) / f"part-{index:05d}.parquet"


def has_part(folder: epath.PathLike, index: int) -> bool:
    """Whether part `index` of `folder` has been written. It is then whole."""
    return storage.exists(part_path(folder, index))


def write_part(
    folder: epath.PathLike,
    index: int,
    rows: Sequence[Mapping[str, Any]],
    schema: pa.Schema,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write `rows` as part `index` of `folder` (zstd, checksummed pages), atomically.

    No rows is a valid part: it says that this share of the work is done and gave nothing. `notes`,
    JSON values, become metadata of the file: see `read_footer`.

    Raises:
      ValueError: a row lacks a key of `schema` or has another one, a value is of another type, or
        a field that may not be null is None. Names the key; a mistake of the program.
      UserError: the file system refuses.
    """
    _check_rows(rows, schema)
    columns = [_column(field, [row[field.name] for row in rows]) for field in schema]
    buffer = io.BytesIO()
    noted = schema.with_metadata({_NOTES: json.dumps(notes)}) if notes else schema
    pq.write_table(
        pa.Table.from_arrays(columns, schema=noted),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    storage.write_bytes(part_path(folder, index), buffer.getvalue())


@dataclasses.dataclass(frozen=True)
class Footer:
    """What the file of a part says of itself: how many rows it has, and the writer's notes."""

    rows: int
    notes: dict[str, Any]


def read_footer(folder: epath.PathLike, index: int) -> Footer | None:
    """The footer of part `index` of `folder`; None if the part is missing or cut off."""
    if not has_part(folder, index):
        return None
    data = storage.read_bytes(part_path(folder, index))
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as part:
            notes = (part.metadata.metadata or {}).get(_NOTES, b"{}")
            return Footer(part.metadata.num_rows, json.loads(notes))
    except (pa.ArrowException, OSError, ValueError):
        return None


def read_part(folder: epath.PathLike, index: int) -> list[dict]:
    """The rows of part `index` of `folder`; UserError naming the file if missing or damaged."""
    batches = _stream_part(part_path(folder, index), None, None)
    return [row for batch in batches for row in batch.to_pylist()]


def read_records(folder: epath.PathLike, rows: Rows = None) -> list[dict]:
    """The rows of all parts of `folder` as one list; see `stream`."""
    return [row for batch in stream(folder, rows=rows) for row in batch.to_pylist()]


def stream(
    folder: epath.PathLike, columns: Sequence[str] | None = None, rows: Rows = None
) -> Iterator[pa.RecordBatch]:
    """The rows of all parts of `folder`, in the order of the part indices, some at a time.

    No more than one part's file and `BATCH_ROWS` decoded rows are in memory.

    Args:
      columns: names of the columns to read; None: all. They come in the order of the schema.
      rows: how many rows each part must have. The parts are then opened by name, and nothing
        depends on a listing of the folder. None: the parts that are there, and files of other
        names are ignored.

    Raises:
      UserError: the folder is missing, holds no part, or a part is missing between others, is
        damaged, has another number of rows than expected, or lacks a column. Names the file.
    """
    if rows is None:
        files = _listed_parts(storage.path(folder))
        counts: Sequence[int | None] = [None] * len(files)
    else:
        files = [part_path(folder, index) for index in range(len(rows))]
        counts = rows
    for file, count in zip(files, counts, strict=True):
        yield from _stream_part(file, columns, count)


def _listed_parts(root: epath.Path) -> list[epath.Path]:
    names = storage.names(root)
    found = {int(match[1]): root / name for name in names if (match := _PART.fullmatch(name))}
    if not found:
        raise UserError(
            f"{root}: holds no part-*.parquet file; run the stage that writes them first"
        )
    for index in range(max(found)):
        if index not in found:
            raise UserError(f"{part_path(root, index)} is missing; {_AGAIN}")
    return [found[index] for index in sorted(found)]


def _stream_part(
    file: epath.Path, columns: Sequence[str] | None, rows: int | None
) -> Iterator[pa.RecordBatch]:
    # Whole, in one request: a part is small, and a bucket answers ranges one by one.
    data = storage.read_bytes(file)
    try:
        # No threads, and not pq.read_table: they may hold on to the bytes while Python ends, which
        # then aborts (exit code -6).
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as part:
            _check_part(file, part, columns, rows)
            yield from part.iter_batches(BATCH_ROWS, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as e:
        raise UserError(f"{file}: truncated or damaged Parquet file; {_AGAIN}") from e


def _check_part(
    file: epath.Path, part: pq.ParquetFile, columns: Sequence[str] | None, rows: int | None
) -> None:
    if rows is not None and part.metadata.num_rows != rows:
        raise UserError(f"{file}: holds {part.metadata.num_rows} rows instead of {rows}; {_AGAIN}")
    known = part.schema_arrow.names
    for column in columns or ():
        if column not in known:
            raise UserError(f"{file} has no column {column!r}: choose from {', '.join(known)}")


def _column(field: pa.Field, values: list) -> pa.Array:
    try:
        return pa.array(values, field.type)
    except pa.ArrowException as e:
        raise ValueError(f"key {field.name!r}: {e}") from e


def _check_rows(
    rows: Iterable[Mapping[str, Any]], fields: Iterable[pa.Field], within: str = ""
) -> None:
    """ValueError unless each row has just the keys of `fields`, and None only where it may be.

    Arrow itself would fill a missing key with null, drop an unknown one, and write null in place
    of a list as an empty list. Rows inside rows are checked too; `within` is where they stand.
    """
    fields = list(fields)
    expected = {field.name for field in fields}
    for row in rows:
        for key in expected - row.keys():
            raise ValueError(f"a row has no key {within + key!r}")
        for key in row.keys() - expected:
            raise ValueError(f"a row has the unknown key {within + key!r}")
        for field in fields:
            if row[field.name] is None and not field.nullable:
                raise ValueError(f"key {within + field.name!r} is None, and may not be")
    for field in fields:
        values = [row[field.name] for row in rows if row[field.name] is not None]
        if pa.types.is_struct(field.type):
            _check_rows(values, field.type, f"{within}{field.name}.")
        if pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            inner = [value for some in values for value in some]
            _check_rows(inner, field.type.value_type, f"{within}{field.name}.")
