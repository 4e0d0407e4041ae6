"""Which training questions are used for what: the same everywhere, shown ones last."""

import pytest

from configs import tiny
from glore_jax.stages import subsets
from glore_jax.tasks.base import Problem

TRAIN = [Problem(f"q{i:03}", "?", "1", ("#### 1",)) for i in range(400)]


@pytest.fixture
def config():
    c = tiny.get_config()
    c.student.worked = c.student.ei.questions = c.sample.questions = 100
    c.rollout.questions = 50
    return c


def ids(problems):
    return {problem.id for problem in problems}


def of_all_purposes(config, train):
    return [
        ids(subsets.shown(config, train)),
        ids(subsets.sampled(config, train)),
        ids(subsets.labelled(config, train)),
        *(ids(subsets.explored(config, train, number)) for number in range(5)),
    ]


def test_subsets_do_not_depend_on_the_order(config):
    forwards = of_all_purposes(config, TRAIN)
    assert forwards == of_all_purposes(config, TRAIN[::-1])
    assert [len(s) for s in forwards] == [100, 100, 50, *[100] * 5]
    some = subsets.sampled(config, TRAIN)
    assert some == sorted(some, key=lambda p: p.id)  # they keep the order of the split


def test_shown_questions_come_last(config):
    shown, sampled, labelled, *_ = of_all_purposes(config, TRAIN)
    assert labelled < sampled  # only samples can be labelled
    assert not shown & sampled
    first = {f"q{i:03}" for i in range(100)}
    # A quarter of the questions: 25 are expected, with a deviation of 3.8.
    assert all(10 <= len(drawn & first) <= 40 for drawn in (shown, sampled))
    config.sample.questions = 400
    config.rollout.questions = 350
    _, sampled, labelled, *_ = of_all_purposes(config, TRAIN)
    assert len(sampled) == 400 and len(labelled) == 350 and len(labelled & shown) == 50


def test_another_seed_draws_others(config):
    before = of_all_purposes(config, TRAIN)
    config.seed = 1
    assert all(a != b for a, b in zip(before, of_all_purposes(config, TRAIN), strict=True))


def test_a_smaller_draw_is_part_of_a_larger_one(config):
    large = ids(subsets.sampled(config, TRAIN))
    config.sample.questions = 30
    assert ids(subsets.sampled(config, TRAIN)) < large


def test_the_iteration_asks_shown_questions_last(config):
    shown = ids(subsets.shown(config, TRAIN))
    rounds = [ids(subsets.explored(config, TRAIN, number)) for number in range(1, 6)]
    assert [len(asked & shown) for asked in rounds] == [0, 0, 0, 100, 0]
    assert len(set.union(*rounds[:4])) == 400 and rounds[4] == rounds[0]


def test_a_round_that_reaches_the_end_goes_on_from_the_beginning(config):
    config.student.ei.questions = 250
    first, second = (ids(subsets.explored(config, TRAIN, number)) for number in (1, 2))
    assert len(second) == 250 and len(first | second) == 400


def test_the_one_shot_prompt_asks_what_comes_up_last(config):
    unworked = [Problem(p.id, p.question, p.gold) for p in TRAIN]
    asked = [ids(subsets.explored(config, unworked, number)) for number in range(4)]
    assert len(set.union(*asked)) == 400
    assert subsets.shown(config, unworked) == []


def test_none_means_all(config):
    config.student.worked = config.student.ei.questions = config.sample.questions = 0
    config.rollout.questions = 0
    assert subsets.shown(config, TRAIN) == subsets.sampled(config, TRAIN) == TRAIN
    assert subsets.labelled(config, TRAIN) == subsets.explored(config, TRAIN, 3) == TRAIN
    config.sample.questions = 1000  # more than there are
    assert subsets.sampled(config, TRAIN) == TRAIN
