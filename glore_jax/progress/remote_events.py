"""TensorBoard's files in an object store, written so that a store in trouble holds up no training.

    add_scalar ─► queue of ten ─► tensorboardX's thread ─► Stream ─► thread of its own ─► storage

tensorboardX's thread has to live and to go on: were it to end or to wait, the queue would fill, and
the next scalar wait for ever, with the whole pod behind it. So it never waits for the store, and
hears of no error. Events are a convenience: what the store refuses is a line in the log, and all
events so far go out again with the next flush.

An object is only ever written whole, so each flush sends all events of the run: some 50 bytes a
scalar, 40 MB for ten of them at each of 86,400 updates. Hence `FLUSH_SECONDS`.
"""

import concurrent.futures
import pathlib
import threading
from collections.abc import Callable

from absl import logging
from etils import epath

from glore_jax import storage

FLUSH_SECONDS = 120  # between two flushes


class Stream:
    """Where tensorboardX writes one file, at `path`. It calls these methods one at a time."""

    def __init__(self, path: epath.PathLike):
        self._path = path
        self._data = bytearray()
        self._sent = 0  # bytes that the store has
        self._warned = False
        self._sender = concurrent.futures.ThreadPoolExecutor(1, "events")
        self._under_way: concurrent.futures.Future[None] | None = None

    def write(self, data: bytes) -> None:
        self._data += data

    def flush(self) -> None:
        """Begins to send all events so far; while it is at it, nothing: the next flush will do."""
        if self._under_way is None or self._under_way.done():
            self._under_way = self._sender.submit(self._send, bytes(self._data))

    def close(self) -> None:
        """Sends what the store has not got yet, and waits for it."""
        self._sender.shutdown()
        self._send(bytes(self._data))

    def _send(self, data: bytes) -> None:
        if len(data) == self._sent:
            return
        try:
            storage.write_bytes(self._path, data)
        except Exception as error:  # whatever it is: the training must not stop for it
            if not self._warned:
                logging.warning("TensorBoard's events are not written: %s", error)
            self._warned = True
            return
        self._sent = len(data)


def send(path: epath.PathLike, data: bytes) -> None:
    """Begins to write `data` to `path`, on a thread that nobody waits for, not even at the end."""
    _in_background(str(path), lambda: storage.write_bytes(path, data))


def send_folder(source: str, target: epath.PathLike, then: Callable[[], object]) -> None:
    """Begins to copy all files under `source`, a folder of this machine, into `target`, likewise;
    calls `then` behind it."""

    def copy() -> None:
        root = pathlib.Path(source)
        try:
            for file in root.rglob("*"):
                if file.is_file():
                    storage.write_bytes(f"{target}/{file.relative_to(root)}", file.read_bytes())
        finally:
            then()

    _in_background(str(target), copy)


def _in_background(what: str, function: Callable[[], object]) -> None:
    def run() -> None:
        try:
            function()
        except Exception as error:  # whatever it is: the run must not stop for it
            logging.warning("%s is not written: %s", what, error)

    threading.Thread(target=run, name="events", daemon=True).start()


class Streams:
    """What tensorboardX asks for a `Stream`, as its registry wants it."""

    def open(self, path: str) -> Stream:
        return Stream(path)

    def directory_check(self, path: str) -> None:
        """There is nothing to make: folders exist through their files."""


def register(folder: epath.PathLike) -> None:
    """Makes tensorboardX write with `Stream` wherever a path begins as that of `folder` does.

    Its own writer of gs:// does not survive an answer that is lost.
    """
    from tensorboardX import record_writer

    scheme = str(folder).partition("://")[0]
    record_writer.register_writer_factory(scheme, Streams())
