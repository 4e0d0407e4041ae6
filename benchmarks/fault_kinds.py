"""The faults of the campaign: where each strikes, how, and how the processes may end then."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import random
import signal
import time
from collections.abc import Callable

from benchmarks.faulted_run import Run, Setting, Turn, limit_disk

KILLED = -signal.SIGKILL
TERMINATED = -signal.SIGTERM  # before the program itself runs
INTERRUPTED = 130
REFUSED = 2
PEER_LOST = 3
TRY_AGAIN = 4

# A moment is drawn from the seconds behind the start in which a run gets a good part further.
_SPAN = {1: 30.0, 2: 60.0}

Strike = Callable[[Run, Turn, random.Random], bool]


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
      name: of its row in the table.
      setting: of the runs that it strikes.
      times: how often, in the whole campaign.
      short: how often, in its short form.
      codes: exit codes that it may lead to, beside 0.
      strike: waits for its moment and strikes; False if the turn ended before. Whatever it does to
        the place, it has undone when it returns.
    """

    name: str
    setting: Setting
    times: int
    short: int
    codes: frozenset[int]
    strike: Strike

    def __str__(self) -> str:
        return self.name


def _at_random(run: Run, turn: Turn, dice: random.Random) -> bool:
    """Waits for a random moment; whether the turn still runs then."""
    end = time.monotonic() + dice.uniform(0, _SPAN[run.setting.processes])
    while not turn.ended and time.monotonic() < end:
        time.sleep(0.01)
    return not turn.ended


def _kill_all(run: Run, turn: Turn, dice: random.Random) -> bool:
    if not _at_random(run, turn, dice):
        return False
    turn.kill()
    return True


def _kill_one(run: Run, turn: Turn, dice: random.Random) -> bool:
    # Before they have met, the others wait some minutes for the lost one: that is another test's.
    while not turn.ended and not ("starts" in run.printed or "goes on" in run.printed):
        time.sleep(0.01)
    if not _at_random(run, turn, dice):
        return False
    turn.kill(dice.randrange(run.setting.processes))
    return True


def _terminate(run: Run, turn: Turn, dice: random.Random) -> bool:
    if not _at_random(run, turn, dice):
        return False
    turn.signal(signal.SIGTERM, dice.randrange(run.setting.processes))
    return True


def _fill_disk(run: Run, turn: Turn, dice: random.Random) -> bool:
    if not _at_random(run, turn, dice):
        return False
    disk = pathlib.Path(run.workdir)
    limit_disk(disk, dice.randrange(0, 200_000))
    turn.wait()
    limit_disk(disk, None)
    return not turn.succeeded


def _tear_part(run: Run, turn: Turn, dice: random.Random) -> bool:
    """Cuts off the end of a part that a stage under way has written."""

    def parts() -> list[pathlib.Path]:
        under_way = [
            m.parent for m in pathlib.Path(run.workdir).glob("*/manifest.json") if not _done(m)
        ]
        return [part for stage in under_way for part in stage.rglob("part-*.parquet")]

    return _kill_and_tear(turn, dice, parts)


def _tear_checkpoint(run: Run, turn: Turn, dice: random.Random) -> bool:
    """Cuts off the end of a file of the newest checkpoint."""

    def files() -> list[pathlib.Path]:
        found = pathlib.Path(run.workdir).glob("*/**/checkpoints/*")
        saved = [folder for folder in found if folder.name.isdigit()]
        if not saved:
            return []
        newest = max(saved, key=lambda folder: int(folder.name))
        return [file for file in newest.rglob("*") if file.is_file() and file.stat().st_size > 1]

    return _kill_and_tear(turn, dice, files)


def _kill_and_tear(turn: Turn, dice: random.Random, find: Callable[[], list[pathlib.Path]]) -> bool:
    """Kills once there is something to tear, a little later at random, and tears one file."""

    def found() -> list[pathlib.Path]:
        try:
            return find()
        except FileNotFoundError:  # the run has just removed a folder
            return []

    after = dice.uniform(0, 3)
    while not turn.ended and not found():
        time.sleep(0.01)
    end = time.monotonic() + after
    while not turn.ended and time.monotonic() < end:
        time.sleep(0.01)
    if turn.ended:
        return False
    turn.kill()
    turn.wait()
    files = sorted(find())
    if not files:  # the stage came to its end in that moment
        return False
    torn = dice.choice(files)
    data = torn.read_bytes()
    torn.write_bytes(data[: dice.randrange(len(data))])
    return True


def _done(manifest: pathlib.Path) -> bool:
    return json.loads(manifest.read_text())["done"]


def _unavailable(run: Run, turn: Turn, dice: random.Random) -> bool:
    """For a while the store answers 503 to most requests."""
    return _with_failures(run, turn, dice, "unavailable", dice.uniform(5, 20))


def _cut_off(run: Run, turn: Turn, dice: random.Random) -> bool:
    """For a while the store cuts most connections in the middle of an answer."""
    return _with_failures(run, turn, dice, "cut", dice.uniform(5, 20))


def _gone(run: Run, turn: Turn, dice: random.Random) -> bool:
    """The store is gone until the run has given up."""
    return _with_failures(run, turn, dice, "gone", None)


def _with_failures(
    run: Run, turn: Turn, dice: random.Random, how: str, seconds: float | None
) -> bool:
    if not _at_random(run, turn, dice):
        return False
    assert run.server
    with run.server.failing(how):
        if seconds is None:
            turn.wait()
        else:
            time.sleep(seconds)
    return True


_ONE = Setting(1, "disk")
_FULL = Setting(1, "small disk")
_TWO = Setting(2, "bucket")

KINDS = (
    Kind("kill -9", _ONE, 100, 1, frozenset({KILLED}), _kill_all),
    Kind("SIGTERM", _ONE, 10, 1, frozenset({INTERRUPTED, TERMINATED}), _terminate),
    Kind("torn part", _ONE, 10, 1, frozenset({KILLED}), _tear_part),
    Kind("torn checkpoint", _ONE, 10, 1, frozenset({KILLED}), _tear_checkpoint),
    Kind("full disk", _FULL, 10, 0, frozenset({REFUSED}), _fill_disk),
    Kind("kill -9 of both", _TWO, 15, 0, frozenset({KILLED}), _kill_all),
    Kind("one worker lost", _TWO, 15, 0, frozenset({KILLED, PEER_LOST}), _kill_one),
    Kind("SIGTERM to one", _TWO, 5, 0, frozenset({INTERRUPTED, TERMINATED, PEER_LOST}), _terminate),
    Kind("503 for a while", _TWO, 5, 0, frozenset({TRY_AGAIN, PEER_LOST}), _unavailable),
    Kind("connections cut", _TWO, 5, 0, frozenset({TRY_AGAIN, PEER_LOST}), _cut_off),
    Kind("store gone", _TWO, 3, 0, frozenset({TRY_AGAIN, PEER_LOST}), _gone),
)
