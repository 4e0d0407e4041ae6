"""Records on disk: a folder of Parquet files with one schema, and nothing else in it.

    folder/part-00000.parquet      a part: the rows of one share of the work, in order
    folder/part-00001.parquet
    ...

A part is the unit of restart: it is written in one piece (see `storage`), so `has_part` says what
is done already, and `read_records` puts the rows together again in the order of the indices.

Every part has the schema that its writer was given, also one without any row: other tools read
the whole folder as one table. Nothing here knows what the rows mean; see `records`.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError

_PART = re.compile(r"part-(\d{5,})\.parquet")
_AGAIN = "delete the folder of its stage and run again"


def part_path(folder: epath.PathLike, index: int) -> epath.Path:
    """Where part `index` (from 0) of the records in `folder` lies."""
    return storage.path(folder) / f"part-{index:05d}.parquet"


def has_part(folder: epath.PathLike, index: int) -> bool:
    """Whether part `index` of `folder` has been written. It is then whole."""
    return storage.exists(part_path(folder, index))


def write_part(
    folder: epath.PathLike, index: int, rows: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> None:
    """Write `rows` as part `index` of `folder` (zstd, checksummed pages), atomically.

    No rows is a valid part: it says that this share of the work is done and gave nothing.

    Raises:
      ValueError: a row lacks a key of `schema` or has another one, a value is of another type, or
        a field that may not be null is None. Names the key; a mistake of the program.
      UserError: the file system refuses.
    """
    _check_rows(rows, schema)
    columns = [_column(field, [row[field.name] for row in rows]) for field in schema]
    buffer = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        buffer,
        compression="zstd",
        write_page_checksum=True,
    )
    storage.write_bytes(part_path(folder, index), buffer.getvalue())


def read_part(folder: epath.PathLike, index: int) -> list[dict]:
    """The rows of part `index` of `folder`; UserError naming the file if missing or damaged."""
    return _read_part(part_path(folder, index))


def read_records(folder: epath.PathLike) -> list[dict]:
    """The rows of all parts of `folder`, in the order of the part indices.

    Files of other names are ignored. UserError if the folder is missing, holds no part, or a part
    is damaged or missing between others.
    """
    root = storage.path(folder)
    named = storage.names(root)
    found = {int(match[1]): root / name for name in named if (match := _PART.fullmatch(name))}
    if not found:
        raise UserError(
            f"{root}: holds no part-*.parquet file; run the stage that writes them first"
        )
    for index in range(max(found)):
        if index not in found:
            raise UserError(f"{part_path(root, index)} is missing; {_AGAIN}")
    return [row for index in sorted(found) for row in _read_part(found[index])]


def _read_part(file: epath.Path) -> list[dict]:
    data = storage.read_bytes(file)
    try:
        # Not pq.read_table, and no threads: they may hold on to the bytes while Python ends,
        # which then aborts (exit code -6).
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as part:
            return part.read(use_threads=False).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as e:
        raise UserError(f"{file}: truncated or damaged Parquet file; {_AGAIN}") from e


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
