"""Where a run says what it does; from it come the screen, the file and curves in TensorBoard.

stages ──► Progress.stage, .say
           Progress.piece ──► Piece.begin, .reach ──┬─► Screen      a line, twice a second
                                                    ├─► Writer      its figures, if it has one
                                     Progress.record┴─► Keeper      a thread: progress.json
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from etils import epath

from glore_jax import command
from glore_jax.parallel import processes
from glore_jax.progress import keeper
from glore_jax.progress.estimate import Estimate, Planned
from glore_jax.progress.pace import Pace
from glore_jax.progress.record import FILE, PieceRecord, Record, machine
from glore_jax.progress.screen import Screen

_CURVE_SECONDS = 10.0  # between two points of a curve of figures


class Curves(Protocol):
    """Takes figures by the count at which they were measured, as TensorBoard does."""

    def scalars(self, values: dict[str, float], step: int) -> None: ...


class Piece:
    """A piece of work whose end is known: `total` of `unit`, of which those are counted that are
    done, by whichever start of the run.

    Args:
      name, kind, unit, total: as in `record.PieceRecord`.
      changed: called after each count.
      curves: gets the figures now and then, and the last ones.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        unit: str,
        total: int,
        changed: Callable[[], object] = lambda: None,
        curves: Curves | None = None,
    ):
        self._record = PieceRecord(name, kind, unit, total)
        self._changed = changed
        self._curves = curves
        self._pace: Pace | None = None
        self._figures: dict[str, float] = {}
        self._drawn = time.monotonic()
        self._is_drawn = True

    def begin(self, done: int = 0) -> None:
        """Work begins, behind `done` that earlier starts have done. Before it nothing is timed, so
        that compiling does not count as slowness."""
        self._pace = Pace(done)
        self._changed()

    def reach(self, done: int, **figures: float) -> None:
        """So many are done; `figures` as they are by now."""
        if self._pace is None:
            self.begin()
        assert self._pace is not None
        self._pace.reach(done)
        self._figures = figures
        self._is_drawn = False
        if time.monotonic() - self._drawn >= _CURVE_SECONDS:
            self._draw()
        self._changed()

    def end(self) -> None:
        """No more is counted."""
        if not self._is_drawn:
            self._draw()

    @property
    def measured(self) -> tuple[float, float]:
        """(share of the whole, seconds) of what was done since `begin`."""
        if self._pace is None or not self._record.total:
            return 0.0, 0.0
        return self._pace.done / self._record.total, self._pace.seconds

    @property
    def record(self) -> PieceRecord:
        pace = self._pace
        given = self._record
        if pace is None:
            return given
        return dataclasses.replace(
            given,
            done=pace.count,
            rate=pace.rate,
            left=pace.left(given.total),
            figures=self._figures,
        )

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._is_drawn = True
        if self._curves and self._pace and self._figures:
            self._curves.scalars(self._figures, self._pace.count)


class Progress:
    """How far a run is. Processes other than process 0 show and write nothing.

    As a context it ends with its block, with the exit code that `main` has for such an end.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the keeper's thread asks for records
        self._screen = Screen()
        self._keeper: keeper.Keeper | None = None
        self._every = 0.0
        self._stages: tuple[str, ...] = ()
        self._todo: tuple[str, ...] = ()
        self._stage = ""
        self._piece: Piece | None = None
        self._estimate = Estimate()
        self._taken: dict[str, float] = {}
        self._started = self._moved = time.time()
        self._end: tuple[int | None, str] = None, ""

    def keep(self, workdir: epath.Path, stages: Sequence[str], todo: Sequence[str]) -> None:
        """From now on the record is kept in `workdir`: `stages` were asked for, `todo` will run."""
        with self._lock:
            self._stages = tuple(stages)
            self._todo = tuple(todo)
        if processes.is_main():
            file = workdir / FILE
            self._every = keeper.seconds_between(file)
            self._keeper = keeper.Keeper(file, self.record)

    def plan(self, planned: Sequence[Planned]) -> None:
        """What is planned, in its order, and how long it takes, about."""
        with self._lock:
            self._estimate = Estimate(planned)

    def stage(self, name: str) -> None:
        """Stage `name` runs."""
        with self._lock:
            self._stage = name
            self._moved = time.time()
        self._screen.begin_stage()

    def say(self, text: str) -> None:
        """Prints a line that stays (process 0 only)."""
        if processes.is_main():
            self._screen.say(text)

    @contextlib.contextmanager
    def piece(
        self, name: str, kind: str, unit: str, total: int, curves: Curves | None = None
    ) -> Iterator[Piece]:
        """A piece of work, for as long as the block. One inside another is part of that one: it is
        not shown."""
        if self._piece is not None:
            yield Piece(name, kind, unit, total)
            return
        opened = Piece(name, kind, unit, total, self._changed, curves)
        start = time.monotonic()
        with self._lock:
            self._piece = opened
            self._estimate.begin(name)
        self._changed()
        try:
            yield opened
            opened.end()
        finally:
            with self._lock:
                self._piece = None
                self._estimate.measured(name, *opened.measured)
                self._taken[name] = round(time.monotonic() - start, 3)
            self._screen.clear()

    def end(self, code: int, reason: str = "") -> None:
        """The run ends with exit code `code`. Nothing happens if no record is kept."""
        self._screen.clear()
        with self._lock:
            self._end = code, reason
        if self._keeper:
            self._keeper.close()
            self._keeper = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.end(0)
        else:
            self.end(*command.verdict(error))

    def record(self) -> Record:
        """As of now."""
        with self._lock:
            piece = self._piece.record if self._piece else None
            at = self._todo.index(self._stage) if self._stage in self._todo else 0
            name = ""
            if self._piece and piece:
                name = piece.name
                self._estimate.measured(name, *self._piece.measured)
            left = self._estimate.left(self._todo[at:], name, piece.left if piece else None)
            code, reason = self._end
            return Record(
                host=socket.gethostname(),
                process=os.getpid(),
                machine=machine(),
                started=self._started,
                written=time.time(),
                moved=self._moved,
                every=self._every,
                stages=self._stages,
                todo=self._todo,
                stage=self._stage,
                piece=piece,
                stage_left=left[0],
                run_left=left[1],
                taken=dict(self._taken),
                code=code,
                reason=reason,
            )

    def _changed(self) -> None:
        with self._lock:
            self._moved = time.time()
        if processes.is_main():
            self._screen.show(self.record)
