"""A run of real processes that something happens to: started, struck, watched to its end.

setting     how many processes, on a disk of their own or on a bucket
run         one work directory, in which the same command is started until it is done
turn        one start of that command, up to the end of all its processes
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.bucket import FailingServer
from benchmarks.miniature import CONFIG, FLAGS, QUICK, ROOT, keeping
from glore_jax.parallel.lifeline import free_port

# Trainings that last some seconds and save in each of them.
_TRAINING = {"epochs": 3, "save_seconds": 1}
LONGER = [
    f"--config.{section}.{name}={value}"
    for section in ("student.sft", "orm.train", "sorm.train", "refiner.train")
    for name, value in _TRAINING.items()
]
PATIENCE = 900.0  # seconds in which a turn ends, or hangs, on a machine with other work
_LOOK = 0.02  # seconds between two looks at the processes


@dataclasses.dataclass(frozen=True)
class Setting:
    """How a run is started.

    Attributes:
      processes: of the run.
      place: where its work directory lies: "disk", "small disk" or "bucket".
    """

    processes: int
    place: str

    def __str__(self) -> str:
        count = "one process" if self.processes == 1 else f"{self.processes} processes"
        return f"{count}, {self.place}"


@dataclasses.dataclass
class Run:
    """A work directory and what is needed to start the command in it.

    Attributes:
      setting: of the run.
      workdir: as the command is given it.
      folder: on this machine, for the logs.
      cache: folder of compiled programs, shared by all runs.
      variables: further environment variables of the processes.
      server: of the bucket, if the work directory lies in one.
    """

    setting: Setting
    workdir: str
    folder: pathlib.Path
    cache: pathlib.Path
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    server: FailingServer | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """Starts the command; whatever happens inside, its processes are gone afterwards."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._printed_before = len(self._main_log())
        address = f"127.0.0.1:{free_port()}"
        processes = [self._start(index, address) for index in range(self.setting.processes)]
        try:
            yield Turn(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def _start(self, index: int, address: str) -> subprocess.Popen:
        count = self.setting.processes
        command = [sys.executable, "-m", "glore_jax.main", f"--config={CONFIG}", *FLAGS, *LONGER]
        command.append(f"--workdir={self.workdir}")
        if count > 1:
            command += [f"--coordinator={address}"]
            command += [f"--num_processes={count}", f"--process_id={index}"]
        own = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TPU_"))}
        set_here = {
            "PYTHONPATH": str(ROOT),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": QUICK,
            "NPROC": "16",
        }
        environment = own | set_here | keeping(self.cache) | self.variables
        with open(self.log(index), "a") as log:
            return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def log(self, index: int) -> pathlib.Path:
        """What process `index` printed, turn after turn."""
        return self.folder / f"{index}.txt"

    def _main_log(self) -> str:
        log = self.log(0)
        return log.read_text() if log.exists() else ""

    @property
    def printed(self) -> str:
        """What process 0 printed in this turn."""
        return self._main_log()[self._printed_before :]

    def copy_results(self, target: pathlib.Path) -> None:
        """Copies records, figures and manifests to the folder `target`."""
        if self.server:
            self.server.copy(self.workdir, target, (".parquet", ".json"))
            return
        source = pathlib.Path(self.workdir)
        for file in source.rglob("*"):
            if file.suffix in (".parquet", ".json"):
                copy = target / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)

    def last_lines(self, count: int = 3) -> str:
        """The ends of all logs, for a report of what went wrong."""
        ends = []
        for index in range(self.setting.processes):
            lines = self.log(index).read_text().replace("\r", "\n").splitlines()
            ends.append(f"{index}: " + " / ".join(lines[-count:]))
        return "; ".join(ends)[-2000:]


@dataclasses.dataclass
class Turn:
    """The processes of one start.

    Attributes:
      processes: all of them.
      hung: whether they were given all the time there is, and had not ended.
    """

    processes: list[subprocess.Popen]
    hung: bool = False

    @property
    def codes(self) -> list[int | None]:
        """Exit codes; None of a process that runs."""
        return [process.poll() for process in self.processes]

    @property
    def ended(self) -> bool:
        return None not in self.codes

    @property
    def succeeded(self) -> bool:
        return set(self.codes) == {0}

    def wait(self, seconds: float | None = None) -> bool:
        """Whether all processes ended in so many seconds; None: in all the time there is."""
        end = time.monotonic() + (PATIENCE if seconds is None else seconds)
        while not self.ended and time.monotonic() < end:
            time.sleep(_LOOK)
        self.hung |= seconds is None and not self.ended
        return self.ended

    def kill(self, index: int | None = None) -> None:
        """SIGKILL for process `index`, or for all of them at once."""
        self.signal(signal.SIGKILL, index)

    def signal(self, number: int, index: int | None = None) -> None:
        chosen = self.processes if index is None else [self.processes[index]]
        for process in chosen:
            process.send_signal(number)


# A disk that can be made full.


@contextlib.contextmanager
def small_disk(folder: pathlib.Path) -> Iterator[None]:
    """A file system of its own at `folder`, in memory.

    PermissionError if that takes more rights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=4g", "glore_jax", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise PermissionError(f"cannot mount a file system at {folder}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def limit_disk(folder: pathlib.Path, spare: int | None) -> None:
    """Leaves `spare` bytes on the disk at `folder`; None: all the room there is."""
    size = "4g"
    if spare is not None:
        size = str(shutil.disk_usage(folder).used + spare)
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
