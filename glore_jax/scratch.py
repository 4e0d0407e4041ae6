"""Space on this machine's own disk for what is too much for memory and needed in this run only.

A file here has no name: the system frees it when the process ends, however it ends. It lies in
`TMPDIR` (by default /tmp), on the local disk also where the work directory is in a bucket.

    file = ScratchFile()
    at = file.append(data)          bytes in, where they begin out
    array = file.mapped(np.int32)   all of it as an array; its pages are read as they are touched
"""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from glore_jax.errors import UserError


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
            array = np.memmap(self._file, dtype, mode="r")
        self.close()
        return array

    def close(self) -> None:
        self._file.close()


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise UserError(
            f"cannot keep temporary data in {tempfile.gettempdir()}: {e.strerror or e}; "
            "set TMPDIR to a folder with more room"
        ) from e
