"""Step labels from scripted rollouts: what is forked where, what counts, what is recorded."""

import random
from types import SimpleNamespace

import pytest
from tiny_llama import Characters, model

from glore_jax.labels.stepwise import LabelRule
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Completion, Engine, Fork
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation
from glore_jax.stages.labelling import LabelJob, cost, label_truth
from glore_jax.tasks.base import Task
from glore_jax.tasks.prompts import Prompts


class Plain(Task):
    name, splits = "plain", ()

    def load(self, split):
        raise AssertionError

    def step_truth(self, problem, steps, strict=False):
        return (
            [right and not (strict and i) for i, right in enumerate(problem)] if problem else None
        )


TASK, PROMPTS = Plain({}), Prompts(Characters())
QUESTION = "2+3, then *2, then -4?"
STEPS = ["2+3=5", "5*2=11", "11-4=7", "#### 7"]
# Of the prefix of one, two or three steps: right with the prefix's result used, right without, ...
CONTINUATIONS = {
    "used": {1: "5*2=10\n10-4=6\n#### 6", 2: "11-5=6\n#### 6", 3: "7-1=6\n#### 6"},
    "afresh": {1: "10-4=6\n#### 6", 2: "10-4=6\n#### 6", 3: "10-4=6\n#### 6"},
    "wrong": {1: "5*2=12\n#### 12", 2: "11-4=7\n#### 7", 3: "#### 7"},
    "nothing": {1: "", 2: "", 3: ""},
}


def draft(steps=STEPS, correct=False):
    return {
        "question_id": "q",
        "sample_id": 4,
        "question": QUESTION,
        "gold": "6",
        "steps": steps,
        "correct": correct,
    }


def run(job, says):
    """Plays the engine with `says(cut, rollout)` texts; forks end in a scrambled order.

    Returns the forks.
    """
    forks, pool, rng = [], [], random.Random(0)
    while job.waiting or pool:
        while job.waiting:
            pool.append(job.waiting.popleft())
        fork = pool.pop(rng.randrange(len(pool)))
        forks.append(fork)
        job.waiting.extend(job.done(fork, Completion((), says(fork.cut, fork.rollout), 0.0, True)))
    return forks


def make(schedule="backward", k=3, consistency=True, **changes):
    return LabelJob(TASK, PROMPTS, draft(**changes), LabelRule(k, schedule, consistency))


def kinds(*per_cut):
    """says(cut, rollout) from one list of kinds of continuation a cut, cut 1 first."""
    return lambda cut, rollout: CONTINUATIONS[per_cut[cut - 1][rollout]][cut]


def test_trunk_and_cuts():
    job = make()
    assert PROMPTS.text(job.trunk) == QUESTION + "\n" + "\n".join(STEPS) + "\n"
    assert [f.cut for f in job.waiting] == [3, 3, 3]  # the last cut first, and only it
    for cut, at in enumerate(job.cut_at):
        kept = "".join(step + "\n" for step in STEPS[:cut])
        assert PROMPTS.text(job.trunk[:at]) == QUESTION + "\n" + kept
        solution, _ = PROMPTS.solution(STEPS[:cut], ended=False)
        assert job.trunk[:at] == PROMPTS.question(QUESTION) + solution
    assert list(job.waiting) == [Fork(job.cut_at[3], sample=4, cut=3, rollout=i) for i in range(3)]


def test_backward_stops_at_the_first_success():
    job = make()
    forks = run(
        job, kinds(["wrong"] * 3, ["wrong", "used", "wrong"], ["nothing", "wrong", "afresh"])
    )
    assert sorted({f.cut for f in forks}) == [2, 3] and len(forks) == 6
    record = job.record()
    assert record["labels"] == [1, 1, 0, 0] and record["first_error"] == 2
    assert record["hits"] == [0, 1, 0, 0] and record["tries"] == [0, 3, 3, 0]
    assert record["source"] == ["propagated", "rollout", "rollout", "graded"]
    assert record["completions"] == STEPS and record["prompt"] == QUESTION
    assert (record["question_id"], record["sample_id"]) == ("q", 4)
    assert (record["gold"], record["correct"]) == ("6", False)
    places = [(trace["cut"], trace["rollout"]) for trace in record["traces"]]
    assert places == [(cut, rollout) for cut in (2, 3) for rollout in range(3)]
    assert [t["verified"] for t in record["traces"]] == [False, True, False, False, False, False]
    assert record["traces"][1]["steps"] == ["11-5=6", "#### 6"]  # what it added, not the prefix


@pytest.mark.parametrize("consistency, labels", [(True, [0, 0, 0, 0]), (False, [1, 1, 1, 0])])
def test_consistency(consistency, labels):
    """Right answers that do not use the last result verify nothing, unless the rule is off."""
    job = make(consistency=consistency)
    run(job, kinds(*[["afresh"] * 3] * 3))
    assert job.record()["labels"] == labels


def test_right_draft_costs_nothing():
    job = make(steps=["2+3=5", "5*2=10", "10-4=6", "#### 6"], correct=True)
    assert not job.waiting
    record = job.record()
    assert record["labels"] == [1, 1, 1, 1]
    assert record["first_error"] == -1 and record["traces"] == []
    assert record["source"] == ["propagated"] * 3 + ["graded"]


def test_draft_of_one_step():
    job = make(steps=["#### 7"])
    assert not job.waiting
    assert job.record()["labels"] == [0] and job.record()["first_error"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_backward_labels_equal_full_labels(seed):
    rng = random.Random(seed)
    script = [rng.choices(list(CONTINUATIONS), [1, 2, 4, 2], k=4) for _ in range(3)]
    correct = seed % 4 == 0
    records, forks = {}, {}
    for schedule in ("backward", "full"):
        job = make(schedule, k=4, correct=correct)
        forks[schedule] = run(job, kinds(*script))
        records[schedule] = job.record()
    assert records["backward"]["labels"] == records["full"]["labels"]
    assert records["backward"]["first_error"] == records["full"]["first_error"]
    assert set(forks["backward"]) <= set(forks["full"])  # the same rollouts, only fewer
    assert len(forks["full"]) == 12
    # Whatever was run was run to the end: the shares of `full` are rates.
    assert records["full"]["tries"] == [4, 4, 4, 0]
    assert records["full"]["hits"][:3] == [row.count("used") for row in script]
    figures = cost(list(records.values()), 4)
    drawn = sum(r["tokens"] for r in records.values())
    assert figures == {
        "rollouts": 12 + len(forks["backward"]),
        "rollouts_full": 24,
        "tokens": drawn,
    }


def test_schedules_on_real_forks():
    """Texts of an engine, judged by a rule that a third of them meets.

    The labels are the same, whatever the schedule and the seats.
    """

    class Parity(Plain):
        def grade(self, steps, gold):
            return sum(map(ord, "".join(steps))) % 3 == 0

    policy, rng = model(), random.Random(0)
    records = {}
    for schedule, slots in (("full", 3), ("backward", 2)):
        rng.seed(1)
        jobs = []
        for i in range(60):
            steps = [f"{rng.randrange(9)}+{rng.randrange(9)}" for _ in range(rng.randrange(1, 5))]
            made = draft(steps=steps, correct=rng.random() < 0.2) | {"question_id": f"q{i}"}
            jobs.append(LabelJob(Parity({}), PROMPTS, made, LabelRule(3, schedule, False)))
        engine = Engine(
            policy, Capacity(4, slots, shelves=2, max_trunk=64, max_new=8), round_steps=3
        )
        done = [job.record() for job in engine.run(jobs, Sampling(1.0, max_new=8))]
        records[schedule] = {r["question_id"]: r for r in done}
        assert {r["schedule"] for r in done} == {schedule}
    full, backward = records["full"], records["backward"]
    assert {q: r["labels"] for q, r in full.items()} == {
        q: r["labels"] for q, r in backward.items()
    }
    assert len({tuple(r["labels"]) for r in full.values()}) > 6
    for q, r in backward.items():
        tried = {trace["cut"] for trace in r["traces"]}
        assert [trace for trace in full[q]["traces"] if trace["cut"] in tried] == r["traces"]
    tries = [sum(sum(r["tries"]) for r in records.values()) for records in (backward, full)]
    assert tries[0] < 0.8 * tries[1]


def test_label_truth():
    records = [
        {"question_id": "a", "completions": STEPS, "labels": [1, 1, 0, 0]},
        {"question_id": "b", "completions": STEPS, "labels": [1, 0, 0, 0]},
        {"question_id": "c", "completions": ["#### 6"], "labels": [1]},
    ]
    truth = {"a": [True, False, False, True], "b": [True, True, True, False], "c": [False]}
    # Without the last steps: a agrees, is too good, agrees; b agrees, is too strict twice.
    found = label_truth(TASK, truth, records)
    assert found == {"acc": 3 / 6, "n": 6, "false_positive": 1 / 2, "false_negative": 2 / 4}
    # Strictly only first steps are right here: a is too good once less, b too strict twice less.
    found = label_truth(TASK, truth, records, strict=True)
    assert found == {"acc": 5 / 6, "n": 6, "false_positive": 1 / 4, "false_negative": 0.0}
    assert label_truth(TASK, truth, records[2:]) is None  # nothing but graded steps
    assert label_truth(TASK, truth | {"b": None}, records) is None  # unknown


def test_labels_and_truth_must_match():
    record = {"question_id": "a", "completions": STEPS, "labels": [1, 1, 0]}
    with pytest.raises(ValueError):
        label_truth(TASK, {"a": [True] * 4}, [record])


def test_nothing_is_forked_for_drafts_without_steps(monkeypatch):
    from glore_jax.stages import labelling

    seen = []

    def generate(ctx, name, kind, items, engine, sampling, make_job, to_rows):
        for item in items:
            job = make_job(item)
            run(job, kinds(*[["wrong"] * 3] * 3))
            seen.append(job)
        return [row for i, job in enumerate(seen) for row in to_rows(i, job)]

    monkeypatch.setattr(generation, "generate", generate)
    monkeypatch.setattr(generation, "make_engine", lambda *args: None)
    ctx = SimpleNamespace(task=TASK, prompts=lambda model: PROMPTS)
    how = labelling.Labelling(LabelRule(3), Sampling(max_new=5))
    records = labelling.label(ctx, "x", None, [draft(steps=[]), draft()], how)
    assert [r["labels"] for r in records] == [[0, 0, 0, 0]]


def test_labels_of_test_drafts_do_not_depend_on_how_training_is_labelled():
    from configs import tiny
    from glore_jax import stages
    from glore_jax.stages import labelling

    config = tiny.get_config()
    before = labelling.test_labels(config)
    assert before.rule == LabelRule(8, "backward", consistency=True, propagate=True)
    config.rollout.update(
        k=3, schedule="full", consistency=False, propagate=False, temperature=0.5, top_k=4
    )
    assert labelling.training_labels(config).rule == LabelRule(3, "full", False, False)
    assert labelling.test_labels(config) == before
    assert not any(field.startswith("rollout") for field in stages.STAGES["evaluate"].config)


def test_drafts_of_most_steps_come_first():
    from glore_jax.stages import labelling

    drafts = [draft(steps=["2+3=5"] * n + ["#### 5"]) for n in (1, 3, 2, 3)]
    in_order = labelling.longest_first(drafts)
    assert list(in_order) == [drafts[1], drafts[3], drafts[2], drafts[0]]
