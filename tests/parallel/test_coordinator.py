"""What the coordinator hands around, in one process and in three."""

import json

import pytest
import several

from glore_jax.parallel import coordinator


def test_one_process_needs_no_coordinator():
    assert coordinator.from_main("decision", lambda: {1: (2, 3)}) == {"1": [2, 3]}
    coordinator.check_same("the training set", "abc")
    counter = coordinator.Counter("part")
    assert [counter.next() for _ in range(3)] == [0, 1, 2]
    assert coordinator.Counter("part").next() == 0  # another one of the same name
    assert [counter.add(count) for count in (0, 5)] == [3, 8]


_PROGRAM = """
import sys, time
from glore_jax.errors import UserError
from glore_jax.parallel import coordinator, processes

address, index = sys.argv[1], int(sys.argv[2])
processes.initialize(address, 3, index)
time.sleep(0.2 * index)
# Process 0 alone makes the value; all get it, also the second one of the same name.
for turn in range(2):
    print("told", coordinator.from_main("decision", lambda: [turn, index]), sep=":")
coordinator.check_same("the config", "equal")
counter = coordinator.Counter("part")
drawn = []
while (number := counter.next()) < 30:
    drawn.append(number)
    time.sleep(0.01)
print("drawn", drawn, sep=":")
written = coordinator.Counter("written")
written.add(len(drawn))
processes.barrier("all have drawn")
print("written", written.add(0), sep=":")
try:
    coordinator.check_same("the training set", "one" if index < 2 else "another")
except UserError as error:
    print("refused", error, sep=":")
processes.barrier("end")
"""


@pytest.fixture(scope="module")
def outputs():
    def arguments(address, index):
        return "-c", _PROGRAM, address, index

    with several.together(3, arguments) as run:
        ended = several.ended(run)
    assert [code for code, *_ in ended] == [0, 0, 0], ended
    return [[line.split(":", 1) for line in out.splitlines()] for _, out, _ in ended]


def test_all_get_the_sum_of_what_each_added(outputs):
    for lines in outputs:
        assert [text for kind, text in lines if kind == "written"] == ["30"]


def test_all_are_told_what_process_0_decided(outputs):
    for lines in outputs:
        assert [text for kind, text in lines if kind == "told"] == ["[0, 0]", "[1, 0]"]


def test_each_number_goes_to_one_process(outputs):
    drawn = [json.loads(text) for lines in outputs for kind, text in lines if kind == "drawn"]
    assert sorted(number for numbers in drawn for number in numbers) == list(range(30))
    assert all(drawn)  # none of them was left out


def test_a_difference_is_told_everywhere_and_by_name(outputs):
    message = "the training set is not the same everywhere: process 2 has another than process 0"
    for lines in outputs:
        (refusal,) = [text for kind, text in lines if kind == "refused"]
        assert refusal.startswith(message)
