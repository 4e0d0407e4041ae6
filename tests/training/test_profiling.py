"""The updates that were asked for are traced, and a trace ends however the run does."""

import os
import time

import jax
import pytest
from tiny_run import Events

from glore_jax import storage
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


def test_a_trace_for_a_bucket_comes_from_this_disk(bucket, monkeypatch):
    begun = []
    file = "plugins/profile/2026_01_01/host.xplane.pb"
    monkeypatch.setattr(jax.profiler, "start_trace", begun.append)
    monkeypatch.setattr(
        jax.profiler, "stop_trace", lambda: storage.write_bytes(f"{begun[0]}/{file}", b"trace")
    )
    events = writer()
    events.traces = f"{bucket.url}/tb/run"
    run((2, 3), events)
    end = time.monotonic() + 60
    while os.path.exists(begun[0]):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert storage.read_bytes(f"{bucket.url}/tb/run/{file}") == b"trace"


@pytest.mark.parametrize("fails", ["start_trace", "stop_trace"])
def test_a_trace_that_fails_ends_no_training(fails, calls, monkeypatch, caplog):
    def refuse(*args):
        raise RuntimeError("no space left")

    monkeypatch.setattr(jax.profiler, fails, refuse)
    run((2, 3), writer())
    assert "no trace of these updates: no space left" in caplog.text
