"""Several processes as one run: join, who am I, wait for the others, agree, end together.

One process needs none of this, and then JAX is not even imported here: a run that has nothing to
do ends in a second.

Invariants of a run of several processes:

* All start the same command, and all read the same work directory.
* Process 0 alone writes what all share (manifests, reports, exports); everyone waits at a barrier
  before it reads what process 0 wrote.
* What depends on a clock, a signal or a disk is never decided by one process for itself, but with
  `DelayedMaximum`, `maximum` or `all_agree`: collectives match by their order, so all processes
  have to take the same way.
* If one ends before its time, all end (`lifeline.py`).
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn, SupportsInt

from glore_jax.errors import TransientError, UserError
from glore_jax.parallel.lifeline import Lifeline, free_port, host_and_port, rendezvous

JOIN_SECONDS = 300  # a slice whose hosts boot together is complete well before
EXIT_PEER_LOST = 3  # exit code of a process that ends because another did
PEER_LOSS_SECONDS = 3.0  # by then the end of a process on any machine is known on all

_several = False
_lifeline: Lifeline | None = None


# Joining.


def initialize(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    timeout: int = JOIN_SECONDS,
) -> bool:
    """Joins the other processes, if there are any to join; True if it did.

    Call it before any other use of JAX.

    Args:
      coordinator: `host:port` of process 0, default `$JAX_COORDINATOR_ADDRESS`. Without it, and
        without a TPU environment that lists several hosts (`$TPU_WORKER_HOSTNAMES`), the run has
        one process.
      num_processes, process_id: default `$JAX_NUM_PROCESSES`, `$JAX_PROCESS_ID`; what is still
        missing JAX asks its environment for (Cloud TPU, Slurm, Open MPI, Kubernetes).
      timeout: seconds to wait for the others.

    Raises:
      UserError: the address is malformed, the numbers do not fit, or nothing says what they are.
      TransientError: somebody does not come in time.
    """
    global _several
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS")
    hosts = [host for host in os.environ.get("TPU_WORKER_HOSTNAMES", "").split(",") if host]
    if not coordinator and len(hosts) < 2:
        if num_processes is not None or process_id is not None:
            raise UserError(
                "--num_processes and --process_id need --coordinator=HOST:PORT, "
                "the address of process 0"
            )
        return False
    if coordinator:
        host_and_port(coordinator)  # JAX takes any text
    count = _number("num_processes", num_processes, "JAX_NUM_PROCESSES")
    index = _number("process_id", process_id, "JAX_PROCESS_ID")
    if count is not None and index is not None and not 0 <= index < count:
        raise UserError(
            f"process_id is {index}, num_processes is {count}: ids run from 0 to {count - 1}"
        )
    if coordinator and count is not None and index is not None:
        _watch_peers(rendezvous(coordinator, count, index, timeout))

    _initialize_jax(coordinator, count, index, timeout)

    import jax

    _several = jax.process_count() > 1
    if _several and not _lifeline:
        # Only JAX knew the numbers. Its coordinator has the port now, so process 0 takes another.
        port = maximum(free_port() if jax.process_index() == 0 else 0)
        # Several slices: each lists its own hosts only, and process 0 is where they look for each
        # other.
        named = coordinator or os.environ.get("MEGASCALE_COORDINATOR_ADDRESS") or hosts[0]
        host = named.rpartition(":")[0] or named
        address = f"{host}:{port}"
        _watch_peers(rendezvous(address, jax.process_count(), jax.process_index(), timeout))
    return True


def _initialize_jax(
    coordinator: str | None, count: int | None, index: int | None, timeout: int
) -> None:
    import jax

    # JAX's own notice of pre-emption swallows SIGTERM for good, and only a training loop could ask
    # it whether one came.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(coordinator, count, index, initialization_timeout=timeout)
    except ValueError as error:  # nobody was asked yet
        raise UserError(
            "which process this is of how many is not known "
            f"({' '.join(str(error).split())[:300]}): give --coordinator=HOST:PORT, "
            "--num_processes and --process_id"
        ) from error
    except RuntimeError as error:  # JAX's run-time errors are RuntimeErrors
        where = coordinator or "the coordinator of this TPU slice"
        missing = f"not all {count} processes" if count else "not all processes"
        reason = " ".join(str(error).split())[:300]
        raise TransientError(
            f"{missing} came together at {where} within {timeout} s: {reason}"
        ) from error


def _number(name: str, value: int | None, variable: str) -> int | None:
    """`value`, by default what the environment says, None if it says nothing."""
    text = os.environ.get(variable) if value is None else str(value)
    if text and not text.isdecimal():
        raise UserError(
            f"{name} is {text!r}: it must be a whole number (flag --{name} or ${variable})"
        )
    return int(text) if text else None


def check_initialized() -> None:
    """UserError if this is one host of several that were not started as one run.

    Each of them would think it is process 0.
    """
    import jax

    if jax.process_count() > 1 and not _several:
        raise UserError(
            f"this machine is one of {jax.process_count()} hosts: start the same command on all "
            "of them with --coordinator=HOST:PORT"
        )


# Ending.


def _watch_peers(lifeline: Lifeline) -> None:
    global _lifeline
    _lifeline = lifeline
    lifeline.watch(_exit_after_peer)


def _exit_after_peer(loss: str) -> None:
    """Ends this process, from the lifeline's thread, because another has ended.

    The main thread may wait for the lost one for ever, deaf to everything.
    """
    print(  # on a line of its own, whatever a progress bar has written
        f"\nglore: {loss}; this process ends too. "
        "The same command on all machines goes on from here",
        file=sys.stderr,
        flush=True,
    )
    os._exit(EXIT_PEER_LOST)


def announce_exit(code: int, reason: str = "") -> None:
    """Says that this process ends: the others hear of it, and end too if `code` is not 0.

    With a `code` it does not return but exits at once, for what Python does at its end would wait
    for the others. Nothing happens if this process is the only one.

    Args:
      code: exit code of this process.
      reason: one line for the others.
    """
    if _lifeline and code:
        _lifeline.announce_exit(f"ended with exit code {code}{reason and f' ({reason})'}")
    elif _lifeline:
        _lifeline.announce_exit()
    if code and (_lifeline or _several):
        exit_at_once(code)


def exit_at_once(code: int) -> NoReturn:
    """Ends without what Python does at its end: it would wait for the other processes, or abort
    around a thread that is deep in XLA."""
    sys.stdout.flush()
    os._exit(code)


def disconnect() -> None:
    """Waits for the others, all of whom have agreed to end here; then nobody minds who ends first.

    No collective works any more.
    """
    global _lifeline
    if _lifeline:
        _lifeline.ignore_losses()
        _lifeline = None
    if _several:
        import jax

        jax.distributed.shutdown()


def raise_together(error: Exception) -> NoReturn:
    """Raises an error that every process has come to: each ends with it, none with the loss of
    another."""
    disconnect()
    raise error


def wait_for_peer_loss() -> None:
    """To be called with an error in hand that the end of another process may have caused.

    Gives the lifeline time to hear of that end, and to end this process for that reason.
    """
    if _lifeline:
        time.sleep(PEER_LOSS_SECONDS)


# Who, and waiting.


def is_single() -> bool:
    """Whether the run has only this process."""
    return not _several


def index() -> int:
    """Number of this process, 0 if it is the only one."""
    if not _several:
        return 0
    import jax

    return jax.process_index()


def count() -> int:
    """How many processes the run has."""
    if not _several:
        return 1
    import jax

    return jax.process_count()


def is_main() -> bool:
    """Whether this process writes what all share."""
    return index() == 0


def on_main(function: Callable, *args: Any, **options: Any) -> Any:
    """Calls `function` on process 0 only; None elsewhere."""
    return function(*args, **options) if is_main() else None


def barrier(name: str) -> None:
    """Waits until every process has come to the barrier `name`; nothing with one process."""
    if _several:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


# Agreeing.


class DelayedMaximum:
    """The largest of the numbers that all processes give, the same for all and at the same call.

    With several processes a call returns the maximum of the call before: by then it has been
    computed, so nobody waits for the others more than the training update itself does.

        call             1    2    3    final
        process 0 gives  0    2    0    1
        process 1 gives  1    0    0    0
        all get          0    1    2    1       (final: the larger of the calls 3 and final)

    Args:
      maximum: gives this process's number to a collective and returns the largest, perhaps before
        it has been computed; default: that of the run's processes, none if there is only one.
    """

    def __init__(self, maximum: Callable[[int], SupportsInt] | None = None):
        if maximum is None and _several:
            maximum = _start_maximum
        self._maximum = maximum
        self._before: SupportsInt = 0

    def next(self, number: int) -> int:
        """The maximum of the call before, 0 at the first; of one process the `number` itself.

        `number` is not negative.
        """
        if self._maximum is None:
            return number
        before = self._before
        self._before = self._maximum(number)
        return int(before)

    def final(self, number: int) -> int:
        """Waits for the maximum of this very call; the call before counts too."""
        return max(self.next(number), self.next(0))


def maximum(number: int) -> int:
    """The largest `number` (not negative) of all processes; waits for all."""
    return int(_start_maximum(number)) if _several else number


def all_agree(yes: bool) -> bool:
    """Whether every process says yes; waits for all."""
    return maximum(int(not yes)) == 0


def _start_maximum(number: int) -> SupportsInt:
    """The largest `number`: an int32 scalar on a device of this process, perhaps not yet there."""
    import jax
    import numpy as np

    sharding, largest_of = _compiled_maximum()
    # One element a device; a process fills in those of its own.
    mine = np.full(jax.device_count(), number, np.int32)
    numbers = jax.make_array_from_callback(mine.shape, sharding, mine.__getitem__)
    return largest_of(numbers).addressable_data(0)


@functools.cache
def _compiled_maximum() -> tuple[Any, Callable]:
    """(the sharding of one number on each device, the compiled largest of them)."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    every = Mesh(np.asarray(jax.devices()), "all")
    whole = NamedSharding(every, PartitionSpec())
    each = NamedSharding(every, PartitionSpec("all"))
    return each, jax.jit(jax.numpy.max, out_shardings=whole)
