"""Files on any path that `etils.epath` opens: bytes, text, JSON and JSON Lines.

A file is either absent or whole. The bytes go to a temporary name in the same folder, which is
then renamed, so a killed or pre-empted run never leaves half a file under the final name. A
failed write (disk full, no permission) leaves nothing behind.

Whatever the file system refuses comes out as a `UserError` of one line that names the path.
"""

import contextlib
import hashlib
import json
import math
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from glore_jax.errors import UserError


def path(p: epath.PathLike) -> epath.Path:
    """`p` as an `epath.Path`, with a leading `~` expanded."""
    return epath.Path(p).expanduser()


@contextlib.contextmanager
def refusals(doing: str, p: epath.Path) -> Iterator[None]:
    """Turns a refusal of the file system into a UserError: "cannot `doing` `p`: why"."""
    try:
        yield
    except FileNotFoundError as e:
        raise UserError(f"cannot {doing} {p}: no such file or folder") from e
    except (OSError, ImportError) as e:
        # ImportError: epath finds the client of gs:// or s3:// not installed.
        raise UserError(f"cannot {doing} {p}: {getattr(e, 'strerror', None) or e}") from e


# Whole files.


def write_bytes(p: epath.PathLike, data: bytes) -> None:
    """Write `data` to `p` atomically, making missing parent folders.

    UserError if the file system refuses.
    """
    target = path(p)
    # The dot hides a half-written file from plain listings and from readers of a whole folder;
    # the random part lets two processes write the same name.
    temp = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    with refusals("write", target):
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
    with refusals("read", source):
        return source.read_bytes()


def write_text(p: epath.PathLike, text: str) -> None:
    """Write `text` to `p` as UTF-8, atomically."""
    write_bytes(p, text.encode())


def read_text(p: epath.PathLike) -> str:
    """The text of UTF-8 file `p`, without a byte order mark.

    UserError if it is missing or not UTF-8.
    """
    try:
        return read_bytes(p).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise UserError(f"{path(p)}: not UTF-8 text (byte {e.start})") from e


# JSON.


def write_json(p: epath.PathLike, obj: Any) -> None:
    """Write `obj` as indented JSON, atomically.

    Arrays become lists, NaN and infinities (which JSON does not have) become null.
    """
    write_text(p, json.dumps(_plain(obj), indent=2, ensure_ascii=False) + "\n")


def read_json(p: epath.PathLike) -> Any:
    """The value in JSON file `p`; UserError naming file and line if it is missing or malformed."""
    text = read_text(p)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        line = getattr(e, "lineno", 1)
        raise UserError(f"{path(p)}:{line}: not valid JSON: {_reason(e)}") from e


def write_jsonl(p: epath.PathLike, rows: Iterable[dict]) -> None:
    """Write `rows` as JSON Lines, one object a line, atomically."""
    lines = [json.dumps(_plain(row), ensure_ascii=False) + "\n" for row in rows]
    write_text(p, "".join(lines))


def enumerate_jsonl(p: epath.PathLike) -> Iterator[tuple[int, dict]]:
    """(line number from 1, object) for each line of JSON Lines file `p` that is not blank.

    UserError naming file and line if a line is not a JSON object.
    """
    # Not splitlines(): it also cuts at U+2028 and its like, which are legal inside a JSON string.
    lines = read_text(p).split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path(p)}:{number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise UserError(f"{place}: not valid JSON: {_reason(e)}") from e
        if not isinstance(row, dict):
            raise UserError(f"{place}: expected a JSON object, found {type(row).__name__}")
        yield number, row


def read_jsonl(p: epath.PathLike) -> list[dict]:
    """The objects in JSON Lines file `p`, blank lines skipped; errors as in `enumerate_jsonl`."""
    return [row for _, row in enumerate_jsonl(p)]


def fingerprint(obj: Any) -> str:
    """16 hexadecimal digits that stand for the JSON value of `obj`, in any order of its keys."""
    canonical = json.dumps(_plain(obj), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _plain(obj: Any) -> Any:
    """`obj` as plain JSON values: string keys, arrays as lists, what is not finite as null."""
    if isinstance(obj, dict):
        return {str(key): _plain(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [_plain(value) for value in obj]
    if hasattr(obj, "tolist"):  # NumPy and JAX scalars and arrays
        return _plain(obj.tolist())
    if isinstance(obj, float) and not math.isfinite(obj):
        return None
    return obj


def _reason(e: Exception) -> str:
    # A JSONDecodeError's own text repeats the position, its `msg` does not.
    return getattr(e, "msg", None) or str(e)
