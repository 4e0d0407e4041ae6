"""Which samples the reward models and the refiner learn from."""

import pytest

from glore_jax import parquet
from glore_jax.errors import UserError
from glore_jax.records import Sample
from glore_jax.stages import generation, models, parts, sample, variations
from glore_jax.tasks.base import Problem


def row(problem, sample_id, correct, policy="sample/records"):
    return {
        "question_id": problem.id,
        "sample_id": sample_id,
        "question": problem.question,
        "gold": problem.gold,
        "steps": ["#### 1"],
        "answer": "1",
        "correct": correct,
        "ended": True,
        "tokens": 3,
        "logprob": -1.0,
        "seed": 0,
        "policy": policy,
    }


@pytest.fixture
def run(ctx, monkeypatch):
    """run(**fields of config.sample) -> (counts, records).

    The student's first sample of each question is right.
    """
    monkeypatch.setattr(models, "load_policy", lambda ctx, *names: None)

    def sampled(ctx, name, model, problems, sampling, k):
        rows = [row(p, i, i == 0) for p in problems for i in range(k)]
        parts.write(ctx, "sample/records", Sample, rows)
        return rows

    def drafted(ctx, name, model, problems):
        return [row(p, 0, False, name) for p in problems]

    monkeypatch.setattr(generation, "sample", sampled)
    monkeypatch.setattr(generation, "greedy", drafted)

    def go(**fields):
        ctx.config.sample.update(questions=3, k=2, **fields)
        return sample.run(ctx), parquet.read_records(ctx.folder("sample", "records"))

    return go


def test_greedy_drafts_and_worked_solutions_are_further_samples(run):
    counts, records = run(include_greedy=True, include_worked=True)
    assert counts["samples"] == len(records) == 12 and counts["solved"] == 3
    for question in {r["question_id"] for r in records}:
        found = [(r["sample_id"], r["policy"]) for r in records if r["question_id"] == question]
        assert found == [(0, "sample/records"), (1, "sample/records"), (2, "greedy"), (3, "worked")]
    assert all(r["correct"] for r in records if r["policy"] == "worked")


def test_variations_are_kept_for_stages_that_do_not_read_the_task(run, ctx, monkeypatch):
    assert variations.read(ctx) == {}  # samples of a run that kept none
    run()
    assert variations.read(ctx) == {}
    problems = [Problem(q, f"{q}?", "1", variation_of="b" * (q != "a")) for q in "abc"]
    monkeypatch.setattr(ctx.task, "load", lambda split: problems)
    run()
    assert variations.read(ctx) == {"b": "b", "c": "b"}


def test_parts_have_no_gaps(run):
    counts, records = run(include_greedy=False, include_worked=True)
    assert counts["samples"] == len(records) == 9


def test_a_restart_adds_nothing_twice(run):
    _, records = run(include_greedy=True)
    assert run(include_greedy=True)[1] == records and len(records) == 9


def test_samples_must_differ(run, monkeypatch):
    def wrong(ctx, *args):
        return [row(p, 0, False) for p in ctx.task.load("train")]

    monkeypatch.setattr(generation, "sample", lambda *args: [])
    monkeypatch.setattr(generation, "greedy", wrong)
    with pytest.raises(UserError, match="0 of 24 samples are right: reward models need both kinds"):
        run(include_greedy=True)
