"""What held-out solutions say of a reward model."""

import dataclasses

import numpy as np
import pytest

from glore_jax.labels import looks
from glore_jax.labels.looks import Judged, JudgedSteps


def questions(count, scores_of, seed=0):
    """`count` questions of four solutions, half of them right; `scores_of(rng, correct)`."""
    rng = np.random.default_rng(seed)
    correct = np.array([True, True, False, False])
    return [
        Judged(f"q{i}", scores_of(rng, correct), rng.normal(size=4), correct) for i in range(count)
    ]


def telling(rng, correct):
    return np.clip(0.5 + 0.3 * (correct - 0.5) + 0.1 * rng.normal(size=4), 0, 1)


def test_a_model_that_tells_right_from_wrong():
    found = looks.look(questions(50, telling), 0)
    assert (found["questions"], found["n"], found["pairs"]) == (50, 200, 200)
    assert found["learned"] is True and found["why"] == ""
    assert 0.5 < found["low"] < found["within_pair"] < found["high"] <= 1
    assert found["acc"] > found["majority"] == 0.5
    assert 0.3 < found["within_pair_loglik"] < 0.7
    assert "50 held-out questions" in looks.in_words(found)


def test_a_model_that_says_the_same_of_all():
    def same(rng, correct):
        return 0.5 + 0.001 * correct

    found = looks.look(questions(50, same), 0)
    assert found["within_pair"] == 1.0  # which is no use where all of them are called right
    assert found["learned"] is False and "spread by 0.0005" in found["why"]


def test_a_model_that_guesses():
    found = looks.look(questions(50, lambda rng, correct: rng.random(4)), 0)
    assert found["low"] < 0.5 < found["high"]
    assert found["learned"] is False and "no better than chance" in found["why"]


def test_a_model_that_is_the_wrong_way_round():
    found = looks.look(questions(50, lambda rng, correct: 1 - telling(rng, correct)), 0)
    assert found["learned"] is False and found["high"] < 0.5


def likely(count, more):
    """Questions whose right solutions are likelier in 3 of 4 pairs; their scores are the
    probabilities of the texts, and `more` log-odds for right ones."""
    found = []
    for number in range(count):
        logprobs = np.array([-1.0, -2.0, -1.5, -3.0]) - number % 3
        correct = np.array([True, True, False, False])
        scores = 1 / (1 + np.exp(-(logprobs + more * correct)))
        found.append(Judged(str(number), scores, logprobs, correct))
    return found


def test_a_model_that_says_what_it_began_with_has_learned_nothing():
    untrained = likely(50, 0.0)
    found = looks.look(untrained, 0, likelihood=True)
    assert found["within_pair"] == found["within_pair_loglik"] == 0.75
    assert found["over_loglik"]["value"] == 0.0 and found["over_loglik"]["n"] == 50
    assert found["learned"] is False
    assert "no better than the log-likelihood it began with (in 0.75 of 200" in found["why"]
    # Of another model, which began with nothing, it is something.
    assert looks.look(untrained, 0)["learned"] is True
    trained = looks.look(likely(50, 1.0), 0, likelihood=True)
    assert trained["learned"] is True and trained["over_loglik"]["low"] > 0


def steps(count, shares, good=(True, True, False)):
    """`count` questions of three steps; `shares`: how often each is called what it is."""
    rng = np.random.default_rng(0)
    labels = np.array(good)
    found = []
    for _ in range(count):
        right = rng.random(3) < shares
        found.append(JudgedSteps(np.where(right == labels, 0.9, 0.1), labels))
    return found


def test_steps_that_a_constant_guess_calls_as_well_are_said_to_be():
    guessed = looks.look_at_steps(steps(60, (1.0, 0.95, 0.1)), 0)
    assert guessed["n"] == 180 and guessed["majority"] == pytest.approx(2 / 3)
    over = guessed["over_majority"]
    assert over["low"] <= 0 and guessed["acc"] == pytest.approx(2 / 3 + over["value"])
    assert "called no better than the majority class" in guessed["why"]
    told = looks.look_at_steps(steps(60, (1.0, 0.95, 0.8)), 0)
    assert told["over_majority"]["low"] > 0 and told["why"] == ""
    # Where most steps are wrong, wrong is the guess.
    wrong = looks.look_at_steps(steps(60, (1.0, 0.9, 0.9), good=(True, False, False)), 0)
    assert wrong["majority"] == pytest.approx(2 / 3) and wrong["over_majority"]["low"] > 0


@pytest.mark.parametrize("given", [[], steps(6, (1.0, 0.0, 0.0))])
def test_few_steps_say_nothing(given):
    found = looks.look_at_steps(given, 0)
    assert found["over_majority"] is None and found["why"] == ""
    assert found["n"] == 3 * len(given)


@pytest.mark.parametrize(
    "given, why",
    [
        ([], "no solution was held out"),
        ([Judged("q", [0.1, 0.9], [0, 0], [True, True])], "tell fewer than 7 stories"),
        (questions(6, telling), "tell fewer than 7 stories"),
    ],
)
def test_what_cannot_be_told_is_not_told(given, why):
    found = looks.look(given, 0)
    assert found["learned"] is None and why in found["why"]
    assert found["low"] is found["high"] is None
    assert looks.in_words(found)


def test_few_questions_are_enough_if_all_their_pairs_are_right():
    found = looks.look(questions(looks.LEAST_STORIES, lambda rng, correct: 0.8 * correct), 0)
    assert found["learned"] is True
    assert (found["low"], found["high"]) == (pytest.approx(1 - 3 / 7), 1.0)


def test_the_interval_is_of_questions_and_the_same_each_time():
    """Pairs that say the same thing four times are no four witnesses."""
    once = questions(30, lambda rng, correct: 0.4 + 0.2 * (correct == (rng.random() < 0.7)))
    first = looks.look(once, 3)
    assert first == looks.look(once, 3)
    assert first["high"] - first["low"] > 0.25


def test_variations_of_one_story_are_one_witness():
    def told(stories):
        return [dataclasses.replace(q, story=f"s{i % stories}") for i, q in enumerate(many)]

    many = questions(100, telling)
    found = looks.look(told(6), 0)
    assert found["learned"] is None and "tell fewer than 7 stories" in found["why"]
    # Stories that agree within and differ from each other: as sure as ten questions are.
    many = [
        dataclasses.replace(q, scores=0.5 + 0.2 * (q.correct == (i % 10 < 7)))
        for i, q in enumerate(many)
    ]
    by_story, by_question = looks.look(told(10), 0), looks.look(many, 0)
    assert by_story["within_pair"] == by_question["within_pair"] == 0.7
    assert by_question["learned"] is True and by_story["learned"] is False
    assert by_story["low"] < 0.5 < by_question["low"]


def test_held_out_questions_are_their_share_whatever_stands_beside_them():
    ids = [f"q{i}" for i in range(4000)]
    held = {i for i in ids if looks.is_held_out(1, i, 0.05)}
    assert 0.03 < len(held) / len(ids) < 0.07
    assert held < {i for i in ids if looks.is_held_out(1, i, 0.1)}
    assert held != {i for i in ids if looks.is_held_out(2, i, 0.05)}
    assert not any(looks.is_held_out(1, i, 0.0) for i in ids)
