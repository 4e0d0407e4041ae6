"""The updates that were asked for are traced, and a trace ends however the run does."""

import jax
import pytest
from tiny_run import Events

from glore_jax.training.profiling import profiler


@pytest.fixture
def calls(monkeypatch):
    """What was asked of JAX's profiler."""
    made = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: made.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: made.append("stop"))
    return made


def writer(writes=True):
    events = Events()
    events.traces = "tb/run" if writes else None
    return events


def run(updates, who, last=6):
    with profiler(updates, who) as before_update:
        for update in range(last):
            before_update(update)


def test_first_and_last_are_traced(calls):
    found = {}
    with profiler((2, 3), writer()) as before_update:
        for update in range(6):
            before_update(update)
            found[update] = list(calls)
    assert found[1] == [] and found[2] == found[3] == ["tb/run"]
    assert found[4] == calls == ["tb/run", "stop"]


def test_a_run_that_ends_before_ends_its_trace(calls):
    run((4, 9), writer())
    assert calls == ["tb/run", "stop"]


@pytest.mark.parametrize("updates, who", [(None, writer()), ((2, 3), writer(writes=False))])
def test_nothing_is_traced_unless_asked_for_or_by_others_than_process_0(calls, updates, who):
    run(updates, who)
    assert calls == []
