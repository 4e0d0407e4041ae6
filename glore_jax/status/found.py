"""What the files of a work directory say of its run, whatever state they are in.

    progress.json          the run's last record: which stage, how far, when written
    STAGE/manifest.json    what is done, how long it took, what a person should know of it

A file that cannot be read, half copied perhaps, is said to be so and counts as missing.
"""

import dataclasses
import enum
import os
from collections.abc import Mapping
from typing import Any

from etils import epath

from glore_jax import stages, storage
from glore_jax.errors import UserError
from glore_jax.progress.record import FILE, Record, machine

_LATE = 10  # so many times the seconds between two records without one, and a run seems dead
_STUCK_SECONDS = 1800.0  # without anything counted, that a person is told of
_PASSING = (3, 4, 130)  # exit codes of `glore` after which the same command goes on


class Verdict(enum.Enum):
    """How it stands with a run; the values are exit codes."""

    DONE = 0
    RUNS = 10
    STOPPED = 11
    FAILED = 12
    DEAD = 13


@dataclasses.dataclass(frozen=True)
class Found:
    """The status of a run.

    Attributes:
      workdir: its work directory.
      verdict: how it stands.
      record: the last one; None if there is none that can be read.
      age: seconds since it was written, by this machine's clock.
      still: seconds since something was last counted, likewise.
      manifests: stage -> what its folder says of it; {} for one that has nothing to say.
      warnings: what a person should know, of the stages' results or of these files.
    """

    workdir: str
    verdict: Verdict
    record: Record | None
    age: float
    still: float
    manifests: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]

    def is_done(self, stage: str) -> bool:
        """Whether `stage` is done, as the last start of the run wanted it."""
        return _is_done(self.record, self.manifests, stage)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "workdir": self.workdir,
            "status": self.verdict.name.lower(),
            "age": round(self.age, 1),
            "record": self.record.to_json() if self.record else None,
            "stages": {
                name: {"done": self.is_done(name), "seconds": manifest.get("seconds", 0.0)}
                for name, manifest in self.manifests.items()
            },
            "warnings": list(self.warnings),
        }


def look(workdir: epath.PathLike, now: float) -> Found:
    """The status of the run in `workdir` at `now`, seconds since 1970.

    UserError if there is no run in it, or it cannot be reached.
    """
    root = storage.path(workdir)
    warnings: list[str] = []
    content = _read(root / FILE, warnings)
    record = None
    if content is not None:
        try:
            record = Record.of(content)
        except UserError as error:
            warnings.append(f"{FILE}: {error}")
    names = record.stages if record else tuple(stages.STAGES)
    manifests = {name: _manifest(root / name / "manifest.json", warnings) for name in names}
    manifests = {name: found for name, found in manifests.items() if record or found}
    if not record and not manifests and not storage.exists(root / "config.json"):
        raise UserError(f"{root} holds no run: it has no config.json")
    for name, manifest in manifests.items():
        told = manifest.get("warnings") or ()
        warnings += [f"{name}: {text.removeprefix(f'{name}: ')}" for text in map(str, told)]
    verdict = _judge(record, manifests, now)
    still = max(0.0, now - record.moved) if record else 0.0
    if record and verdict == Verdict.RUNS and still > _STUCK_SECONDS:
        warnings.append(f"nothing has been counted for {still / 60:.0f} min")
    age = max(0.0, now - record.written) if record else 0.0
    return Found(os.fspath(root), verdict, record, age, still, manifests, tuple(warnings))


def _judge(
    record: Record | None, manifests: Mapping[str, Mapping[str, Any]], now: float
) -> Verdict:
    if record is None:
        # Nobody says what was asked for; a report is the last thing that a run makes.
        last = manifests.get("report") or manifests.get("pretrain") or {}
        return Verdict.DONE if last.get("done") is True else Verdict.DEAD
    lives = record.code is None and not _is_gone(record, now)
    if lives:
        return Verdict.RUNS
    if record.stages and all(_is_done(record, manifests, name) for name in record.stages):
        return Verdict.DONE
    if record.code is None:
        return Verdict.DEAD
    return Verdict.STOPPED if record.code in (0, *_PASSING) else Verdict.FAILED


def _is_gone(record: Record, now: float) -> bool:
    """Whether the process that writes the record seems to have ended without a word."""
    if now - record.written > _LATE * record.every:
        return True
    return record.machine != "" and record.machine == machine() and not _is_there(record.process)


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _is_done(record: Record | None, manifests: Mapping[str, Mapping[str, Any]], stage: str) -> bool:
    if manifests.get(stage, {}).get("done") is not True:
        return False
    if record is None or stage not in record.todo:
        return True
    # It may be done in another form than this start wants, until its turn has come.
    at = record.todo.index(record.stage) if record.stage in record.todo else -1
    return record.todo.index(stage) <= at


def _manifest(file: epath.Path, warnings: list[str]) -> Mapping[str, Any]:
    found = _read(file, warnings)
    return found if isinstance(found, dict) else {}


def _read(file: epath.Path, warnings: list[str]) -> Any:
    """The JSON in `file`; None if it is not there, or cannot be read, which is a warning."""
    if not storage.exists(file):
        return None
    try:
        return storage.read_json(file)
    except UserError as error:
        warnings.append(f"cannot be used: {error}")
        return None
