"""What the campaign says of a start of the command."""

import subprocess
import sys

import pytest

from benchmarks import faulted_run
from benchmarks.faulted_run import Turn


@pytest.fixture
def turn():
    command = [sys.executable, "-c", "input()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    yield Turn([process])
    process.kill()
    process.communicate()


def test_a_turn_hangs_that_does_not_end_in_all_the_time_there_is(turn, monkeypatch):
    monkeypatch.setattr(faulted_run, "PATIENCE", 0.2)
    assert not turn.wait(0.1) and not turn.hung
    assert not turn.wait() and turn.hung
    turn.kill()
    assert turn.wait() and turn.hung  # that it ended later does not mend it


def test_a_turn_that_ends_does_not_hang(turn):
    turn.processes[0].stdin.close()
    assert turn.wait() and not turn.hung and turn.codes == [1] and not turn.succeeded
