"""Several processes as one run: start, who am I, wait for the others.

One process needs none of this, and then JAX is not even imported here: a run that has nothing to do ends in a second.

Invariants of a run of several processes. All start the same command. All read the same work directory. Process 0 alone writes
what all share (manifests, reports, exports); everyone waits at a barrier before it reads what process 0 wrote. What depends on a
clock, a signal or a disk is never decided by one process for itself: `Agreed`, `all_agree`. If one ends before its time, all end.
"""

import functools
import os
import sys
import time
from collections.abc import Callable

from glore_jax.errors import UserError
from glore_jax.parallel.lifeline import Lifeline, free_port, roll_call

TIMEOUT = 300  # seconds; a slice whose hosts boot together is complete well before
LOST = 3  # exit code of a process that ends because another did
ECHO = 3.0  # seconds in which the end of a process on any machine is known on all

_several = False
_lifeline: Lifeline | None = None


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
        raise UserError(
            f"process_id is {index}, num_processes is {count}: ids run from 0 to {count - 1}"
        )
    if coordinator and count is not None and index is not None:
        _hold(roll_call(coordinator, count, index, timeout))
    import jax

    # JAX's own notice of pre-emption swallows SIGTERM for good, and only a training loop could ask it whether one came.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=timeout)
    except (RuntimeError, ValueError) as e:  # JAX's run-time errors are RuntimeErrors
        where = coordinator or "the coordinator of this TPU slice"
        missing = f"not all {count} processes" if count else "not all processes"
        reason = " ".join(str(e).split())[:300]
        raise UserError(f"{missing} came together at {where} within {timeout} s: {reason}") from e
    _several = jax.process_count() > 1
    if _several and not _lifeline:  # only JAX knew the numbers; its coordinator has the port now
        port = largest(free_port() if jax.process_index() == 0 else 0)
        # Several slices: each lists its own hosts only, and process 0 is where they look for each other.
        named = coordinator or os.environ.get("MEGASCALE_COORDINATOR_ADDRESS") or hosts[0]
        host = named.rpartition(":")[0] or named
        _hold(roll_call(f"{host}:{port}", jax.process_count(), jax.process_index(), timeout))
    return True


def _number(name: str, value: int | None, variable: str) -> int | None:
    text = os.environ.get(variable) if value is None else str(value)
    if text and not text.isdecimal():
        raise UserError(
            f"{name} is {text!r}: it must be a whole number (flag --{name} or ${variable})"
        )
    return int(text) if text else None


def _hold(lifeline: Lifeline) -> None:
    global _lifeline
    _lifeline = lifeline
    _lifeline.watch(_lost)


def _lost(loss: str) -> None:
    """Ends this process from the lifeline's thread: its main thread may wait for the lost one for ever, deaf to everything."""
    print(  # on a line of its own, whatever a progress bar has written
        f"\nglore: {loss}; this process ends too. The same command on all machines goes on from here",
        file=sys.stderr,
        flush=True,
    )
    os._exit(LOST)


def leave(code: int, reason: str = "") -> None:
    """The end of this process: the others hear of it, and end too if `code` is not 0. Nothing happens if it is the only one.

    With a `code` it does not return, for what Python does at its end would wait for the others. `reason`: one line for them.
    """
    if _lifeline:
        _lifeline.leave(f"ended with exit code {code}{reason and f' ({reason})'}" if code else "")
    if code and (_lifeline or _several):
        sys.stdout.flush()
        os._exit(code)


def part() -> None:
    """All have agreed to end here: waits for the others, after which nobody minds who ends first. No collective works any more."""
    global _lifeline
    if _lifeline:
        _lifeline.rest()
        _lifeline = None
    if _several:
        import jax

        jax.distributed.shutdown()


def may_be_an_echo() -> None:
    """To be called with an error in hand: gives the lifeline time to say that it is the echo of another process's end, and to end
    this one for that reason."""
    if _lifeline:
        time.sleep(ECHO)


def check() -> None:
    """UserError if this is one host of several that were not started as one run: each would think it is process 0."""
    import jax

    if jax.process_count() > 1 and not _several:
        raise UserError(
            f"this machine is one of {jax.process_count()} hosts: start the same command on all of them with --coordinator=HOST:PORT"
        )


def alone() -> bool:
    """Whether the run has only this process."""
    return not _several


def index() -> int:
    """Number of this process, 0 if it is the only one."""
    if not _several:
        return 0
    import jax

    return jax.process_index()


def is_main() -> bool:
    """Whether this process writes what all share."""
    return index() == 0


def on_main(function: Callable, *args, **options):
    """Calls `function` on process 0 only; None elsewhere."""
    return function(*args, **options) if is_main() else None


def barrier(name: str) -> None:
    """Waits until every process has come to the barrier `name`; nothing with one process."""
    if _several:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


class Agreed:
    """The largest of the numbers that all processes give, the same for all and at the same call.

    With several processes a call returns what was agreed at the call before: by then it has been computed, so nobody waits for
    the others more than the training step itself does.
    """

    def __init__(self):
        self._before = None

    def __call__(self, number: int) -> int:
        """`number` is not negative. 0 at the first call of several processes."""
        if not _several:
            return number
        before, self._before = self._before, _largest(number)
        return 0 if before is None else int(before)

    def last(self, number: int) -> int:
        """Waits for the agreement on this very number; also counts the call before."""
        return max(self(number), self(0))


def largest(number: int) -> int:
    """The largest `number` (not negative) of all processes; waits for all."""
    return int(_largest(number)) if _several else number


def all_agree(yes: bool) -> bool:
    """Whether every process says yes; waits for all."""
    return largest(int(not yes)) == 0


def _largest(number: int):
    """An int32 scalar on this process's first device, still being computed: the largest `number` of all processes."""
    import jax
    import numpy as np

    each, largest_of = _maximum()
    mine = np.full(jax.device_count(), number, np.int32)
    return largest_of(
        jax.make_array_from_callback(mine.shape, each, mine.__getitem__)
    ).addressable_data(0)


@functools.cache
def _maximum():
    """(the sharding of one number on each device, the compiled largest of them)."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    every = Mesh(np.asarray(jax.devices()), "all")
    whole = NamedSharding(every, PartitionSpec())
    return NamedSharding(every, PartitionSpec("all")), jax.jit(jax.numpy.max, out_shardings=whole)
