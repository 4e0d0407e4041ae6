"""Real processes on this machine that are one run: started together, and nobody waits for ever."""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent  # the checkout
_QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def environment(devices: int = 1) -> dict[str, str]:
    """Of a process with so many fake devices, whatever this process has."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TPU_"))}
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    flags = f"--xla_force_host_platform_device_count={devices} {_QUICK}"
    return own | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": "16"}


@contextlib.contextmanager
def together(count: int, arguments, devices: int = 1, **variables: str):
    """Starts `python *arguments(address, index)` `count` times; yields the processes, text pipes for what they print. Whatever
    happens inside, all are gone afterwards."""
    address = free_address()
    processes = [
        subprocess.Popen(
            [sys.executable, *map(str, arguments(address, index))],
            env=environment(devices) | variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in range(count)
    ]  # fmt: skip
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
