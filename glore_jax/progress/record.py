"""How far a run is: one record, from which the screen, TensorBoard and `glore status` speak.

progress.json     in the work directory, written again every few seconds while the run lives
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import pathlib
from typing import Any

from glore_jax.errors import UserError

FILE = "progress.json"

# Kinds of work.
TRAIN = "train"
WRITE = "write"
SCORE = "score"


@dataclasses.dataclass(frozen=True)
class PieceRecord:
    """A piece of work whose end is known.

    Attributes:
      name: as in "student/round-0": what comes of it lies in that folder.
      kind: `TRAIN`, `WRITE` or `SCORE`.
      unit: what is counted, in the plural.
      done, total: how many, those of earlier starts included; nothing is begun while it is None.
      rate: a second; None as long as nothing has been measured.
      left: seconds; None as long as nothing has been measured.
      figures: as of the last count, such as loss or tokens a second.
    """

    name: str
    kind: str
    unit: str
    total: int
    done: int | None = None
    rate: float | None = None
    left: float | None = None
    figures: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Record:
    """A run at one moment. Times are seconds since 1970.

    Attributes:
      host, process: where process 0 runs, and its number there.
      machine: in which that number means it, see `machine`.
      started: when this start of the run began.
      written: when this record was made.
      moved: when something was last counted.
      every: seconds until the next record, if the run lives.
      stages: those asked for, in their order.
      todo: those of them that this start had to run.
      stage: the one that runs; empty before the first.
      piece: that is being done; None between two.
      stage_left, run_left: seconds, about; None if nobody can say.
      taken: name of each piece that this start has ended -> seconds.
      code, reason: exit code and last words, once the run has ended.
    """

    host: str
    process: int
    machine: str
    started: float
    written: float
    moved: float
    every: float
    stages: tuple[str, ...]
    todo: tuple[str, ...]
    stage: str = ""
    piece: PieceRecord | None = None
    stage_left: float | None = None
    run_left: float | None = None
    taken: dict[str, float] = dataclasses.field(default_factory=dict)
    code: int | None = None
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept: times as UTC texts."""
        content = dataclasses.asdict(self)
        for name in _TIMES:
            moment = datetime.datetime.fromtimestamp(content[name], datetime.UTC)
            content[name] = moment.isoformat(timespec="seconds")
        return content

    @classmethod
    def of(cls, content: Any) -> Record:
        """The record that was kept as `content`. UserError if it is none."""
        try:
            fields = dict(content)
            for name in _TIMES:
                fields[name] = datetime.datetime.fromisoformat(fields[name]).timestamp()
            for name in ("stages", "todo"):
                fields[name] = tuple(map(str, fields[name]))
            if fields["piece"] is not None:
                fields["piece"] = PieceRecord(**fields["piece"])
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"not a record of progress: {error}") from error


_TIMES = ("started", "written", "moved")


def machine() -> str:
    """Stands for the processes that this one can see: a start of a machine, a container of it.

    Empty where the system does not say.
    """
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
