"""Real processes on this machine that are one run: started together, and nobody waits for ever."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys

from finished_run import QUICK, ROOT

from glore_jax.parallel.lifeline import free_port

# The command as `python -c`, in which every process, not process 0 alone, prints how far it is at
# every step, not every minute.
TALKATIVE = """
import types
from glore_jax.progress import run, screen
run.processes = types.SimpleNamespace(is_main=lambda: True)
screen._LOG_FIRST = screen._LOG_MOST = 0.0
from glore_jax import main
main.cli()
"""


def is_under_way(training: str, log: pathlib.Path) -> bool:
    """Whether the `log` of a talkative process shows updates of `training`, as "orm/plain"."""
    stage, name = training.split("/")
    return re.search(rf" {stage}: {name} \d+ of \d+ updates", log.read_text()) is not None


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process with so many fake devices, whatever this process has."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TPU_"))}
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    flags = f"--xla_force_host_platform_device_count={devices} {QUICK}"
    return own | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": "16"}


@contextlib.contextmanager
def together(
    count: int, arguments, devices: int = 1, log: pathlib.Path | None = None, **variables: str
):
    """Starts `python *arguments(address, index)` `count` times and yields the processes.

    They have text pipes for what they print. A pipe holds only so much, so with `log` the output of
    process N goes to the end of the file `log`/N.txt instead. Whatever happens inside, all are gone
    afterwards.
    """
    address = free_address()
    processes = []
    for index in range(count):
        command = [sys.executable, *map(str, arguments(address, index))]
        options = {"env": environment(devices) | variables, "cwd": ROOT, "text": True}
        if log is None:
            pipe = subprocess.PIPE
            processes.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, **options))
            continue
        with open(log / f"{index}.txt", "a") as file:
            both = {"stdout": file, "stderr": subprocess.STDOUT}
            processes.append(subprocess.Popen(command, **both, **options))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()  # SIGTERM would only be a notice
        for process in processes:
            process.communicate()


def ended(processes) -> list[tuple[int, str, str]]:
    """(exit code, stdout, stderr) of each, once all have ended."""
    outputs = [process.communicate(timeout=300) for process in processes]
    return [(p.returncode, out, err) for p, (out, err) in zip(processes, outputs)]
