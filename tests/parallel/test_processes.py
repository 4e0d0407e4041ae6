"""How processes find each other, agree, and end together."""

import signal
import subprocess
import sys

import pytest
import several

from glore_jax.errors import UserError
from glore_jax.parallel import processes


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for variable in (
        "JAX_COORDINATOR_ADDRESS",
        "JAX_NUM_PROCESSES",
        "JAX_PROCESS_ID",
        "TPU_WORKER_HOSTNAMES",
    ):
        monkeypatch.delenv(variable, raising=False)


def test_one_process_joins_nobody(monkeypatch):
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "localhost")
    assert processes.initialize() is False
    assert processes.is_main() and processes.index() == 0
    processes.barrier("alone")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((None, 2, 0), "need --coordinator=HOST:PORT"),
        (("host:1", 2, 2), "process_id is 2, num_processes is 2: ids run from 0 to 1"),
        (("host", 2, 1), "coordinator address 'host': needs the form HOST:PORT"),
        (("host", None, None), "coordinator address 'host': needs the form HOST:PORT"),
    ],
)
def test_addresses_and_numbers_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        processes.initialize(*arguments)


def test_numbers_come_from_the_environment_too(monkeypatch):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", several.free_address())
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(UserError, match="num_processes is 'two': it must be a whole number"):
        processes.initialize()


@pytest.mark.parametrize("numbers", ["None, None", "2, None"])
def test_numbers_that_nobody_knows_are_a_mistake_in_the_command(numbers):
    """In a process of its own: in this one JAX has been at work."""
    program = f"""
from glore_jax.errors import UserError
from glore_jax.parallel import processes
try:
    processes.initialize("{several.free_address()}", {numbers})
except UserError as error:
    print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=several.environment(), capture_output=True, text=True)
    assert "give --coordinator=HOST:PORT, --num_processes and" in done.stdout, done


def test_one_process_agrees_with_itself():
    agreed = processes.DelayedMaximum()
    assert [agreed.next(2), agreed.next(0), agreed.final(1)] == [2, 0, 1]
    assert processes.maximum(3) == 3
    assert processes.all_agree(True) and not processes.all_agree(False)
    processes.announce_exit(2, "returns")


def test_a_maximum_comes_one_call_late():
    """The picture in `DelayedMaximum`, seen from either process."""
    largest = iter([1, 2, 0, 1, 0])  # of both, call by call; the end makes two of them
    given = []

    def maximum(number):
        given.append(number)
        return next(largest)

    agreed = processes.DelayedMaximum(maximum)
    assert [agreed.next(0), agreed.next(2), agreed.next(0), agreed.final(1)] == [0, 1, 2, 1]
    assert given == [0, 2, 0, 1, 0]


_PROGRAM = """
import os, sys, time
from glore_jax.parallel import processes
index, count = int(sys.argv[2]), int(sys.argv[3])
numbers = (count, index)
if "MPI" in sys.argv:
    numbers = ()
    os.environ |= {
        "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:1",
        "OMPI_COMM_WORLD_SIZE": str(count),
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_RANK": "0",
    }
assert processes.initialize(sys.argv[1], *numbers, timeout=60)
import jax
processes.barrier("here")
agreed = processes.DelayedMaximum()
print(
    processes.index(),
    processes.is_main(),
    jax.device_count(),
    processes.maximum(10 + index),
    processes.all_agree(index != 1),
    agreed.next(index % 2),
    agreed.next(2 * index),
    agreed.final(index // 2),
    flush=True,
)
"""


def start(count, body="processes.announce_exit(0)", *options):
    def arguments(address, index):
        return "-c", _PROGRAM + body, address, index, count, *options

    return several.together(count, arguments)


def test_two_processes_become_one_run():
    with start(2) as run:
        ends = several.ended(run)
    assert [code for code, *_ in ends] == [0, 0], ends
    # The maximum, no agreement; the delayed maximum: nothing yet, one call late, the last at once.
    found = [out.splitlines()[-1] for _, out, _ in ends]
    assert found == [f"{me} 2 11 False 0 1 2" for me in ("0 True", "1 False")]


_WAIT = """
try:
    time.sleep(600) if index == {gone} else processes.barrier("never")
except Exception:
    processes.wait_for_peer_loss()
    raise
"""


@pytest.mark.parametrize("gone", [0, 2])
def test_one_that_is_killed_ends_all_four(gone):
    """The others wait in a collective, for ever or until it breaks.

    They are deaf to everything, and to each other.
    """
    with start(4, _WAIT.format(gone=gone)) as run:
        for process in run:
            assert any(line[0].isdigit() for line in process.stdout), process.stderr.read()
        run[gone].kill()
        ends = several.ended(run)
    assert ends.pop(gone)[0] == -signal.SIGKILL
    line = f"glore: process {gone} is gone: killed, or its machine is down; this process ends too. "
    for code, _, err in ends:
        assert code == processes.EXIT_PEER_LOST
        assert err.splitlines()[-1].startswith(line), err


@pytest.mark.parametrize("numbers_from", ["FLAGS", "MPI"])
def test_one_that_fails_ends_the_other_with_its_reason(numbers_from):
    """Also where only JAX knows how many they are, from what a cluster gives them."""
    body = """
if index == 1:
    processes.announce_exit(2, 'error: disk full')
processes.barrier('never')
"""
    with start(2, body, numbers_from) as run:
        (first, _, err), (second, *_) = several.ended(run)
    assert (first, second) == (processes.EXIT_PEER_LOST, 2)
    line = "glore: process 1 ended with exit code 2 (error: disk full); this process ends too. "
    assert line in err
