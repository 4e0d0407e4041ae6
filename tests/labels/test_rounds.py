"""When expert iteration ends: by evidence that noise on a few questions does not make."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax.config import default
from glore_jax.labels import rounds


def outcomes(text):
    """'110' -> question 0 and 1 are right, 2 is not."""
    return {str(i): c == "1" for i, c in enumerate(text)}


def of(*texts):
    return [outcomes(text) for text in texts]


ALONE = {str(i): f"story {i}" for i in range(1000)}  # each question tells its own


@pytest.mark.parametrize(
    "earlier, later, chance",
    [
        ("1100100", "1101011", 5 / 16),  # the drawing: 3 won, 1 lost
        ("0000", "1111", 1 / 16),
        ("1111", "0000", 1),
        ("1010", "1010", 1),  # nothing tells them apart
        ("10", "01", 3 / 4),
        ("0", "1", 1 / 2),
    ],
)
def test_sign_test(earlier, later, chance):
    assert rounds.sign_test(outcomes(earlier), outcomes(later), ALONE) == chance


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_at_a_level_of_a_half_any_rise_is_a_gain(pairs):
    earlier, later = ({str(i): pair[side] for i, pair in enumerate(pairs)} for side in (0, 1))
    rises = sum(later.values()) > sum(earlier.values())
    assert (rounds.sign_test(earlier, later, ALONE) <= 0.5) is rises
    assert rounds.last_gain([earlier, later], ALONE, 0.5) == int(rises)


def test_variations_of_one_story_are_one_witness():
    """Six more right are 1 of 64 fair coins; of one story, 1 of 2."""
    earlier, later = of("000000", "111111")
    assert rounds.sign_test(earlier, later, ALONE) == 1 / 64
    assert rounds.sign_test(earlier, later, dict.fromkeys(ALONE, "one")) == 1 / 2
    # Two of three won, one of one lost, one of each: the last tells nothing.
    earlier, later = of("000110", "110001")
    stories = dict(zip("012345", ["a", "a", "a", "b", "c", "c"], strict=True))
    assert rounds.sign_test(earlier, later, stories) == 3 / 4  # 1 won, 1 lost
    assert rounds.sign_test(earlier, later, ALONE) == 1 / 2  # 3 won, 2 lost
    assert rounds.last_gain(of("000000", "111111"), dict.fromkeys(ALONE, "one"), 0.2) == 0


def test_rounds_on_other_questions_cannot_be_compared():
    with pytest.raises(ValueError, match="different questions"):
        rounds.sign_test(outcomes("11"), outcomes("111"), ALONE)


def test_small_gains_add_up():
    """No round is a gain over the one before, but the third is one over the first."""
    one_by_one = of("00000000", "11000000", "11110000", "11111100")
    assert rounds.last_gain(one_by_one[:3], ALONE, 0.1) == 2  # 4 won: 1 of 16
    assert [rounds.last_gain(one_by_one[:n], ALONE, 0.05) for n in (2, 3, 4)] == [0, 0, 3]
    assert not rounds.has_ended(one_by_one[:3], ALONE, 3, 0.05)
    assert rounds.has_ended(one_by_one[:3], ALONE, 2, 0.05)


def test_it_ends_after_rounds_without_a_gain():
    flat = of("1100", "1010", "0110", "1001")
    assert [rounds.has_ended(flat[:n], ALONE, 2, 0.2) for n in (1, 2, 3, 4)] == [
        False,
        False,
        True,
        True,
    ]
    assert not rounds.has_ended(flat[:1], ALONE, 1, 0.2)


def test_the_latest_of_the_best_rounds_is_kept():
    assert rounds.best_round(of("1000", "1100", "0110", "0001")) == 2
    assert rounds.best_round(of("1111")) == 0


# What it does to noise. Each question has its own difficulty, each round draws its outcomes anew.

DEV = 256
ITERATION = default().student.ei
RULE = {"patience": ITERATION.patience, "level": ITERATION.level}
ANY_RISE = {"patience": 1, "level": 0.5}  # goes on as long as the accuracy rises


def simulated(skills, rng):
    """Outcomes of rounds with about these mean accuracies on the same `DEV` questions."""
    difficulty = rng.normal(0, 3, DEV)
    # Difficulties spread, so that the mean is nearer to a half than the chance of a middling one.
    shift = 2 * np.log(np.array(skills) / (1 - np.array(skills)))
    chance = 1 / (1 + np.exp(-(difficulty + shift[:, None])))
    drawn = rng.random(chance.shape) < chance
    return [dict(zip(map(str, range(DEV)), row.tolist())) for row in drawn]


def ends(skills, patience, level, runs=200):
    """The number of rounds of many iterations."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(runs):
        made = simulated(skills, rng)
        number = 1
        while number < len(made) and not rounds.has_ended(made[:number], ALONE, patience, level):
            number += 1
        found.append(number - 1)
    return np.array(found)


def test_noise_neither_prolongs_nor_ends_it():
    flat = [0.5] * 6
    rising = [0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.7]
    # Without any gain: how often it goes on after the first time that it may end.
    prolonged = [np.mean(ends(flat, **rule) > rule["patience"]) for rule in (ANY_RISE, RULE)]
    # With a gain in each of five rounds: how often it ends before the last of them.
    cut_short = [np.mean(ends(rising, **rule) < 5) for rule in (ANY_RISE, RULE)]
    assert prolonged[1] < 0.65 * prolonged[0]
    assert cut_short[1] < 0.65 * cut_short[0]


def test_the_most_accurate_round_is_the_safest_choice():
    """Against the last proven gain: that one loses most where rounds rise a little each time."""
    skills = {"rising": [0.5, 0.53, 0.56, 0.59], "falling": [0.59, 0.56, 0.53, 0.5]}
    rng = np.random.default_rng(1)
    loss = {"best": 0.0, "proven": 0.0}  # the larger one of the two mean losses
    for truth in skills.values():
        runs = [simulated(truth, rng) for _ in range(100)]
        best = np.mean([truth[rounds.best_round(run)] for run in runs])
        proven = np.mean([truth[rounds.last_gain(run, ALONE, RULE["level"])] for run in runs])
        loss["best"] = max(loss["best"], max(truth) - best)
        loss["proven"] = max(loss["proven"], max(truth) - proven)
    assert loss["best"] < 0.6 * loss["proven"]
