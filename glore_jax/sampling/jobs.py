"""What is asked of the rollout engine: jobs, their forks, and what came of them."""

import collections
import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Fork:
    """A continuation of a trunk after its first `at` tokens. (question of the job, sample, cut, rollout) is its identity."""

    at: int
    sample: int = 0
    cut: int = 0
    rollout: int = 0


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a fork wrote: `tokens` without end-of-sequence, `text` decoded, `logprob` the sum under the model at temperature 1
    (end-of-sequence included), `ended` False if it ran out of length."""

    tokens: tuple[int, ...]
    text: str
    logprob: float
    ended: bool


class Job:
    """One trunk and its forks. Subclass `done` to ask for more forks when one has ended."""

    def __init__(self, question_id: str, trunk: list[int], forks: Iterable[Fork] = ()):
        self.question_id, self.trunk = question_id, trunk
        self.waiting: collections.deque[Fork] = collections.deque(forks)
        self.completions: dict[Fork, Completion] = {}

    def done(self, fork: Fork, completion: Completion) -> Iterable[Fork]:
        """Called once a fork has ended; returns further forks of this trunk.

        Calls for one job come one at a time, but from a thread of the engine, and with several lanes two jobs may be told at once:
        touch nothing there that other threads write.
        """
        return ()
