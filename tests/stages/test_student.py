"""Supervised fine-tuning and expert iteration: what is kept, when it stops, which round is best."""

from types import SimpleNamespace

import all_at_once
import pytest
import some_records
from hypothesis import given
from hypothesis import strategies as st
from tiny_llama import Characters

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.records import Sample, StoredRecords
from glore_jax.stages import generation, models, solutions, student, subsets
from glore_jax.tasks.base import Problem


def row(question, sample, steps, correct=True):
    return {
        "question_id": question,
        "sample_id": sample,
        "question": f"{question}?",
        "steps": steps,
        "correct": correct,
    }


ROWS = [
    row("b", 0, ["one", "#### 5"]),
    row("a", 2, ["one", "#### 5"]),
    row("a", 1, ["one", "#### 5"]),  # the same text of the same question
    row("a", 0, ["one", "#### 6"], correct=False),
    row("a", 3, ["two", "#### 5"]),
    row("a", 4, ["one #### 5"]),  # other steps with the same words
]


def distinct(per_question=0, known=(), rows=ROWS):
    groups = all_at_once.groups(rows), all_at_once.groups(known)
    return list(solutions.distinct_right(groups[0], per_question, groups[1]))


def found(per_question=0, known=()):
    return [(d["question_id"], d["steps"]) for d in distinct(per_question, known)]


def test_right_solutions_count_once():
    one, two, joined = ["one", "#### 5"], ["two", "#### 5"], ["one #### 5"]
    assert found() == [("a", one), ("a", two), ("a", joined), ("b", one)]
    assert distinct(1)[0] == {"question_id": "a", "question": "a?", "steps": one}


def test_known_solutions_are_not_found_again():
    assert found(known=[row("a", 9, ["one", "#### 5"])]) == [
        ("a", ["two", "#### 5"]),
        ("a", ["one #### 5"]),
        ("b", ["one", "#### 5"]),
    ]


def test_at_most_so_many_of_a_question():
    assert [q for q, _ in found(per_question=2)] == ["a", "a", "b"]
    # Only new ones are counted.
    assert found(1, known=[row("a", 9, ["one", "#### 5"])])[0] == ("a", ["two", "#### 5"])


some_rows = st.lists(
    st.builds(
        row,
        st.sampled_from("abc"),
        st.integers(0, 99),
        st.sampled_from([["x"], ["y"], ["z"]]),
        st.booleans(),
    ),
    max_size=20,
    unique_by=lambda r: r["sample_id"],
)


@given(some_rows, some_rows, st.integers(0, 2))
def test_question_by_question_is_as_all_at_once(rows, known, per_question):
    expected = all_at_once.distinct_right(rows, per_question, known)
    assert distinct(per_question, known, rows) == expected


DEV = 8  # questions


@pytest.fixture
def iterate(ctx, monkeypatch):
    """iterate(right) -> what stage `student` did, if round R has so many of `DEV` questions right.

    (its result, rounds trained, round exported, solutions of each round)
    """
    worked = [Problem("a", "a?", "5", ("one", "#### 5")), Problem("b", "b?", "6")]
    ctx.stage = "student"

    def go(right, rounds=5, patience=1, level=0.5, variation_of=""):
        dev = [Problem(f"dev-{i}", "?", "5", variation_of=variation_of) for i in range(DEV)]
        ctx.task = SimpleNamespace(load=lambda split: dev if split == "dev" else worked)
        ctx.config.student.ei.update(rounds=rounds, patience=patience, level=level)
        trained, exported, sizes = [], [], []

        def fine_tune(ctx, r, data, dev):
            trained.append(r)
            sizes.append(len(data))
            outcomes = {f"dev-{i}": i < right[r] for i in range(DEV)}
            return {"round": r, "acc": right[r] / DEV, "right": outcomes}

        def publish(ctx, stage, name, dtype):
            exported.append(name)

        def explore(ctx, r, data, train):
            return [{"question_id": "b", "question": "b?", "steps": [str(r)]}]

        monkeypatch.setattr(student, "fine_tune", fine_tune)
        monkeypatch.setattr(student, "explore", explore)
        monkeypatch.setattr(models, "publish", publish)
        result = student.run(ctx)
        return result, trained, exported[0], sizes

    return go


@pytest.mark.parametrize(
    "right, patience, level, rounds, best",
    [
        ([1, 3, 2, 8], 1, 0.5, [0, 1, 2], 1),
        ([1, 3, 2, 4, 3, 3], 2, 0.5, [0, 1, 2, 3, 4, 5], 3),
        ([3, 3, 8], 1, 0.5, [0, 1], 1),  # no rise ends it; of equal rounds the later one is kept
        ([1, 2, 3, 4, 5, 6], 1, 0.5, [0, 1, 2, 3, 4, 5], 5),  # the most rounds
        ([1, 2, 2, 8], 2, 0.2, [0, 1, 2], 2),  # one question more may be chance
        ([1, 2, 4, 4, 4, 4], 2, 0.2, [0, 1, 2, 3, 4], 4),  # three more are a gain over the first
    ],
)
def test_rounds_go_on_until_they_bring_no_gain(iterate, right, patience, level, rounds, best):
    result, trained, exported, sizes = iterate(right, patience=patience, level=level)
    assert trained == rounds and result["best"] == best and exported == f"round-{best}"
    assert result["acc"] == right[best] / DEV
    # The worked one, and one more found in each round.
    assert sizes == list(range(1, len(rounds) + 1))


def test_questions_of_one_story_prove_no_more_than_one(iterate):
    right = [0, DEV, DEV, DEV, DEV]
    assert iterate(right, patience=2, level=0.2, variation_of="one")[0]["last_gain"] == 0


def test_more_questions_prove_more(iterate):
    assert iterate([0, DEV, DEV, DEV, DEV], patience=2, level=0.2)[0]["last_gain"] == 1


def test_outcomes_of_each_question_are_kept_with_the_round(iterate, ctx):
    result = iterate([1, 3, 2])[0]
    kept = storage.read_json(ctx.folder("student", "round-1.json"))
    assert kept["right"] == {f"dev-{i}": i < 3 for i in range(DEV)}
    assert all("right" not in row for row in result["rounds"])  # the manifest has the figures


def test_no_rounds_of_iteration(iterate):
    assert iterate([2], rounds=0)[1] == [0]


def test_a_restart_does_not_train_again(iterate):
    first = iterate([1, 3, 2])
    second = iterate([0] * 3)
    assert second[0] == first[0] and second[1] == [] and second[2] == "round-1"


@pytest.fixture
def shot(ctx, monkeypatch):
    """A task without worked solutions; the base is no model.

    `shot.says` are its samples, `shot.asked` what was asked for.
    """
    base = SimpleNamespace(tokenizer=Characters())
    shot = SimpleNamespace(ctx=ctx, says=[], asked={}, problems=[Problem("a", "2+3?", "5")])

    def sample(ctx, name, model, problems, sampling, k, trunk_of):
        shot.asked.update(
            sampling=sampling,
            trunk=Characters().decode(trunk_of(problems[0])),
            begin=trunk_of(problems[0])[0],
        )
        folder = ctx.folder(*name.split("/"))
        some_records.write(folder, 0, Sample, shot.says)
        return StoredRecords.of(folder, Sample, [len(shot.says)])

    monkeypatch.setattr(models, "load_base", lambda ctx: base)
    monkeypatch.setattr(generation, "sample", sample)
    ctx.stage = "student"
    ctx.config.task.prompt = "question: {question}\nanswer:\n"
    ctx.config.student.shot.question, ctx.config.student.shot.solution = "1+1?", "1+1=2\n#### 2\n"
    return shot


def test_one_worked_example_stands_before_the_question(shot):
    shot.says = [row("a", 0, ["2+3=5", "#### 5"]), row("a", 1, ["#### 6"], correct=False)]
    rows = list(student.one_shot(shot.ctx, shot.problems))
    assert rows == [{"question_id": "a", "question": "a?", "steps": ["2+3=5", "#### 5"]}]
    expected = "question: 1+1?\nanswer:\n1+1=2\n#### 2\n\nquestion: 2+3?\nanswer:\n"
    assert (shot.asked["begin"], shot.asked["trunk"]) == (Characters.bos_id, expected)
    # It would go on with a question of its own.
    assert set(shot.asked["sampling"].stop) == {"\n\n", "question:"}


@pytest.mark.parametrize("missing", ["question", "solution"])
def test_without_a_worked_example(shot, missing, monkeypatch):
    def load(ctx):
        raise AssertionError("a large model is loaded before the mistake is told")

    monkeypatch.setattr(models, "load_base", load)
    shot.ctx.config.student.shot[missing] = ""
    with pytest.raises(UserError, match="give student.shot.question and student.shot.solution"):
        student.one_shot(shot.ctx, shot.problems)


def test_a_base_that_solves_nothing(shot):
    shot.says = [row("a", i, ["#### 6"], correct=False) for i in range(7)]
    with pytest.raises(UserError, match="the base solves none of 7 one-shot samples"):
        student.one_shot(shot.ctx, shot.problems)


def test_worked_solutions_are_taken_where_there_are_some(shot):
    problems = [Problem("a", "a?", "5", ("one", "#### 5")), Problem("b", "b?", "6")]
    assert list(student.first_solutions(shot.ctx, problems)) == [
        {"question_id": "a", "question": "a?", "steps": ["one", "#### 5"]}
    ]


def test_worked_solutions_of_some_questions_alone(shot):
    problems = [Problem(q, f"{q}?", "5", ("#### 5",)) for q in "abcdefgh"]
    problems += [Problem("none", "none?", "5")]  # has no solution that could be shown
    shot.ctx.config.student.worked = 3
    shown = [row["question_id"] for row in student.first_solutions(shot.ctx, problems)]
    assert shown == [p.id for p in subsets.shown(shot.ctx.config, problems)] and len(shown) == 3


def test_a_round_samples_questions_whose_solutions_were_not_shown(ctx, monkeypatch):
    problems = [Problem(f"q{i}", "?", "5", ("#### 5",)) for i in range(20)]
    ctx.config.student.worked, ctx.config.student.ei.questions = 8, 6
    asked = []

    def sample(ctx, name, model, some, sampling, k):
        asked.append({p.id for p in some})
        folder = ctx.folder(*name.split("/"))
        some_records.write(folder, 0, Sample, [row(p.id, 0, ["#### 5"]) for p in some])
        return StoredRecords.of(folder, Sample, [len(some)])

    monkeypatch.setattr(models, "load_policy", lambda ctx, *names: None)
    monkeypatch.setattr(generation, "sample", sample)
    known = student.first_solutions(ctx, problems)
    shown = {solution["question_id"] for solution in known}
    for number in (1, 2):
        found = list(student.explore(ctx, number, known, problems))
        assert {solution["question_id"] for solution in found} == asked[-1]
    assert not (asked[0] | asked[1]) & shown and not asked[0] & asked[1]
