"""Which rounds of expert iteration are a gain, when it ends, and which round is kept.

Two rounds are compared on the same questions of `dev`. Both answer most of them alike, so only the
others tell something: those that one round gets right and the other wrong.

                     q1   q2   q3   q4   q5   q6   q7
    earlier round    1    1    0    0    1    0    0
    later round      1    1    0    1    0    1    1         3 won, 1 lost: 5 of 16 fair coins do so

Questions that are variations of one story go right or wrong together, so that they are one coin:
the story is won if more of its questions are won than lost.

Accuracies alone would call any such difference a rise: where nothing changes but chance, a round
has a higher accuracy than the one before nearly half of the time.
"""

import math
from collections.abc import Mapping, Sequence

Outcomes = Mapping[str, bool]  # question id -> whether the greedy draft is right
Stories = Mapping[str, str]  # question id -> name of its story


def sign_test(earlier: Outcomes, later: Outcomes, stories: Stories) -> float:
    """The chance that a round no better than `earlier` would look as good as `later` does.

    The exact one-sided sign test over the stories on which they differ; 1 if there are none.
    `stories` has all their questions. ValueError if the questions are not the same.
    """
    if earlier.keys() != later.keys():
        raise ValueError("two rounds were measured on different questions of dev")
    net: dict[str, int] = {}  # story -> questions won minus questions lost
    for question in earlier:
        difference = int(later[question]) - int(earlier[question])
        net[stories[question]] = net.get(stories[question], 0) + difference
    won = sum(difference > 0 for difference in net.values())
    lost = sum(difference < 0 for difference in net.values())
    differ = won + lost
    as_good = sum(math.comb(differ, wins) for wins in range(won, differ + 1))
    return as_good / 2**differ


def last_gain(rounds: Sequence[Outcomes], stories: Stories, level: float) -> int:
    """The latest round that is proven to be a gain; 0 if none is.

    Each round is compared with the one that was the last gain before it, not with its predecessor,
    so that small gains add up until they show. It is one if `sign_test` is at most `level`; with
    .5, if it wins more stories than it loses.
    """
    best = 0
    for number in range(1, len(rounds)):
        if sign_test(rounds[best], rounds[number], stories) <= level:
            best = number
    return best


def has_ended(rounds: Sequence[Outcomes], stories: Stories, patience: int, level: float) -> bool:
    """Whether the last `patience` rounds brought no gain (see `last_gain`)."""
    return len(rounds) - 1 - last_gain(rounds, stories, level) >= patience


def best_round(rounds: Sequence[Outcomes]) -> int:
    """The round of highest accuracy; of equal ones the latest.

    To go on needs a proof, since a further round costs hours. To choose among rounds that are there
    costs nothing, and the highest accuracy is the best guess. The earliest round within noise of it
    would throw away each gain too small to be proven, and the latest within noise would keep a loss
    of that size. Of equal rounds the latest has learned from the most solutions.
    """
    right = [sum(outcomes.values()) for outcomes in rounds]
    return max(range(len(rounds)), key=lambda number: (right[number], number))
