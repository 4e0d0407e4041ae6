"""Files on any path that `etils.epath` opens, a disk or a bucket: bytes, text, JSON, JSON Lines.

A file is either absent or whole, so a killed or pre-empted run never leaves half a file under its
name, and a failed write (disk full, no permission) leaves nothing behind:

    on a disk     bytes go to a temporary name in the same folder, are brought to the disk, and
                  then renamed
    in a bucket   an upload becomes an object when it is complete, by itself; up to 50 MiB are one
                  request

Nothing is remembered of a bucket: what another process has written is seen at once. Requests that
fail in passing are sent again (see `gcs`). Whatever is refused for good comes out as a `UserError`
of one line that names the path, what may work later as a `TransientError`.
"""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from etils import epath

from glore_jax.errors import TransientError, UserError, is_passing, refuse

_BLOCK_BYTES = 1 << 25  # of a stream into a bucket: one request, held in memory
_MOVERS = 16  # objects that move side by side
# Clients of object stores, and what they rest on; their errors are no mistakes of this program.
_CLIENTS = {"aiohttp", "azure", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}
# TensorStore's refusals are ValueErrors with such a beginning, or with the system's code inside.
_TENSORSTORE = re.compile(r"(NOT_FOUND|PERMISSION_DENIED|UNAUTHENTICATED): |.*os_error_code", re.S)


def path(p: epath.PathLike) -> epath.Path:
    """`p` as an `epath.Path`, with a leading `~` expanded.

    UserError if it is a gs:// path and the client for those is not installed.
    """
    if os.fspath(p).startswith("gs://"):
        _register_client()
    return epath.Path(p).expanduser()


def is_remote(p: epath.PathLike) -> bool:
    """Whether `p` lies in an object store, where folders exist only through their files."""
    return "://" in os.fspath(p)


@functools.cache
def _register_client() -> None:
    """Makes `gcs.Client` open gs:// for the whole process, whoever asks."""
    import fsspec

    try:
        from glore_jax import gcs
    except ImportError as error:
        raise UserError(f"gs:// needs the package gcsfs ({error}): pip install gcsfs") from error
    for protocol in gcs.Client.protocol:
        fsspec.register_implementation(protocol, gcs.Client, clobber=True)


def _client(p: epath.Path) -> Any:
    """The fsspec client of the store in which `p` lies."""
    import fsspec

    return fsspec.filesystem(os.fspath(p).partition("://")[0])


# Refusals.


def refused(error: BaseException, doing: str) -> UserError | None:
    """What `error`, caught while `doing` something with files, stands for.

    A refusal of a file system, an object store, TensorStore or the network becomes a UserError
    "cannot `doing`: why", or a TransientError if it may work later. None if `error` is none of
    these but a mistake of the program.
    """
    if isinstance(error, UserError):
        return error
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    reason = reason or type(error).__name__
    if is_passing(error):
        return TransientError(f"cannot {doing}: {reason}; the same command later goes on from here")
    return UserError(f"cannot {doing}: {reason}") if _is_refusal(error) else None


def _is_refusal(error: BaseException) -> bool:
    # ImportError: the client of gs:// or s3:// is not installed.
    if isinstance(error, OSError | ImportError):
        return True
    if isinstance(error, ValueError) and _TENSORSTORE.match(str(error)):
        return True
    return type(error).__module__.partition(".")[0] in _CLIENTS


@contextlib.contextmanager
def refusals(doing: str, p: epath.Path) -> Iterator[None]:
    """Turns a refusal of the file system into a UserError: "cannot `doing` `p`: why".

    A TransientError where it may work later.
    """
    try:
        yield
    except FileNotFoundError as e:
        what = "bucket" if is_remote(p) and doing == "write" else "file or folder"
        raise UserError(f"cannot {doing} {p}: no such {what}") from e
    except Exception as e:
        refusal = refused(e, f"{doing} {p}")
        if refusal is None:
            raise
        raise refusal from e


# Folders.


def exists(p: epath.PathLike) -> bool:
    """Whether there is a file or folder `p`."""
    target = path(p)
    with refusals("look for", target):
        if not is_remote(target):
            return target.exists()
        try:
            _client(target).info(os.fspath(target))
        except FileNotFoundError:
            return False
        return True


def names(folder: epath.PathLike) -> list[str]:
    """Names of the files and folders in `folder`, in order; none if it does not exist."""
    root = path(folder)
    with refusals("list", root):
        if not is_remote(root):
            return sorted(os.listdir(root)) if root.exists() else []
        try:
            inside = _client(root).ls(os.fspath(root), detail=False)
        except FileNotFoundError:
            return []
    own = os.fspath(root).partition("://")[2].rstrip("/")
    return sorted(name.rstrip("/").rpartition("/")[2] for name in inside if name.strip("/") != own)


def remove(p: epath.PathLike) -> None:
    """Removes file `p`; it may be gone already."""
    target = path(p)
    with refusals("remove", target), contextlib.suppress(FileNotFoundError):
        if is_remote(target):
            _client(target).rm_file(os.fspath(target))
        else:
            target.unlink()


def move_folder(source: epath.PathLike, target: epath.PathLike) -> None:
    """Makes folder `source` be `target`, which is not there; on a disk at once, else file by file.

    UserError or TransientError if the file system refuses.
    """
    if is_remote(source):
        move_files(source, target)
        return
    with refusals("move", path(source)):
        path(source).rename(target)


def move_files(
    source: epath.PathLike,
    target: epath.PathLike,
    wanted: Callable[[str], bool] = lambda name: True,
) -> None:
    """Moves all files under folder `source` of an object store under `target`.

    Those whose path below `source` is not `wanted` stay. An object is copied, then removed. Cut
    off, each is in one place or in both, and the same call goes on from there. UserError or
    TransientError if the store refuses.
    """
    folder = path(source)
    client = _client(folder)
    root = os.fspath(folder).partition("://")[2].rstrip("/")

    def move(file: str) -> None:
        place = file.removeprefix(root)
        if wanted(place.removeprefix("/")):
            client.cp_file(file, f"{os.fspath(target)}{place}")
            client.rm_file(file)

    with refusals("move", folder), concurrent.futures.ThreadPoolExecutor(_MOVERS, "move") as pool:
        # If one fails, `map` does not begin with what still waits.
        list(pool.map(move, client.find(os.fspath(folder))))


# Whole files.


@contextlib.contextmanager
def open_whole(p: epath.PathLike) -> Iterator[IO[bytes]]:
    """A stream into `p`, which appears when the block ends, whole, and not if the block is left
    by an error. Makes missing parent folders.

    UserError or TransientError if the file system refuses.
    """
    target = path(p)
    opened = _open_remote(target) if is_remote(target) else _open_local(target)
    with refusals("write", target), opened as stream:
        yield stream


@contextlib.contextmanager
def _open_local(target: epath.Path) -> Iterator[IO[bytes]]:
    # The dot hides a half-written file from plain listings and from readers of a whole folder;
    # the random part lets two processes write the same name.
    temp = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temp, "wb") as stream:
            yield stream
            # Otherwise a crash of the machine may leave the new name with nothing in it.
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temp, target)
    except BaseException:  # also an interrupt must not leave the temporary file behind
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _open_remote(target: epath.Path) -> Iterator[Any]:
    stream = _client(target).open(os.fspath(target), "wb", block_size=_BLOCK_BYTES)
    try:
        yield stream
    except BaseException:
        with contextlib.suppress(Exception):
            stream.discard()
        stream.closed = True  # closing it, and be it by the garbage collector, would complete it
        raise
    stream.close()


def write_bytes(p: epath.PathLike, data: bytes) -> None:
    """Write `data` to `p` atomically, making missing parent folders.

    UserError or TransientError if the file system refuses.
    """
    target = path(p)
    if is_remote(target):
        with refusals("write", target):
            _client(target).pipe_file(os.fspath(target), data)
    else:
        with open_whole(target) as stream:
            stream.write(data)


def read_bytes(p: epath.PathLike) -> bytes:
    """The bytes of file `p`; UserError if it is missing or cannot be read."""
    source = path(p)
    with refusals("read", source):
        if is_remote(source):
            return _client(source).cat_file(os.fspath(source))
        return source.read_bytes()


def read_range(p: epath.PathLike, start: int, stop: int) -> bytes:
    """Bytes `start` to `stop` of file `p`, fewer where it ends before; in a bucket one request."""
    buffer = bytearray(stop - start)
    return bytes(buffer[: read_into(p, start, memoryview(buffer))])


def read_into(p: epath.PathLike, start: int, buffer: memoryview) -> int:
    """Fills `buffer` from byte `start` of file `p` on; how much of it, less where the file ends.

    In a bucket it is one request; threads may have many under way.
    """
    source = path(p)
    with refusals("read", source):
        if not is_remote(source):
            with open(source, "rb") as file:
                file.seek(start)
                return file.readinto(buffer)
        data = _client(source).cat_file(os.fspath(source), start=start, end=start + len(buffer))
        buffer[: len(data)] = data
        return len(data)


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


def enumerate_jsonl(
    p: epath.PathLike, fault: Callable[[str], None] = refuse
) -> Iterator[tuple[int, dict]]:
    """(line number from 1, object) for each line of JSON Lines file `p` that is not blank.

    `fault`: what is told of each line that is not a JSON object, with file and line, before it is
    passed over.
    """
    # Not splitlines(): it also cuts at U+2028 and its like, which are legal inside a JSON string.
    lines = read_text(p).split("\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path(p)}:{number}"
        try:
            row = json.loads(line)
            wrong = f"expected a JSON object, found {type(row).__name__}"
        except (ValueError, RecursionError) as e:
            row = None
            wrong = f"not valid JSON: {_reason(e)}"
        if isinstance(row, dict):
            yield number, row
        else:
            fault(f"{place}: {wrong}")


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
