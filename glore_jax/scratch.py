"""Space on this machine's own disk for what is too much for memory and needed in this run only.

A file here has no name: the system frees it when the process ends, however it ends. It lies in
`TMPDIR` (by default /tmp), on the local disk also where the work directory is in a bucket.

    file = ScratchFile()
    at = file.append(data)          bytes in, where they begin out
    array = file.mapped(np.int32)   all of it as an array; its pages are read as they are touched

    kept = Kept(items)              Python's own objects
    kept[7]
"""

import array
import contextlib
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

import numpy as np

from glore_jax.errors import UserError

Item = TypeVar("Item")


class ScratchFile:
    """Bytes that are appended, then read."""

    def __init__(self) -> None:
        with _refusals():
            self._file = tempfile.TemporaryFile()
        self.size = 0

    def append(self, data: bytes | memoryview) -> int:
        """Writes `data` behind what is there; where it begins, in bytes. UserError: disk full."""
        start = self.size
        with _refusals():
            self._file.seek(start)
            self.size += self._file.write(data)
        return start

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from byte `start`."""
        with _refusals():
            self._file.seek(start)
            return self._file.read(size)

    def mapped(self, dtype: Any) -> np.ndarray:
        """Everything that was written, as a read-only array of `dtype` [n]; closes the file.

        The array keeps the bytes: they go when it does.
        """
        with _refusals():
            self._file.flush()
            if not self.size:
                return np.zeros(0, dtype)
            everything = np.memmap(self._file, dtype, mode="r")
        self.close()
        return everything

    def close(self) -> None:
        self._file.close()


class Kept(Sequence[Item]):
    """Items that lie on the disk; `self[i]` reads one.

    Args:
      items: as they come; plain values, which Python can pickle.
      key: of an item, an integer: they are put in its ascending order, equal ones as they came.
    """

    def __init__(self, items: Iterable[Item], key: Callable[[Item], int] | None = None):
        file = ScratchFile()
        starts = array.array("q", [0])
        keys = array.array("q")
        for item in items:
            file.append(pickle.dumps(item))
            starts.append(file.size)
            keys.append(key(item) if key else 0)
        self._starts = np.array(starts, np.int64)
        self._order = np.argsort(np.array(keys, np.int64), kind="stable")
        self._bytes = file.mapped(np.uint8)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        place = self._order[index]
        start, end = self._starts[place : place + 2]
        return pickle.loads(self._bytes[start:end].tobytes())


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(
            f"cannot keep temporary data in {tempfile.gettempdir()}: {e.strerror or e}; "
            "set TMPDIR to a folder with more room"
        ) from e
