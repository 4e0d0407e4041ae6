"""How processes find each other, agree, and end together."""

import signal

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


def test_one_process_agrees_with_itself():
    agreed = processes.Agreed()
    assert [agreed(2), agreed(0), agreed.last(1)] == [2, 0, 1]
    assert (
        processes.largest(3) == 3 and processes.all_agree(True) and not processes.all_agree(False)
    )
    processes.leave(2, "returns")


_PROGRAM = """
import os, sys, time
from glore_jax.parallel import processes
index, count = int(sys.argv[2]), int(sys.argv[3])
if "MPI" in sys.argv:
    os.environ |= {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:1", "OMPI_COMM_WORLD_SIZE": str(count),
                   "OMPI_COMM_WORLD_RANK": str(index), "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
assert processes.initialize(sys.argv[1], *(() if "MPI" in sys.argv else (count, index)), timeout=60)
import jax
processes.barrier("here")
agreed = processes.Agreed()
print(processes.index(), processes.is_main(), jax.device_count(), processes.largest(10 + index), processes.all_agree(index != 1),
      agreed(index % 2), agreed(2 * index), agreed.last(index // 2), flush=True)
"""


def start(count, body="processes.leave(0)", *options):
    def arguments(address, index):
        return "-c", _PROGRAM + body, address, index, count, *options

    return several.together(count, arguments)


def test_two_processes_become_one_run():
    with start(2) as run:
        ends = several.ended(run)
    assert [code for code, *_ in ends] == [0, 0], ends
    #                                  largest, agreed: nothing yet, then one call late, the last at once
    assert [out.splitlines()[-1] for _, out, _ in ends] == [
        f"{me} 2 11 False 0 1 2" for me in ("0 True", "1 False")
    ]


_WAIT = """
try:
    time.sleep(600) if index == {gone} else processes.barrier("never")
except Exception:
    processes.may_be_an_echo()
    raise
"""


@pytest.mark.parametrize("gone", [0, 2])
def test_one_that_is_killed_ends_all_four(gone):
    """The others wait in a collective, for ever or until it breaks; deaf to everything, and to each other."""
    with start(4, _WAIT.format(gone=gone)) as run:
        for process in run:
            assert any(line[0].isdigit() for line in process.stdout), process.stderr.read()
        run[gone].kill()
        ends = several.ended(run)
    assert ends.pop(gone)[0] == -signal.SIGKILL
    line = f"glore: process {gone} is gone: killed, or its machine is down; this process ends too. "
    for code, _, err in ends:
        assert code == processes.LOST and err.splitlines()[-1].startswith(line), err


@pytest.mark.parametrize("numbers_from", ["FLAGS", "MPI"])
def test_one_that_fails_ends_the_other_with_its_reason(numbers_from):
    """Also where only JAX knows how many they are, from the environment that a cluster gives them."""
    body = "if index == 1: processes.leave(2, 'error: disk full')\nprocesses.barrier('never')"
    with start(2, body, numbers_from) as run:
        (first, _, err), (second, *_) = several.ended(run)
    assert (first, second) == (processes.LOST, 2)
    assert (
        "glore: process 1 ended with exit code 2 (error: disk full); this process ends too. " in err
    )
