"""The host side of every stage runs on synthetic records, and its memory follows what it packs."""

import functools
import tracemalloc

import pytest

from benchmarks import host_memory, synthetic
from glore_jax import records
from glore_jax.records import LabelledDraft, Sample
from glore_jax.tasks import prompts
from glore_jax.tasks.chains.task import ChainsTask

SAMPLES = 2000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic.write(folder, SAMPLES)
    return folder


def test_synthetic_records_are_a_run_s(folder):
    samples = records.read(folder / "sample" / "records", Sample)
    assert SAMPLES <= len(samples) < SAMPLES + 2 * synthetic.K
    texts = {(s["question_id"], *s["steps"]) for s in samples}
    assert len(texts) > 0.9 * len(samples)
    task = ChainsTask({})
    assert all(task.grade(s["steps"], s["gold"]) == s["correct"] for s in samples)
    drafts = records.read(folder / "rollout" / "records", LabelledDraft)
    assert {d["correct"] for d in drafts} == {True, False}
    assert all(len(d["labels"]) == len(d["completions"]) for d in drafts)


@pytest.mark.parametrize("stage", host_memory.READS)
def test_every_stage_is_measured(folder, stage):
    found = host_memory.measure(folder, stage)
    trains = stage in ("student", "orm", "sorm", "refiner")
    assert (found["packed"] > 10_000) == trains and found["records"] > 10_000
    assert found["resident"] >= found["anonymous"] >= 0
    assert stage in host_memory.table([{"samples": SAMPLES, **found}])


def peak(run):
    """The most bytes that Python's and NumPy's objects took at a time while `run` ran."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_records(folder, tmp_path, monkeypatch):
    """Three times as many samples take a fraction of what their records take as objects."""
    monkeypatch.setattr(prompts, "_CACHED_TEXTS", 1000)  # of 200,000, which these do not fill
    synthetic.write(tmp_path, 3 * SAMPLES)
    grown = {}
    for name, run in {
        "list": lambda place: records.read(place / "sample" / "records", Sample),
        "orm": lambda place: host_memory.Stages(place).orm(),
    }.items():
        small, large = (peak(functools.partial(run, place)) for place in (folder, tmp_path))
        grown[name] = large - small
    assert grown["orm"] < 0.5 * grown["list"]


def test_stages_are_measured_in_processes_of_their_own(tmp_path):
    rows = host_memory.measured(tmp_path, 200, ["orm"])
    assert [(row["samples"], row["stage"]) for row in rows] == [(200, "orm")]
    assert "| 200 | orm |" in host_memory.table(rows)
