"""SIGTERM and Ctrl-C during training: noted, and acted on between two updates."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def deferred_signals() -> Iterator[Callable[[], bool]]:
    """Yields a function that turns true once SIGTERM or SIGINT came.

    A second SIGINT interrupts at once. A signal that comes after the last look raises
    KeyboardInterrupt at the end of the block; then the signals are handled as before again.
    """
    seen: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.append(number)

    try:
        old = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread (a notebook's worker): leave signals alone
        old = {}
    try:
        yield lambda: bool(seen)
    finally:
        for number, previous in old.items():
            signal.signal(number, previous)
    if seen:
        raise KeyboardInterrupt
