"""Tensors read from files in pieces: just the rows that are wanted.

From a bucket a piece is a ranged request, and many are under way at once; from a disk it goes
straight into place. Where tensors lie, say the readers of each kind of file: of safetensors that
below, of GGUF `gguf_files.py`. The safetensors library's own reader needs the whole file on the
disk of every host.
"""

import collections
import concurrent.futures
import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import sources

HEADER_BYTES = 1 << 17  # as much as most headers take: then one request reads it
_RANGE_BYTES = 1 << 23  # of one request for content
_THREADS = 16


@runtime_checkable
class Encoding(Protocol):
    """How the numbers of a tensor are written, row by row along its last axis."""

    @property
    def numpy_dtype(self) -> np.dtype:
        """Of what `decode` gives."""

    def bytes_of(self, width: int) -> int:
        """Of a row of `width` numbers."""

    def decode(self, raw: np.ndarray) -> np.ndarray:
        """The numbers [rows, width] of uint8 [rows, bytes_of(width)]."""


@dataclasses.dataclass(frozen=True)
class Plain:
    """Numbers as NumPy has them in memory."""

    numpy_dtype: np.dtype

    def bytes_of(self, width: int) -> int:
        return width * self.numpy_dtype.itemsize

    def decode(self, raw: np.ndarray) -> np.ndarray:
        return raw.view(self.numpy_dtype)


PLAIN: dict[str, Encoding] = {
    "F32": Plain(np.dtype("float32")),
    "F16": Plain(np.dtype("float16")),
    "BF16": Plain(np.dtype(jnp.bfloat16)),
}


@dataclasses.dataclass(frozen=True)
class Stored:
    """A tensor in a file.

    Attributes:
      file: the file.
      name: of the tensor.
      dtype: as the kind of file calls it.
      shape: of the tensor.
      start: its first byte in the file.
      encoding: how its numbers are written; None if we cannot read them.
      turned_heads: 0, or the heads of a projection whose rows lie as llama.cpp turns positions:
        of each head rows 0, C/2, 1, C/2 + 1, ...
    """

    file: epath.Path
    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    encoding: Encoding | None
    turned_heads: int = 0

    @property
    def numpy_dtype(self) -> np.dtype:
        """The dtype of its numbers."""
        return self._encoding.numpy_dtype

    @property
    def row_bytes(self) -> int:
        """Of one row, along the first axis."""
        if len(self.shape) < 2:
            return self._encoding.bytes_of(1)
        return math.prod(self.shape[1:-1]) * self._encoding.bytes_of(self.shape[-1])

    @property
    def bytes(self) -> int:
        """Of the whole tensor."""
        return (self.shape[0] if self.shape else 1) * self.row_bytes

    def decode(self, raw: np.ndarray, rows: int) -> np.ndarray:
        """The numbers [rows, ...] of so many whole rows, uint8 [rows * row_bytes]."""
        width = self.shape[-1] if len(self.shape) > 1 else 1
        lines = raw.reshape(-1, self._encoding.bytes_of(width))
        return self._encoding.decode(lines).reshape(rows, *self.shape[1:])

    @property
    def _encoding(self) -> Encoding:
        self.check_dtype()
        assert self.encoding is not None
        return self.encoding

    def check_dtype(self) -> None:
        """UserError unless it is one that we read."""
        if self.encoding is None:
            known = ", ".join(PLAIN)
            raise UserError(
                f"{self.file}: tensor {self.name} is {self.dtype}; only {known} are supported"
            )


# Safetensors.


def read_header(file: epath.Path) -> dict[str, Stored]:
    """Tensor name -> where it lies, for all tensors of a safetensors file.

        8 bytes        length of the header, little-endian
        the header     JSON: of each tensor its dtype, shape and place behind the header
        the tensors    one after the other

    UserError if it is missing, truncated or damaged.
    """
    head = storage.read_range(file, 0, HEADER_BYTES)
    sources.refuse_pointer(file, head)
    end = 8 + int.from_bytes(head[:8], "little")
    if len(head) == HEADER_BYTES < end:
        head += storage.read_range(file, len(head), end)
    if len(head) < max(end, 8):
        raise _damaged(file, "it ends inside its header")
    try:
        header = json.loads(head[8:end])
        header.pop("__metadata__", None)
        found = {name: _stored(file, name, entry, end) for name, entry in header.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(file, "its header is none") from error
    return found


def make_header(tensors: Iterable[tuple[str, str, Sequence[int], int]]) -> bytes:
    """What stands before the tensors of a safetensors file, as `read_header` draws it.

    tensors: (name, dtype, shape, bytes) of each, in the order in which they follow.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, dtype, shape, size in tensors:
        start, end = end, end + size
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    return len(text).to_bytes(8, "little") + text


def _stored(file: epath.Path, name: str, entry: dict, behind: int) -> Stored:
    """The tensor of a header's entry; `behind`: the first byte behind the header."""
    start, stop = entry["data_offsets"]
    dtype = str(entry["dtype"])
    shape = tuple(entry["shape"])
    stored = Stored(file, name, dtype, shape, behind + start, PLAIN.get(dtype))
    if start < 0 or (stored.encoding is not None and stored.bytes != stop - start):
        raise ValueError(name)
    return stored


# Content.


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows `first` to `after` of a tensor."""

    stored: Stored
    first: int
    after: int

    @property
    def bytes(self) -> int:
        """How many they are."""
        return (self.after - self.first) * self.stored.row_bytes


def read(wanted: Iterable[list[Rows]], room: int) -> Iterator[list[np.ndarray]]:
    """For each list of `wanted`, in order, its rows as arrays [after - first, ...].

    Reads ahead as long as what is read and not yet asked for stays below `room` bytes; one list at
    least.

    UserError if a file is shorter than its header says; TransientError as `storage` raises it.
    """
    coming = collections.deque(wanted)
    ahead: collections.deque[tuple[int, list[_Reading]]] = collections.deque()
    with _pool() as pool:
        while coming or ahead:
            held = sum(size for size, _ in ahead)
            while coming and (not ahead or held + _size(coming[0]) <= room):
                rows = coming.popleft()
                ahead.append((_size(rows), [_Reading(pool, some) for some in rows]))
                held += _size(rows)
            yield [reading.result() for reading in ahead.popleft()[1]]


def _size(rows: list[Rows]) -> int:
    return sum(some.bytes for some in rows)


class _pool(concurrent.futures.ThreadPoolExecutor):
    """Threads that, left by an error, do not first read all that was asked of them."""

    def __init__(self) -> None:
        super().__init__(_THREADS, "weights")

    def __exit__(self, *error: object) -> None:
        self.shutdown(cancel_futures=True)


class _Reading:
    """Rows on their way, in pieces of `_RANGE_BYTES`."""

    def __init__(self, pool: concurrent.futures.Executor, rows: Rows):
        self._rows = rows
        self._buffer = np.empty(rows.bytes, np.uint8)
        start = rows.stored.start + rows.first * rows.stored.row_bytes
        self._pieces = [
            pool.submit(self._fill, start + done, self._buffer[done : done + _RANGE_BYTES])
            for done in range(0, rows.bytes, _RANGE_BYTES)
        ]

    def _fill(self, start: int, part: np.ndarray) -> None:
        stored = self._rows.stored
        if storage.read_into(stored.file, start, part.data) < len(part):
            raise _damaged(stored.file, f"it ends inside {stored.name}")

    def result(self) -> np.ndarray:
        for piece in self._pieces:
            piece.result()
        return self._rows.stored.decode(self._buffer, self._rows.after - self._rows.first)


def _damaged(file: epath.Path, why: str) -> UserError:
    return UserError(f"{file}: truncated or damaged ({why}); download it again")
