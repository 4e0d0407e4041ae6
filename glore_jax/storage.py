"""Records on disk: JSON, JSON Lines and Parquet parts, on any path that `etils.epath` opens.

Two promises hold for every writer here. A file is either absent or whole: the bytes go to a temporary name in
the same folder, which is then renamed, so a killed or pre-empted run never leaves half a file under the final
name. And a failed write (disk full, no permission) leaves nothing behind and raises a `UserError` that names
the path.

Records are split into parts, `folder/part-00003.parquet`. A part is the unit of restart: `has_part` says what
is done already, and `read_records` puts the parts together again in the order of their indices.
"""

import contextlib
import hashlib
import io
import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from glore_jax.errors import UserError

_PART = re.compile(r"part-(\d{5,})\.parquet")


def path(p: epath.PathLike) -> epath.Path:
    """`p` as an `epath.Path`, with a leading `~` expanded."""
    return epath.Path(p).expanduser()


@contextlib.contextmanager
def _refusals(doing: str, p: epath.Path) -> Iterator[None]:
    """Turn a refusal of the file system into a UserError that says what was being done to `p`."""
    try:
        yield
    except FileNotFoundError as e:
        raise UserError(f"cannot {doing} {p}: no such file or folder") from e
    except (
        OSError,
        ImportError,
    ) as e:  # ImportError: epath finds the client of gs:// or s3:// not installed
        raise UserError(f"cannot {doing} {p}: {getattr(e, 'strerror', None) or e}") from e


# Whole files.


def write_bytes(p: epath.PathLike, data: bytes) -> None:
    """Write `data` to `p` atomically, making missing parent folders; UserError if the file system refuses."""
    target = path(p)
    # The dot hides half-written files from plain listings; the random part lets two processes write one name.
    temp = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    with _refusals("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            temp.write_bytes(data)
            temp.replace(target)
        except BaseException:  # also an interrupt must not leave the temporary file behind
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)
            raise


def read_bytes(p: epath.PathLike) -> bytes:
    """The bytes of file `p`; UserError if it is missing or cannot be read."""
    source = path(p)
    with _refusals("read", source):
        return source.read_bytes()


def write_text(p: epath.PathLike, text: str) -> None:
    """Write `text` to `p` as UTF-8, atomically."""
    write_bytes(p, text.encode())


def read_text(p: epath.PathLike) -> str:
    """The text of UTF-8 file `p` (a byte order mark is dropped); UserError if it is missing or not UTF-8."""
    try:
        return read_bytes(p).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{path(p)}: not UTF-8 text (byte {e.start})") from e


# JSON.


def _plain(obj: Any) -> Any:
    """`obj` as plain JSON values: string keys, arrays as lists, NaN and infinities (not JSON) as null."""
    if isinstance(obj, dict):
        return {str(k): _plain(v) for k, v in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(v) for v in obj]
    if hasattr(obj, "tolist"):  # NumPy and JAX scalars and arrays
        return _plain(obj.tolist())
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj


def _reason(e: Exception) -> str:
    return getattr(e, "msg", None) or str(e)  # a JSONDecodeError's own text repeats the position


def write_json(p: epath.PathLike, obj: Any) -> None:
    """Write `obj` as indented JSON, atomically. Arrays become lists, NaN and infinities become null."""
    write_text(p, json.dumps(_plain(obj), indent=2, ensure_ascii=False) + "\n")


def read_json(p: epath.PathLike) -> Any:
    """The value in JSON file `p`; UserError naming the file (and line) if it is missing or malformed."""
    text = read_text(p)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path(p)}:{getattr(e, 'lineno', 1)}: not valid JSON: {_reason(e)}") from e


def write_jsonl(p: epath.PathLike, rows: Iterable[dict]) -> None:
    """Write `rows` as JSON Lines, one object a line, atomically."""
    write_text(p, "".join(json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows))


def enumerate_jsonl(p: epath.PathLike) -> Iterator[tuple[int, dict]]:
    """(line number from 1, object) for each line of JSON Lines file `p` that is not blank.

    UserError naming file and line if a line is not a JSON object.
    """
    # Not splitlines(): it also cuts at U+2028 and its like, which are legal inside a JSON string.
    for number, line in enumerate(read_text(p).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise UserError(f"{path(p)}:{number}: not valid JSON: {_reason(e)}") from e
        if not isinstance(row, dict):
            raise UserError(
                f"{path(p)}:{number}: expected a JSON object, found {type(row).__name__}"
            )
        yield number, row


def read_jsonl(p: epath.PathLike) -> list[dict]:
    """The objects in JSON Lines file `p`, blank lines skipped; errors as in `enumerate_jsonl`."""
    return [row for _, row in enumerate_jsonl(p)]


def fingerprint(obj: Any) -> str:
    """16 hexadecimal digits that stand for the JSON value of `obj`, whatever the order of its keys."""
    canonical = json.dumps(_plain(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


# Parquet parts.


def part_path(folder: epath.PathLike, index: int) -> epath.Path:
    """Where part `index` (from 0) of the records in `folder` lies."""
    return path(folder) / f"part-{index:05d}.parquet"


def has_part(folder: epath.PathLike, index: int) -> bool:
    """Whether part `index` of `folder` has been written. It is then whole, because writes are atomic."""
    file = part_path(folder, index)
    with _refusals("look for", file):
        return file.exists()


def write_part(folder: epath.PathLike, index: int, rows: list[dict]) -> None:
    """Write `rows` as Parquet part `index` of `folder` (zstd, checksummed pages), atomically.

    Column types are inferred. A key that only some rows have becomes a column in which the other rows hold
    null. No rows is a valid part: it says that this share of the work is done and gave nothing.
    """
    # Table.from_pylist would take its columns from the first row alone and silently drop the other keys.
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({key: pa.array([row.get(key) for row in rows]) for key in columns})
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    write_bytes(part_path(folder, index), buffer.getvalue())


def _read_part(file: epath.Path) -> list[dict]:
    data = read_bytes(file)
    try:
        # Not pq.read_table: its threads may hold on to the bytes while Python ends, which then aborts (exit code -6).
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as part:
            return part.read(use_threads=False).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as e:
        raise UserError(
            f"{file}: truncated or damaged Parquet file; delete the folder of its stage and run again"
        ) from e


def read_part(folder: epath.PathLike, index: int) -> list[dict]:
    """The rows of part `index` of `folder`; UserError naming the file if it is missing or damaged."""
    return _read_part(part_path(folder, index))


def read_records(folder: epath.PathLike) -> list[dict]:
    """The rows of all parts of `folder`, in the order of the part indices.

    Files of other names are ignored. UserError if the folder is missing, holds no part, or a part is damaged or missing
    between others.
    """
    root = path(folder)
    with _refusals("list", root):
        files = list(root.iterdir()) if root.exists() else []
    found = [(int(match[1]), file) for file in files if (match := _PART.fullmatch(file.name))]
    if not found:
        raise UserError(
            f"{root}: holds no part-*.parquet file; run the stage that writes them first"
        )
    found.sort()
    for index, (part, _) in enumerate(found):
        if part != index:
            raise UserError(
                f"{part_path(root, index)} is missing; delete the folder of its stage and run again"
            )
    return [row for _, file in found for row in _read_part(file)]
