"""The host side of every stage runs on synthetic records, and its memory follows what it packs."""

import json
import subprocess
import sys

import pytest

from benchmarks import host_memory, synthetic
from glore_jax import records
from glore_jax.records import LabelledDraft, Sample
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


def test_memory_does_not_hold_the_records(folder):
    """As Python objects they alone are many times the bytes of their files."""
    command = [sys.executable, "-m", "benchmarks.host_memory", f"--folder={folder}", "--stage=orm"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    samples = records.read(folder / "sample" / "records", Sample)
    assert found["packed"] < 1000 * len(samples)
