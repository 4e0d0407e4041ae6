"""A trace of some updates for TensorBoard."""

import contextlib
from collections.abc import Callable, Iterator

import jax

from glore_jax.progress.tensorboard import Writer


@contextlib.contextmanager
def profiler(updates: tuple[int, int] | None, writer: Writer) -> Iterator[Callable[[int], None]]:
    """Yields a function to call with the number of each update before it starts.

    Args:
      updates: (first, last) to trace, the last one included; None: trace nothing.
      writer: the trace goes into its folder, on the process that writes events.
    """
    first, last = updates or (-1, -1)
    running = False

    def before_update(update: int) -> None:
        nonlocal running
        if update == first and (folder := writer.traces):
            jax.profiler.start_trace(folder)
            running = True
        elif running and update == last + 1:
            jax.profiler.stop_trace()
            running = False

    try:
        yield before_update
    finally:
        if running:
            jax.profiler.stop_trace()
