"""Generation in parts: complete, in order, and never twice."""

import dataclasses
import types
from typing import TypedDict

import pytest
from scripted_engine import Scripted
from tiny_llama import CONFIG, Characters

from glore_jax import parquet
from glore_jax.models.model import Model
from glore_jax.parallel import processes
from glore_jax.sampling import budget
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, parts
from glore_jax.tasks.base import Problem

ITEMS = [f"q{i}" for i in range(11)]


class Line(TypedDict):
    item: str
    sample: int
    text: str


def generate(ctx, engine, on_job=lambda item: None):
    def make_job(item):
        on_job(item)
        return Job(item, [0], [Fork(1, sample=i) for i in range(2)])

    def to_rows(item, job):
        ended = job.completions.items()
        return [Line(item=item, sample=fork.sample, text=done.text) for fork, done in ended]

    found = generation.generate(
        ctx, "sample/records", Line, ITEMS, engine, Sampling(), make_job, to_rows
    )
    assert len(found) == len(EXPECTED)
    return list(found)


def says(job, fork):
    return f"{job.question_id} {fork.sample}"


EXPECTED = [{"item": item, "sample": i, "text": f"{item} {i}"} for item in ITEMS for i in range(2)]


@pytest.fixture
def small_parts(ctx):
    ctx.config.engine.part_questions = 4
    return ctx


def test_records_stand_in_the_order_of_the_items(small_parts):
    assert generate(small_parts, Scripted(says)) == EXPECTED
    sizes = [len(parquet.read_part(small_parts.folder("sample", "records"), i)) for i in range(3)]
    assert sizes == [8, 8, 6]


@pytest.mark.parametrize("jobs, least", [(0, 0), (5, 0), (8, 0), (10, 2)])
def test_a_restart_goes_on_after_the_last_whole_part(small_parts, jobs, least):
    with pytest.raises(KeyboardInterrupt):
        generate(small_parts, Scripted(says, fail_after=jobs))
    folder = small_parts.folder("sample", "records")
    whole = [i for i in range(3) if parquet.has_part(folder, i)]
    second = Scripted(says)
    assert generate(small_parts, second) == EXPECTED
    kept = {item for i in whole for item in ITEMS[4 * i : 4 * i + 4]}
    assert sorted(second.ran) == sorted(set(ITEMS) - kept)
    assert len(whole) >= least  # one question is missing, so only one part is not whole


def test_nothing_runs_again(small_parts):
    generate(small_parts, Scripted(says))
    again = Scripted(None)
    assert generate(small_parts, again) == EXPECTED and again.ran == []


@pytest.mark.parametrize("jobs", [0, 5, 10])
def test_work_is_counted_once_whatever_was_cut_off(small_parts, jobs):
    with pytest.raises(KeyboardInterrupt):
        generate(small_parts, Scripted(says, fail_after=jobs))
    generate(small_parts, Scripted(says))
    generate(small_parts, Scripted(says))  # with nothing left to do
    counts = parts.work(small_parts, "sample/records")
    assert {name: counts[name] for name in ("items", "forks", "tokens", "prefill_tokens")} == {
        "items": 11,
        "forks": 22,
        "tokens": sum(len(row["text"]) + 1 for row in EXPECTED),
        "prefill_tokens": 11,
    }
    assert 0 < counts["occupancy"] < 1


def test_jobs_are_made_when_the_engine_has_room_for_them(small_parts):
    made = []

    class OneByOne(Scripted):
        def run(self, jobs, sampling):
            for job in jobs:
                assert len(made) == len(self.ran) + 1
                yield from super().run([job], sampling)

    engine = OneByOne(says)
    assert generate(small_parts, engine, made.append) == EXPECTED


MODEL = Model(None, None, CONFIG, Characters())


def test_a_sample_is_graded_where_it_is_made(ctx, monkeypatch):
    texts = {0: "2+3=5\n#### 5\nand more", 1: None, 2: "2+3=6\n#### 6"}
    engine = Scripted(lambda job, fork: texts[fork.sample])
    monkeypatch.setattr(generation, "make_engine", lambda *args, **options: engine)
    problems = [Problem("a", "2+3?", "5"), Problem("b", "3+3?", "6")]
    rows = list(generation.sample(ctx, "sample/records", MODEL, problems, Sampling(), 3))
    fields = ("question_id", "sample_id", "answer", "correct", "ended")
    assert [tuple(row[field] for field in fields) for row in rows] == [
        ("a", 0, "5", True, True),
        ("a", 1, None, False, False),
        ("a", 2, "6", False, True),
        ("b", 0, "5", False, True),
        ("b", 1, None, False, False),
        ("b", 2, "6", True, True),
    ]
    assert rows[0]["steps"] == ["2+3=5", "#### 5"]
    assert rows[0]["gold"] == "5" and rows[0]["policy"] == "sample/records"
    assert generation.truncated(rows) == 2 and generation.accuracy(rows) == pytest.approx(1 / 3)


def test_many_samples_of_a_question_are_several_jobs_and_stand_in_their_order(ctx, monkeypatch):
    engine = Scripted(lambda job, fork: f"#### {fork.sample}")
    monkeypatch.setattr(generation, "make_engine", lambda *args, **options: engine)
    problems = [Problem("a", "2+3?", "5"), Problem("b", "3+3?", "6")]
    rows = generation.sample(ctx, "sample/records", MODEL, problems, Sampling(), 70)
    found = [(row["question_id"], row["sample_id"], row["answer"]) for row in rows]
    assert found == [(question, i, str(i)) for question in "ab" for i in range(70)]
    assert sorted(engine.ran) == ["a"] * 3 + ["b"] * 3


def test_each_set_of_samples_has_randomness_of_its_own(ctx):
    seeds = [
        generation.seed_of(ctx, name)
        for name in ("student/samples-1", "student/samples-2", "sample/records")
    ]
    ctx.config.seed = 1
    assert len({*seeds, generation.seed_of(ctx, "sample/records")}) == 4


def test_an_engine_has_room_for_every_trunk_and_the_same_number_of_slots(ctx):
    ctx.config.engine.groups, ctx.config.engine.siblings = 8, 4
    shapes = {}
    for per_trunk in (1, 3, 9):
        e = generation.make_engine(ctx, MODEL, 40, 2, 30, per_trunk)
        c = e.capacity
        shapes[per_trunk] = (c.groups, c.slots, c.max_trunk, c.max_new)
    # Groups come in multiples of the eight devices here.
    assert shapes == {1: (32, 1, 64, 30), 3: (16, 3, 64, 30), 9: (8, 4, 64, 30)}
    nearly_full = generation.make_engine(ctx, MODEL, 129, 1, 30, 1)
    assert nearly_full.capacity.max_trunk == 130  # of a context of 160


def test_an_engine_takes_what_the_devices_have_left(ctx, monkeypatch):
    """As many groups as fit, but none for which this process has no trunk; and it says so."""
    policy = Model(None, {}, CONFIG, Characters())
    said = []
    monkeypatch.setattr(ctx, "say", said.append)
    monkeypatch.setattr(budget, "_live_bytes", lambda device: 0)

    def groups(memory, count, processes_=1):
        monkeypatch.setattr(budget, "memory_limit", lambda device: memory)
        monkeypatch.setattr(processes, "count", lambda: processes_)
        return generation.make_engine(ctx, policy, 40, count, 30, per_trunk=3).capacity.groups

    assert groups(2**20, 1000) < groups(2**23, 1000)
    assert groups(2**34, 100) == 56  # two shelves, and rows of eight devices
    assert groups(2**34, 100, processes_=4) == 16
    assert "GiB that a device has left" in said[0] and "forks at a time of" in said[0]


def test_a_budget_and_numbers_that_are_given(ctx, monkeypatch):
    policy = Model(None, {}, CONFIG, Characters())
    monkeypatch.setattr(budget, "memory_limit", lambda device: 2**40)
    ctx.config.engine.update(groups=8, cache_bytes="0")  # one group a device
    given = generation.make_engine(ctx, policy, 40, 1000, 30, per_trunk=8).capacity
    assert given.groups == 8  # four, rounded up to the devices
    one = dataclasses.replace(given, groups=8).cache_bytes(CONFIG, ctx.config.model.dtype)
    ctx.config.engine.cache_bytes = str(3 * one)
    assert generation.make_engine(ctx, policy, 40, 1000, 30, per_trunk=8).capacity.groups == 24


def test_progress_counts_what_earlier_starts_did(small_parts):
    with pytest.raises(KeyboardInterrupt):
        generate(small_parts, Scripted(says, fail_after=10))
    folder = small_parts.folder("sample", "records")
    sizes = (4, 4, 3)
    before = sum(size for i, size in enumerate(sizes) if parquet.has_part(folder, i))
    seen = []

    def look(item):
        seen.append(small_parts.progress.record().piece)

    generate(small_parts, Scripted(says), look)
    assert before > 0 and {(p.name, p.total, p.unit) for p in seen} == {
        ("sample/records", 11, "jobs")
    }
    assert seen[0].done == before and seen[0].left is None
    assert small_parts.progress.record().piece is None


def ended(*completions):
    """A job whose forks came to an end, or did not."""
    texts = [types.SimpleNamespace(ended=whole) for whole in completions]
    return types.SimpleNamespace(completions=dict(enumerate(texts)))


def test_quality_is_of_all_texts_so_far():
    quality = generation.Quality()
    assert quality.figures == {}
    quality.add(ended(True, False), [{"correct": True}, {"correct": False}])
    quality.add(ended(True, True), [{"correct": True}, {"correct": True}])
    assert quality.figures == {"right": 0.75, "truncated": 0.25}


def test_rollouts_are_verified_or_not_whatever_their_draft_is():
    quality = generation.Quality()
    quality.add(ended(), [{"correct": True, "hits": [0, 0], "tries": [0, 0]}])
    assert quality.figures == {}
    quality.add(ended(*[True] * 6), [{"correct": False, "hits": [3, 0], "tries": [3, 3]}])
    assert quality.figures == {"verified": 0.5, "truncated": 0.0}
