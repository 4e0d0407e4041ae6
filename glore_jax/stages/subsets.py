"""Which training questions serve which purpose, where a config asks for fewer than there are.

    train ─┬─► shown      the student starts from their solutions    student.worked
           ├─► explored   sampled by a round of expert iteration     student.ei.questions
           └─► sampled    for the reward models and the refiner      sample.questions
                  └─► labelled   their drafts get step labels        rollout.questions

Each subset is drawn by the identity of the questions and a purpose of its own: it is the same in
every process, after a restart and beside other questions. Questions whose solutions were shown come
last in all others: there the student goes wrong less often and otherwise than on questions that it
has not seen, and solutions that it found itself would be copies.
"""

from collections.abc import Sequence

from glore_jax.config import AnyConfig
from glore_jax.labels.identity import identity_rank, subset
from glore_jax.tasks.base import Problem


def shown(config: AnyConfig, train: Sequence[Problem]) -> list[Problem]:
    """Of the problems that have a worked solution, those whose solution the student is shown."""
    solved = [problem for problem in train if problem.solution]
    purpose = config.seed, "student.worked"
    return subset(solved, config.student.worked, lambda problem: problem.id, *purpose)


def sampled(config: AnyConfig, train: Sequence[Problem]) -> list[Problem]:
    """The problems whose solutions by the student stage `sample` keeps."""
    ring = _ring(config, train, train, "sample.questions")
    return _taken(train, ring, config.sample.questions)


def labelled(config: AnyConfig, train: Sequence[Problem]) -> list[Problem]:
    """Those of the `sampled` problems whose drafts get step labels."""
    asked = sampled(config, train)
    ring = _ring(config, train, asked, "rollout.questions")
    return _taken(asked, ring, config.rollout.questions)


def explored(config: AnyConfig, train: Sequence[Problem], number: int) -> list[Problem]:
    """The problems that round `number` of expert iteration samples, in the order of `train`.

    All problems stand in a ring, those whose solutions were shown last, otherwise at random. Round
    1 takes the first `student.ei.questions` of it (0: all), and each round goes on where the one
    before it ended. So a solution that is found is one of a question that the student could not
    copy, as long as there are such. The one-shot prompted base counts as round 0; the questions it
    gets are the last that come up again.

        unshown  unshown  unshown  unshown  shown  shown
        └─ round 1 ────┘  └─ round 2 ────┘  └─ 3 ──────┘  then from the beginning
    """
    count = config.student.ei.questions
    if not count or count >= len(train):
        return list(train)
    ring = _ring(config, train, train, "student.ei.questions")
    start = (number - 1) * count % len(ring)
    return _taken(train, ring[start:] + ring[:start], count)


def _ring(
    config: AnyConfig, train: Sequence[Problem], problems: Sequence[Problem], purpose: str
) -> list[int]:
    """The places of `problems`, some of `train`, in the order in which they are taken: at random,
    those whose solutions were shown last."""
    known = {problem.id for problem in shown(config, train)}

    def rank(place: int) -> tuple[bool, float]:
        name = problems[place].id
        return name in known, identity_rank(config.seed, purpose, name)

    return sorted(range(len(problems)), key=rank)


def _taken(problems: Sequence[Problem], ring: Sequence[int], count: int) -> list[Problem]:
    """The first `count` of the ring (0: all), in the order of `problems`."""
    return [problems[place] for place in sorted(ring[: count or None])]
