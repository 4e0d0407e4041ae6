"""Questions of GSM-Symbolic, with the templates of the package and with made-up ones."""

import collections
import importlib.util
import pathlib
import sys

import pytest
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.tasks import gsm_symbolic, symbolic_templates
from glore_jax.tasks.gsm_symbolic import BUCKETS, GsmSymbolicTask, bucket, is_sound, templates_of

SIZES = {"train": 60, "dev": 40, "test": 50, "test_templates": 30}
NAMES = ("Ada", "Bo", "Cy")


def sharing(number):
    """A template whose division seldom comes out even; it writes what the package would."""

    def template(rng, difficulty):
        jars = rng.randint(2, 400)
        people = rng.randint(2, 4)
        each = jars // people
        question = f"{rng.choice(NAMES)} shares {jars} jars among {people}. Story {number}."
        cot = f"\n  Each has {jars} / {people} = {each}.0 jars.\n\n#### {each}.0"
        return {"question": question + " ", "metadata": {"answer_cot": cot}}

    return template


def narrow(rng, difficulty):
    """A template that has one question in all."""
    return {"question": "What is 1 + 1?", "metadata": {"answer_cot": "1 + 1 = 2\n#### 2"}}


@pytest.fixture
def made_up(monkeypatch):
    templates = {number: sharing(number) for number in range(40)} | {40: narrow}
    monkeypatch.setattr(symbolic_templates, "load", lambda: templates)


def load(split, seed=1, limit=None, **sizes):
    config = {"seed": seed, "size": {**SIZES, **sizes}, "limit": limit or {}}
    return GsmSymbolicTask(ConfigDict(config)).load(split)


def story(problem):
    return problem.question.rpartition("Story")[2]


def numbers(problem):
    return tuple(word.strip(".") for word in problem.question.split() if word.strip(".").isdigit())


def test_draws_become_problems(made_up):
    problem = load("train")[0]
    jars, people, template = numbers(problem)
    each = int(jars) // int(people)
    assert problem.id == f"gsm_symbolic-train-{int(template):02d}-0000"
    assert problem.story == f"gsm_symbolic-{int(template):02d}"
    assert problem.question.endswith(f"jars among {people}. Story {template}.")
    # Whole numbers are written as such, and only sound divisions are kept.
    assert problem.solution == (f"Each has {jars} / {people} = {each} jars.", f"#### {each}")
    assert problem.gold == str(each) and int(jars) % int(people) == 0


def test_no_question_stands_in_two_splits_under_another_name(made_up):
    parts = {split: load(split) for split in BUCKETS}
    assert {split: len(problems) for split, problems in parts.items()} == SIZES
    asked = [{numbers(p) for p in problems} for problems in parts.values()]
    assert len(set.union(*asked)) == sum(map(len, asked))
    other_seed = {numbers(p) for p in load("train", seed=2)}
    assert other_seed.isdisjoint({numbers(p) for p in parts["test"]})
    ids = [p.id for problems in parts.values() for p in problems]
    assert len(set(ids)) == sum(SIZES.values())


def test_held_out_templates_are_nowhere_else(made_up):
    held_out = {p.story for p in load("test_templates")}
    assert len(held_out) == gsm_symbolic.HELD_OUT
    for split in ("train", "dev", "test"):
        assert held_out.isdisjoint({p.story for p in load(split)})
    numbers = range(100)
    parts = templates_of("train", numbers), templates_of("test_templates", numbers)
    assert sorted(parts[0] + parts[1]) == list(numbers)


def test_templates_come_in_turn_and_smaller_splits_first(made_up):
    problems = load("train", train=100)
    # 40 or 41 templates less the held-out ones, those of one question passed over.
    by_story = collections.Counter(p.story for p in problems)
    assert set(by_story.values()) <= {1, 3, 4, 5} and len(by_story) >= 25
    assert load("train", train=30) == problems[:30] == load("train", limit={"train": 30})
    assert load("train", seed=2) != load("train")


def test_too_many_are_asked_for(monkeypatch):
    templates = {number: narrow for number in range(20)}
    monkeypatch.setattr(symbolic_templates, "load", lambda: templates)
    with pytest.raises(UserError, match=r"test_templates has no 30 .*lower task.size.test_temp"):
        load("test_templates")
    with pytest.raises(UserError, match="split 'dev' is empty"):
        load("dev", dev=0)
    with pytest.raises(UserError, match="no split 'valid'"):
        load("valid")


@pytest.mark.parametrize(
    "question, steps, sound",
    [
        ("5?", ("2 + 3 = 5", "#### 5"), True),
        ("5?", ("2 + 3 = 5", "#### 0"), True),
        ("5?", ("#### $5",), True),
        ("5?", ("17*0.5 = 8", "#### 8"), False),
        ("5?", ("2 - 3 = -1", "#### -1"), False),
        ("0.6666666666666666?", ("#### 4",), False),
        ("5?", ("So 12.999999999999998 - 12 = 1", "#### 1"), False),
        ("5?", ("2 + 3 = 5",), False),
        ("5?", ("#### five",), False),
        ("5?", (), False),
    ],
)
def test_what_is_sound(question, steps, sound):
    assert is_sound(question, steps) is sound


def test_buckets_go_by_template_and_numbers():
    assert bucket(1, "Ada has 5 jars and 3.5 tins.") == bucket(1, "Bo has 5 cups and 3.5 pans.")
    others = {bucket(template, f"Ada has {n} jars.") for template in range(8) for n in range(40)}
    assert others == set(range(16))
    assert sorted(b for split in ("train", "dev", "test") for b in BUCKETS[split]) == [*range(16)]


def test_without_the_package(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package reasoning-gym: pip install 'glore"):
        load("train")


def test_the_extra_has_the_version_that_is_asked_for():
    setup = (pathlib.Path(__file__).parents[2] / "setup.py").read_text("utf-8")
    assert f'"gsm_symbolic": ["reasoning-gym=={symbolic_templates.VERSION}"]' in setup


# With the package.

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("reasoning_gym") is None, reason="needs reasoning-gym"
)


@needs_package
def test_another_version_of_the_package_is_refused(monkeypatch):
    monkeypatch.setattr(symbolic_templates.importlib.metadata, "version", lambda name: "0.2.0")
    with pytest.raises(UserError, match="0.2.0 is installed, whose questions are others: pip inst"):
        load("train")


@needs_package
def test_the_package_is_left_as_it_was(monkeypatch):
    mine = object()
    monkeypatch.setitem(sys.modules, "reasoning_gym.mine", mine)
    symbolic_templates.load()
    assert [name for name in sys.modules if name.startswith("reasoning_gym")] == [
        "reasoning_gym.mine"
    ]
    assert sys.modules["reasoning_gym.mine"] is mine


@needs_package
def test_the_questions_are_these():
    """Fixed by value: runs of different machines must agree on what a test problem is."""
    problems = load("test", test=68)
    assert len({p.story for p in problems}) == 68
    assert problems[0].id == "gsm_symbolic-test-07-0000"
    assert problems[0].question.startswith("Sophia is an avid gardener. Yesterday, she received 31")
    golds = ["181", "310", "4288", "147", "396", "756", "523800", "31"]
    assert [p.gold for p in problems[:8]] == golds
