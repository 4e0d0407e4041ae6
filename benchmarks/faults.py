"""What a run survives: it is killed, stopped, starved and cut off, and goes on by the same command.

    python -m benchmarks.faults --work=DIR                    the whole campaign, some hours
    python -m benchmarks.faults --work=DIR --only="kill -9"   one row
    python -m benchmarks.faults --work=DIR --short            a few on a disk, for CI
    python -m benchmarks.faults --work=DIR --table            docs/reliability.md from what is done

Each fault strikes the miniature run (`miniature.py`) at a random moment; then the same command is
started again, several faults a run. What is left at the end is compared with a run that was left
alone, record for record and figure for figure (`same_run.py`; floats within 1e-4). `--work` keeps
runs and results, so that a campaign that is cut off goes on behind its last whole run.

The bucket is a real server of the same protocol on this machine (`bucket.py`).
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks import fault_table, harness, same_run
from benchmarks.bucket import FailingServer
from benchmarks.fault_kinds import KINDS, Kind
from benchmarks.faulted_run import PATIENCE, Run, Setting, Turn, small_disk

RESULTS = "outcomes.jsonl"
_TO_END = 5.0  # seconds, in which a process that was killed has ended
ENOUGH_TURNS = 60  # of one run: more say that it does not come to its end


@dataclasses.dataclass
class Outcome:
    """What came of one run.

    Attributes:
      setting: of the run.
      faults: name of a kind -> how often it struck.
      lost, doubled: records that are missing, or too many.
      changed: values of records and figures that differ.
      hung: turns that did not end by themselves.
      failed: turns that ended otherwise than they should.
      trouble: what was found first, in a line.
      turns: starts of the command.
      seconds: of the run.
    """

    setting: str
    faults: dict[str, int] = dataclasses.field(default_factory=dict)
    lost: int = 0
    doubled: int = 0
    changed: int = 0
    hung: int = 0
    failed: int = 0
    trouble: str = ""
    turns: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return not self.trouble


def main() -> int:
    parser = harness.parser(__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True, metavar="DIR")
    parser.add_argument("--only", choices=[kind.name for kind in KINDS])
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    if not flags.table:
        campaign([kind for kind in KINDS if flags.only in (None, kind.name)], flags)
    outcomes = read_outcomes(flags.work / RESULTS)
    table = fault_table.markdown(KINDS, outcomes)
    print(table)
    if flags.table:
        fault_table.write(table)
    return 0 if all(outcome.clean for outcome in outcomes) else 1


def campaign(kinds: list[Kind], flags: argparse.Namespace) -> None:
    """Runs what is missing of the faults of `kinds`; each whole run is a line in the results."""
    flags.work.mkdir(parents=True, exist_ok=True)
    results = flags.work / RESULTS
    done: collections.Counter[str] = collections.Counter()
    for outcome in read_outcomes(results):
        done.update(outcome.faults)
    missing: dict[Setting, list[Kind]] = collections.defaultdict(list)
    for kind in kinds:
        wanted = kind.short if flags.short else kind.times
        missing[kind.setting] += [kind] * max(0, wanted - done[kind.name])
    for setting, faults in missing.items():
        dice = random.Random(f"{flags.seed} {setting} {done.total()}")
        dice.shuffle(faults)
        while faults:
            expected = undisturbed(setting, flags.work)
            with place_of(setting, flags.work) as run:
                outcome = one_run(run, faults, dice, expected)
            with results.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(outcome)) + "\n")
            print(
                f"{outcome.seconds:5.0f} s, {setting}: {outcome.faults} {outcome.trouble}",
                flush=True,
            )


def read_outcomes(results: pathlib.Path) -> list[Outcome]:
    if not results.exists():
        return []
    return [Outcome(**json.loads(line)) for line in results.read_text().splitlines()]


@contextlib.contextmanager
def place_of(setting: Setting, work: pathlib.Path) -> Iterator[Run]:
    """A run with an empty work directory; what it needs beside it lives as long."""
    folder = work / "run"
    shutil.rmtree(folder, ignore_errors=True)
    run = Run(setting, str(folder / "work"), folder / "logs", work / "compiled")
    with contextlib.ExitStack() as stack:
        if setting.place == "bucket":
            run.server = stack.enter_context(FailingServer())
            run.workdir = run.server.url("run")
            run.variables = run.server.variables
        elif setting.place == "small disk":
            stack.enter_context(small_disk(folder / "work"))
        yield run


def undisturbed(setting: Setting, work: pathlib.Path) -> dict[str, Any]:
    """Records and figures of a run of this setting that is left alone, made once."""
    kept = work / f"undisturbed, {setting}"
    if not kept.exists():
        with place_of(setting, work) as run, run.turn() as turn:
            if not turn.wait(4 * PATIENCE) or set(turn.codes) != {0}:
                raise SystemExit(f"the undisturbed run ended {turn.codes}: {run.last_lines()}")
            run.copy_results(kept)
    return same_run.read_run(kept)


def one_run(run: Run, faults: list[Kind], dice: random.Random, expected: dict) -> Outcome:
    """Starts the command until it is done, and takes from `faults` what strikes on the way."""
    outcome = Outcome(str(run.setting))
    begin = time.monotonic()
    struck: collections.Counter[str] = collections.Counter()
    while not outcome.trouble and outcome.turns < ENOUGH_TURNS:
        outcome.turns += 1
        with run.turn() as turn:
            kinds = strike(run, turn, faults, dice)
            turn.wait()
            codes = set(turn.codes)
        struck.update(kind.name for kind in kinds)
        what = ", ".join(kind.name for kind in kinds) or "no fault"
        if turn.hung:
            outcome.hung += 1
            outcome.trouble = f"hung after {what}: {run.last_lines()}"
        elif not codes <= {0}.union(*(kind.codes for kind in kinds)):
            outcome.failed += 1
            outcome.trouble = f"ended {codes} after {what}: {run.last_lines()}"
        elif codes == {0}:
            break
    outcome.faults = dict(struck)
    outcome.seconds = round(time.monotonic() - begin, 1)
    if not outcome.trouble:
        results = run.folder / "results"
        run.copy_results(results)
        compare(expected, same_run.read_run(results), outcome)
    return outcome


def strike(run: Run, turn: Turn, faults: list[Kind], dice: random.Random) -> list[Kind]:
    """Takes from `faults` what strikes in this turn: one after the other, until it ends."""
    kinds = []
    while faults and not turn.ended and faults[-1].strike(run, turn, dice):
        kinds.append(faults.pop())
        turn.wait(_TO_END)  # if it ends of this
    return kinds


def compare(expected: dict[str, Any], found: dict[str, Any], outcome: Outcome) -> None:
    """Counts in `outcome` what is lost, doubled and changed."""
    for name in sorted(expected.keys() | found.keys()):
        before = expected.get(name, [])
        after = found.get(name, [])
        if isinstance(before, list) and isinstance(after, list):
            outcome.lost += max(0, len(before) - len(after))
            outcome.doubled += max(0, len(after) - len(before))
        differences = list(same_run.differences(before, after, name))
        outcome.changed += len(differences)
        if differences and not outcome.trouble:
            outcome.trouble = f"other than undisturbed: {differences[0]}"


if __name__ == "__main__":
    sys.exit(main())
