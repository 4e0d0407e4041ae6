"""A trace of some updates for TensorBoard.

JAX writes a trace where it is told to, through clients of its own. What they are refused would end
the training, so a trace for an object store is written on this machine's disk, and sent from there.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator

import jax
from absl import logging

from glore_jax import storage
from glore_jax.progress import remote_events
from glore_jax.progress.tensorboard import Writer


@contextlib.contextmanager
def profiler(updates: tuple[int, int] | None, writer: Writer) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of each update before it starts.

    A trace that cannot be taken or written is a line in the log.

    Args:
      updates: (first, last) to trace, the last one included; None: trace nothing.
      writer: the trace goes into its folder, on the process that writes events.
    """
    first, last = updates or (-1, -1)
    trace: _Trace | None = None

    def before_update(update: int) -> None:
        nonlocal trace
        if update == first and (folder := writer.traces):
            trace = _Trace(folder)
        elif trace and update == last + 1:
            trace.stop()
            trace = None

    try:
        yield before_update
    finally:
        if trace:
            trace.stop()


class _Trace:
    """A trace under way that goes into `folder`."""

    def __init__(self, folder: str):
        self._target = folder
        self._here = tempfile.mkdtemp() if storage.is_remote(folder) else folder
        with _refusals():
            jax.profiler.start_trace(self._here)

    def stop(self) -> None:
        with _refusals():
            jax.profiler.stop_trace()
            if self._here != self._target:
                remote_events.send_folder(self._here, self._target, self._remove)
                return
        self._remove()

    def _remove(self) -> None:
        if self._here != self._target:
            shutil.rmtree(self._here, ignore_errors=True)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # whatever it is: the training must not stop for it
        logging.warning("no trace of these updates: %s", error)
