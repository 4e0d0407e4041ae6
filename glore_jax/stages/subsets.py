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
    return _drawn(config, solved, config.student.worked, "student.worked")


def sampled(config: AnyConfig, train: Sequence[Problem]) -> list[Problem]:
    """The problems whose solutions by the student stage `sample` keeps."""
    known = {problem.id for problem in shown(config, train)}
    return _unknown_first(config, train, known, config.sample.questions, "sample.questions")


def labelled(config: AnyConfig, train: Sequence[Problem]) -> list[Problem]:
    """Those of the `sampled` problems whose drafts get step labels."""
    known = {problem.id for problem in shown(config, train)}
    asked = sampled(config, train)
    return _unknown_first(config, asked, known, config.rollout.questions, "rollout.questions")


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
    known = {problem.id for problem in shown(config, train)}

    def place_in_ring(problem: Problem) -> tuple[bool, float]:
        rank = identity_rank(config.seed, "student.ei.questions", problem.id)
        return problem.id in known, rank

    ring = sorted(range(len(train)), key=lambda place: place_in_ring(train[place]))
    start = (number - 1) * count
    taken = sorted(ring[(start + i) % len(ring)] for i in range(count))
    return [train[place] for place in taken]


def _unknown_first(
    config: AnyConfig, problems: Sequence[Problem], known: set[str], count: int, purpose: str
) -> list[Problem]:
    """`count` of `problems` (0: all), of those in `known` only as many as are missing then."""
    if not count:
        return list(problems)
    unknown = [problem for problem in problems if problem.id not in known]
    if count <= len(unknown):
        return _drawn(config, unknown, count, purpose)
    others = [problem for problem in problems if problem.id in known]
    more = _drawn(config, others, count - len(unknown), purpose)
    taken = {problem.id for problem in (*unknown, *more)}
    return [problem for problem in problems if problem.id in taken]


def _drawn(
    config: AnyConfig, problems: Sequence[Problem], count: int, purpose: str
) -> list[Problem]:
    return subset(problems, count, lambda problem: problem.id, config.seed, purpose)
