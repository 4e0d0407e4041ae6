"""How long a run that was killed takes to its first update again, on several processes.

    python -m benchmarks.restart [--processes=1,2,4] [--workdir=DIR]

The miniature run's processes start in a fresh work directory, each with a cache of compiled
programs of its own as every worker of a slice has it, and are killed with -9 once a checkpoint lies
there. The same command then goes on. Printed are the seconds from the start of the processes to
the end of each phase, of the slowest process, at the first start (cold) and at the second (warm),
and how many compiled programs were found and how many were missing.

All processes share the cores of this machine, where a worker of a slice has its own: the CPU
seconds of a process say more than the clock.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import harness
from benchmarks.miniature import CONFIG, FLAGS, QUICK, ROOT
from glore_jax.parallel.lifeline import free_port

PHASES = ("imports", "joined", "planned", "checked", "examples", "compiled", "restored", "update")
_TRAINING = ("--config.student.sft.epochs=50", "--config.student.sft.save_seconds=1")
_PATIENCE = 600.0
_LOOK = 0.05


# Of a process.


class Marks:
    """When each phase of this process ended, in seconds since it was started at `began`.

    At the end of the last one all goes to the JSON file `file`.
    """

    def __init__(self, began: float, file: pathlib.Path):
        self._began = began
        self._file = file
        self._seconds: dict[str, float] = {}
        self._cpu: dict[str, float] = {}
        self._events = dict.fromkeys(("cache_hits", "cache_misses"), 0)

    def listen(self, event: str, **_: object) -> None:
        """Counts compiled programs that were found, and that were not."""
        name = event.rpartition("/")[2]
        if name in self._events:
            self._events[name] += 1

    def mark(self, phase: str) -> None:
        """The end of `phase`; only the first counts."""
        if phase in self._seconds:
            return
        self._seconds[phase] = time.time() - self._began
        self._cpu[phase] = time.process_time()
        if phase == PHASES[-1]:
            found = {"seconds": self._seconds, "cpu": self._cpu} | self._events
            part = self._file.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.replace(self._file)

    def after(self, owner: object, name: str, phase: str, before: str = "") -> None:
        """`owner.name` marks `phase` when it has returned, and `before` when it is called."""
        function = getattr(owner, name)

        def marked(*args, **options):
            if before:
                self.mark(before)
            result = function(*args, **options)
            if phase == PHASES[-1]:
                import jax

                jax.block_until_ready(result)
            self.mark(phase)
            return result

        setattr(owner, name, marked)


def work() -> None:
    """The real command, with its phases marked; `sys.argv` holds its flags."""
    marks = Marks(float(os.environ["RESTART_BEGAN"]), pathlib.Path(os.environ["RESTART_FILE"]))
    import jax

    from glore_jax import main, pipeline
    from glore_jax.parallel import processes
    from glore_jax.pipeline import checks
    from glore_jax.training import fitting, loop

    jax.monitoring.register_event_listener(marks.listen)
    marks.mark("imports")
    marks.after(processes, "initialize", "joined")
    marks.after(pipeline, "make_plan", "planned")
    marks.after(checks, "check_questions", "checked")
    marks.after(loop, "_fit", "compiled", before="examples")
    marks.after(loop, "_first_state", "restored")
    marks.after(fitting.Updates, "__call__", "update")
    main.cli()


# Of all.


def start(count: int, folder: pathlib.Path, turn: str) -> list[subprocess.Popen]:
    """The command on `count` processes; process I will leave its marks in `folder`/TURN-I.json."""
    address = f"127.0.0.1:{free_port()}"
    running = []
    for index in range(count):
        variables = {
            "RESTART_BEGAN": str(time.time()),
            "RESTART_FILE": str(folder / f"{turn}-{index}.json"),
            "XDG_CACHE_HOME": str(folder / f"caches-{index}"),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": QUICK,
            "NPROC": "16",
        }
        command = [sys.executable, "-c", "from benchmarks import restart; restart.work()"]
        command += [f"--config={CONFIG}", f"--workdir={folder / 'work'}", "--stage=student"]
        command += [*FLAGS, *_TRAINING]
        if count > 1:
            command += [f"--coordinator={address}", f"--num_processes={count}"]
            command += [f"--process_id={index}"]
        own = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
        with open(folder / f"{turn}-{index}.txt", "w") as log:
            running.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=own | variables,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return running


def turn(count: int, folder: pathlib.Path, name: str) -> list[dict]:
    """The marks of each process of one start, which is killed once they and a checkpoint are there.

    SystemExit, with the log of a process, if it ends before.
    """
    running = start(count, folder, name)
    files = [folder / f"{name}-{index}.json" for index in range(count)]
    saved = folder / "work" / "student" / "round-0" / "checkpoints"
    deadline = time.monotonic() + _PATIENCE
    try:
        while not (all(f.exists() for f in files) and any(saved.glob("[0-9]*"))):
            for index, process in enumerate(running):
                if process.poll() is not None or time.monotonic() > deadline:
                    log = (folder / f"{name}-{index}.txt").read_text()
                    raise SystemExit(f"process {index} did not come to its first update:\n{log}")
            time.sleep(_LOOK)
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [json.loads(f.read_text()) for f in files]


def rows(count: int, name: str, found: list[dict]) -> str:
    """The slowest process at the end of each phase, on the clock and on its cores; all programs."""
    hits = sum(process["cache_hits"] for process in found)
    misses = sum(process["cache_misses"] for process in found)
    lines = []
    for kind in ("seconds", "cpu"):
        slowest = (max(process[kind][phase] for process in found) for phase in PHASES)
        cells = "".join(f"{s:10.1f}" for s in slowest)
        lines.append(f"{count:>9} {name:<6}{kind:<8}{cells}{hits:7}{misses:9}")
    return "\n".join(lines)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--processes", default="1,2,4", help="how many, separated by commas")
    parser.add_argument("--workdir", help="where all of it goes; default: a temporary folder")
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores, shared by all processes; seconds since they were started")
    heads = "".join(f"{phase:>10}" for phase in PHASES)
    print(f"processes start {'':<8}{heads}{'found':>7}{'missing':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for count in map(int, given.processes.split(",")):
            folder = pathlib.Path(given.workdir or scratch) / str(count)
            folder.mkdir(parents=True)
            for name in ("cold", "warm"):
                print(rows(count, name, turn(count, folder, name)), flush=True)


if __name__ == "__main__":
    main()
