"""What a person sees of a run while it goes on: on a terminal one line that changes, in a log file
a whole line now and then, and in either what is said once."""

import os
import sys
import time
from collections.abc import Callable

from glore_jax.progress.record import PieceRecord, Record
from glore_jax.progress.words import about, rate

# The seconds between two lines.
_TERMINAL = 0.5
_LOG_FIRST, _LOG_MOST = 60.0, 600.0  # twice as many from line to line of a stage

_FIGURES = {
    "loss": "loss {:.3f}",
    "tokens_per_second": "{:.0f} tok/s",
    "occupancy": "slots {:.0%} busy",
    "right": "{:.0%} right",
    "verified": "{:.0%} verified",
    "truncated": "{:.0%} truncated",
}


def line(record: Record) -> str:
    """The stage that runs: what is done of what, how fast, and how long it still takes."""
    parts = [piece_text(record.stage, record.piece)] if record.piece else []
    left = left_text(record)
    parts += [f"left {left}"] if left else []
    stage = f"{record.stage}: " if record.stage else ""  # a question is solved outside of stages
    return stage + ("; ".join(parts) or "begins")


def left_text(record: Record) -> str:
    """How long piece, stage and run still take, as far as that is known: `2 min, stage 9 min`."""
    piece = record.piece.left if record.piece else None
    times = {"": piece, "stage ": record.stage_left, "run ": record.run_left}
    if piece == record.stage_left:
        del times[""]
    return ", ".join(f"{what}{about(s)}" for what, s in times.items() if s is not None)


def piece_text(stage: str, piece: PieceRecord) -> str:
    """`piece` of `stage`, without what is left of it."""
    name = piece.name.removeprefix(f"{stage}/")
    if piece.done is None:
        return f"{name} begins, {piece.total} {piece.unit}"
    shown = [f"{name} {piece.done} of {piece.total} {piece.unit}"]
    shown += [rate(piece.rate)] if piece.rate else []
    shown += [_FIGURES[name].format(v) for name, v in piece.figures.items() if name in _FIGURES]
    return ", ".join(shown)


class Screen:
    """Where a run says how it goes: stderr if that is a terminal, else lines of stdout.

    clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._drawn = 0  # columns of the line that changes
        self._every = _LOG_FIRST
        self._last = clock()

    def say(self, text: str) -> None:
        """Prints `text`, which stays."""
        self.clear()
        print(text, file=sys.stdout, flush=True)

    def begin_stage(self) -> None:
        """Lines of a log come often at first."""
        self._every = _LOG_FIRST
        self._last = self._clock()

    def show(self, make: Callable[[], Record]) -> None:
        """Shows the record that `make` gives, if it is time to."""
        now = self._clock()
        if sys.stderr.isatty():
            if now - self._last >= _TERMINAL:
                self._last = now
                self._draw(line(make()))
        elif now - self._last >= self._every:
            self._last = now
            self._every = min(2 * self._every, _LOG_MOST)
            print(f"{time.strftime('%H:%M')} {line(make())}", file=sys.stdout, flush=True)

    def clear(self) -> None:
        """Takes the line that changes away."""
        if self._drawn:
            sys.stderr.write(f"\r{' ' * self._drawn}\r")
            sys.stderr.flush()
            self._drawn = 0

    def _draw(self, text: str) -> None:
        text = text[: _columns() - 1]  # a full line would move the cursor to the next one
        # Blanks take away what is left of a longer line.
        sys.stderr.write(f"\r{text}{' ' * (self._drawn - len(text))}")
        sys.stderr.flush()
        self._drawn = len(text)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
