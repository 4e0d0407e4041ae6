"""What is asked of the rollout engine: jobs, their forks, and what came of them."""

import collections
import dataclasses
from collections.abc import Iterable, Sequence


@dataclasses.dataclass(frozen=True)
class Fork:
    """A continuation of a trunk after its first `at` tokens.

    (question of the job, sample, cut, rollout) is its identity: what it draws depends on these
    alone, see `keys.py`.
    """

    at: int
    sample: int = 0
    cut: int = 0
    rollout: int = 0


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a fork wrote.

    Attributes:
      tokens: without end-of-sequence.
      text: the tokens decoded; up to the stop text, if one was found.
      logprob: sum over the tokens under the model at temperature 1, end-of-sequence included.
      ended: False if it ran out of length.
    """

    tokens: tuple[int, ...]
    text: str
    logprob: float
    ended: bool


class Job:
    """One trunk and its forks. Subclass `done` to ask for more forks when one has ended.

    Attributes:
      question_id: names the trunk in random keys and messages.
      trunk: token ids.
      waiting: forks that have no slot yet, first come first served.
      completions: of the forks that have ended.
    """

    def __init__(self, question_id: str, trunk: Sequence[int], forks: Iterable[Fork] = ()):
        self.question_id = question_id
        self.trunk = trunk
        self.waiting: collections.deque[Fork] = collections.deque(forks)
        self.completions: dict[Fork, Completion] = {}

    def done(self, fork: Fork, completion: Completion) -> Iterable[Fork]:
        """Called once a fork has ended; returns further forks of this trunk.

        Calls for one job come one at a time, but from a thread of the engine, and with several
        engines side by side two jobs may be told at once: touch nothing there that other threads
        write.
        """
        return ()
