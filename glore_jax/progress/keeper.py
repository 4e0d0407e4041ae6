"""The record of a run as a file, written now and then by a thread that nobody waits for.

The file also says that the run lives, so it is written whether or not something was counted. What a
disk or a bucket refuses is a line in the log, and the next record is tried; what it does not answer
holds up this thread alone.
"""

import contextlib
import threading
from collections.abc import Callable

from absl import logging
from etils import epath

from glore_jax import storage
from glore_jax.progress.record import Record

LOCAL_SECONDS, REMOTE_SECONDS = 10.0, 30.0  # between two records
_LAST_SECONDS = 5.0  # that the end of a run waits for its last record, at most


def seconds_between(file: epath.PathLike) -> float:
    """Between two records in `file`."""
    return REMOTE_SECONDS if storage.is_remote(file) else LOCAL_SECONDS


class Keeper:
    """Keeps what `make` gives in `file`, from now on until `close`."""

    def __init__(self, file: epath.PathLike, make: Callable[[], Record]):
        self._file = file
        self._make = make
        self._seconds = seconds_between(file)
        self._warned = False
        self._closing = threading.Event()
        # Not of an executor: Python waits for the threads of those before it ends.
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Writes the last record, and waits a few seconds for it."""
        self._closing.set()
        with contextlib.suppress(KeyboardInterrupt):  # whoever is told to end once more ends
            self._thread.join(_LAST_SECONDS)

    def _run(self) -> None:
        self._write()
        while not self._closing.wait(self._seconds):
            self._write()
        self._write()

    def _write(self) -> None:
        try:
            storage.write_json(self._file, self._make().to_json())
        except Exception as error:  # whatever it is: the run must not stop for it
            if not self._warned:
                logging.warning("progress is not written: %s", error)
            self._warned = True
