"""Several processes as one run: start, who am I, wait for the others.

One process needs none of this, and then JAX is not even imported here: a run that has nothing to do ends in a second.

Invariants of a run of several processes. All start the same command. All read the same work directory. Process 0 alone writes
what all share (manifests, reports, exports); everyone waits at a barrier before it reads what process 0 wrote.
"""

import contextlib
import os
import socket
import time

from glore_jax.errors import UserError

TIMEOUT = 300  # seconds; a slice whose hosts boot together is complete well before

_several = False


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: int = TIMEOUT,
) -> bool:
    """Joins the other processes, if there are any to join; True if it did. Call it before any other use of JAX.

    Args:
      coordinator: `host:port` of process 0, default `$JAX_COORDINATOR_ADDRESS`. Without it, and without a TPU environment
        that lists several hosts (`$TPU_WORKER_HOSTNAMES`), the run has one process.
      num_processes, process_id: default `$JAX_NUM_PROCESSES`, `$JAX_PROCESS_ID`; what is still missing JAX asks its
        environment for (Cloud TPU, Slurm, Open MPI, Kubernetes).
      timeout: seconds to wait for the others.

    Raises:
      UserError: the address is malformed, the numbers do not fit, or somebody does not come in time.
    """
    global _several
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    hosts = [h for h in os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if h]
    if not coordinator and len(hosts) < 2:
        if num_processes is not None or process_id is not None:
            raise UserError(
                "--num_processes and --process_id need --coordinator=HOST:PORT, the address of process 0"
            )
        return False
    count = _number("num_processes", num_processes, "JAX_NUM_PROCESSES")
    index = _number("process_id", process_id, "JAX_PROCESS_ID")
    if count is not None and index is not None and not 0 <= index < count:
        raise UserError(f"process_id is {index}, num_processes is {count}: ids run from 0 to {count - 1}")
    if coordinator and count is not None and index is not None:
        _roll_call(coordinator, count, index, timeout)
    import jax

    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=timeout)
    except (RuntimeError, ValueError) as e:  # JAX's run-time errors are RuntimeErrors
        where = coordinator or "the coordinator of this TPU slice"
        missing = f"not all {count} processes" if count else "not all processes"
        reason = " ".join(str(e).split())[:300]
        raise UserError(f"{missing} came together at {where} within {timeout} s: {reason}") from e
    _several = jax.process_count() > 1
    return True


def _number(name: str, value: int | None, variable: str) -> int | None:
    text = os.environ.get(variable) if value is None else str(value)
    if text and not text.isdecimal():
        raise UserError(f"{name} is {text!r}: it must be a whole number (flag --{name} or ${variable})")
    return int(text) if text else None


def _roll_call(address: str, count: int, index: int, timeout: float) -> None:
    """Returns in every process once all `count` have reported to process 0, or raises UserError naming who did not.

    JAX waits for the others too, but if one is missing it aborts the process with a stack trace that does not say which.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise UserError(f"coordinator address {address!r}: needs the form HOST:PORT")
    deadline = time.monotonic() + timeout
    if index == 0:
        _hear_all(int(port), set(range(1, count)), deadline, timeout)
        return
    trouble: Exception | str = "it closed the connection"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, int(port)), timeout=5) as connection:
                connection.sendall(f"{index}\n".encode())
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                if connection.recv(2) == b"go":
                    return
        except OSError as e:
            trouble = e
        time.sleep(0.2)
    raise UserError(
        f"process {index} heard nothing from process 0 at {address} in {timeout} s: {trouble}; is that port open?"
    )


def _hear_all(port: int, missing: set[int], deadline: float, timeout: float) -> None:
    """Listens where JAX's coordinator will listen afterwards, until every process of `missing` has reported."""
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )
    except OSError as e:
        raise UserError(
            f"process 0 cannot listen on port {port}: {e.strerror}; choose another port in --coordinator"
        ) from e
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        present = []
        while missing:
            try:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                connection, _ = server.accept()
            except TimeoutError as e:
                names = ", ".join(map(str, sorted(missing)))
                raise UserError(
                    f"process {names} did not report to process 0 on port {port} within {timeout} s"
                ) from e
            stack.enter_context(connection)
            connection.settimeout(5)
            try:
                report = connection.recv(16).decode(errors="replace").strip()
            except OSError:  # not one of ours, or it broke off; ours will try again
                continue
            if report.isdecimal():
                missing.discard(int(report))
                present.append(connection)
        for connection in present:
            with contextlib.suppress(OSError):
                connection.sendall(b"go")


def check() -> None:
    """UserError if this is one host of several that were not started as one run: each would think it is process 0."""
    import jax

    if jax.process_count() > 1 and not _several:
        raise UserError(
            f"this machine is one of {jax.process_count()} hosts: start the same command on all of them with --coordinator=HOST:PORT"
        )


def index() -> int:
    """Number of this process, 0 if it is the only one."""
    if not _several:
        return 0
    import jax

    return jax.process_index()


def is_main() -> bool:
    """Whether this process writes what all share."""
    return index() == 0


def barrier(name: str) -> None:
    """Waits until every process has come to the barrier `name`; nothing with one process."""
    if _several:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)
