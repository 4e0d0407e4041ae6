"""How processes find each other, and what they say when somebody is missing."""

import os
import pathlib
import socket
import subprocess
import sys
import threading

import pytest

from glore_jax.errors import UserError
from glore_jax.parallel import processes


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


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


def test_roll_call_ends_when_all_have_reported(address):
    ended = []

    def call(index):
        processes._roll_call(address, 4, index, 20)
        ended.append(index)

    threads = [threading.Thread(target=call, args=(i,)) for i in (3, 1, 0, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == [0, 1, 2, 3]


def test_process_0_names_who_is_missing(address):
    worker = threading.Thread(
        target=lambda: pytest.raises(UserError, processes._roll_call, address, 4, 2, 1.5)
    )
    worker.start()
    stranger = threading.Timer(0.3, lambda: socket.create_connection(tuple(address.split(":"))).close())
    stranger.start()  # a port scan is no report
    with pytest.raises(UserError, match=r"^process 1, 3 did not report to process 0 on port \d+ within 1 s$"):
        processes.initialize(address, 4, 0, timeout=1)
    worker.join()
    stranger.join()


def test_worker_names_the_coordinator_that_it_cannot_reach(address):
    with pytest.raises(
        UserError, match=rf"^process 1 heard nothing from process 0 at {address} in 1 s: .*refused"
    ):
        processes.initialize(address, 2, 1, timeout=1)


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


def test_numbers_come_from_the_environment_too(monkeypatch, address):
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", address)
    monkeypatch.setenv("JAX_NUM_PROCESSES", "two")
    with pytest.raises(UserError, match="num_processes is 'two': it must be a whole number"):
        processes.initialize()


_PROGRAM = """
import sys
from glore_jax.parallel import processes
assert processes.initialize(sys.argv[1], 2, int(sys.argv[2]), timeout=60)
import jax
processes.barrier("here")
print(processes.index(), processes.is_main(), jax.device_count(), flush=True)
"""


def test_two_processes_become_one_run(address):
    root = str(pathlib.Path(processes.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": root, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, address, str(i)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in (0, 1)
    ]
    lines = [process.communicate(timeout=300)[0].splitlines()[-1] for process in pair]
    assert lines == ["0 True 2", "1 False 2"]
