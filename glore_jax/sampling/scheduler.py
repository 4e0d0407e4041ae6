"""The host's picture of the engine's slots: which job lies on which shelf, which of its forks sits in which slot.

A job passes through: queue -> shelf (its trunk is prefilled) -> its forks, as slots get free, run, end and are graded, and may ask
for more -> complete, its shelf is free for the next.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from glore_jax.errors import UserError
from glore_jax.sampling import keys
from glore_jax.sampling.jobs import Completion, Fork, Job
from glore_jax.sampling.tokens import Sampling


@dataclasses.dataclass
class _Place:
    """A job on shelf `shelf` of group `group`; how many of its forks sit in slots and how many are being graded."""

    job: Job
    group: int
    shelf: int
    running: int = 0
    grading: int = 0


@dataclasses.dataclass(frozen=True)
class Finished:
    """A fork that has ended, as the device left it."""

    place: _Place
    fork: Fork
    tokens: tuple[int, ...]
    logprob: float
    ended: bool
    text: str | None = None  # if it is known already


class Scheduler:
    """Seats jobs and forks. `groups` x `shelves` trunks, `groups` x `slots` forks; see `Engine`."""

    def __init__(self, engine, jobs: Iterator[Job], sampling: Sampling):
        self.engine, self.jobs, self.sampling = engine, jobs, sampling
        self.places: list[list[_Place | None]] = [
            [None] * engine.shelves for _ in range(engine.groups)
        ]
        self.seated: dict[tuple[int, int], tuple[_Place, Fork]] = {}
        self.fresh: list[_Place] = []  # their trunks are still to be prefilled
        self.stopped: set[tuple[int, int]] = set()
        self.queued = True  # whether more jobs may come

    def fill(self) -> list[Job]:
        """Takes jobs onto empty shelves, spread over the groups. Returns those that want nothing: they are done at once."""
        done = []
        for shelf in range(self.engine.shelves):
            for group, row in enumerate(self.places):
                while row[shelf] is None:
                    job = next(self.jobs, None)
                    if job is None:
                        self.queued = False
                        return done
                    if not job.waiting:
                        done.append(job)
                        continue
                    if len(job.trunk) > self.engine.max_trunk:
                        raise UserError(
                            f"question {job.question_id} has {len(job.trunk)} tokens, more than the {self.engine.max_trunk} planned for"
                        )
                    row[shelf] = _Place(job, group, shelf)
                    self.fresh.append(row[shelf])
        return done

    def prefills(self):
        """Batches (trunks [P, W], lengths, groups, shelves [P]) of the fresh places, padded with rows that go nowhere."""
        e, width = self.engine, self.engine.prefill_rows
        for i in range(0, len(self.fresh), width):
            trunks, lengths = np.zeros((width, e.max_trunk), np.int32), np.zeros(width, np.int32)
            groups, shelves = np.full(width, e.groups, np.int32), np.zeros(width, np.int32)
            for row, place in enumerate(self.fresh[i : i + width]):
                tokens = place.job.trunk
                trunks[row, : len(tokens)], lengths[row] = tokens, len(tokens)
                groups[row], shelves[row] = place.group, place.shelf
                e.stats.prefill_tokens += len(tokens)
            yield trunks, lengths, groups, shelves
        self.fresh = []

    def admissions(self):
        """Seats waiting forks in free slots, the jobs of a group in turn: (arrays for `decode.admit`, mask of slots to end)."""
        e = self.engine
        shape = (e.groups, e.slots)
        new = {k: np.zeros(shape, np.int32) for k in ("token", "start", "cut", "limit")}
        new |= {"identity": np.zeros((*shape, 4), np.int32), "fresh": np.zeros(shape, bool)}
        for group, row in enumerate(self.places):
            waiting = [place for place in row if place is not None and place.job.waiting]
            if not waiting:
                continue
            for slot in range(e.slots):
                if (group, slot) in self.seated:
                    continue
                while waiting and not waiting[0].job.waiting:
                    waiting.pop(0)
                if not waiting:
                    break
                place, at = waiting[0], (group, slot)
                job = place.job
                fork = job.waiting.popleft()
                self.seated[at] = place, fork
                place.running += 1
                new["fresh"][at] = True
                new["token"][at] = job.trunk[
                    fork.at - 1
                ]  # fed again: its logits give the first new token
                new["start"][at] = place.shelf * e.max_trunk
                new["cut"][at] = fork.at - 1
                new["limit"][at] = min(self.sampling.max_new, e.config.max_positions - fork.at)
                new["identity"][at] = keys.identity(
                    job.question_id, fork.sample, fork.cut, fork.rollout
                )
        stop = np.zeros(shape, bool)
        for at in self.stopped:
            stop[at] = True
        self.stopped = set()
        return new, stop

    def waiting(self) -> bool:
        """Whether some fork waits for a slot."""
        return any(place is not None and place.job.waiting for row in self.places for place in row)

    def harvest(self, looked) -> list[Finished]:
        """Empties the slots whose forks have ended."""
        finished = []
        for at, (place, fork) in list(self.seated.items()):
            live, ended = bool(looked["live"][at]), bool(looked["ended"][at])
            if live and not self.sampling.stop:
                continue
            tokens = tuple(looked["out"][at][: looked["age"][at] - ended].tolist())
            text = None
            if self.sampling.stop:
                text = self.engine.tokenizer.decode(list(tokens))
                cut = min((i for s in self.sampling.stop if (i := text.find(s)) >= 0), default=None)
                if live and cut is None:
                    continue
                if live:
                    self.stopped.add(at)
                text, ended = text[:cut], ended or cut is not None
            place.running, place.grading = place.running - 1, place.grading + 1
            finished.append(
                Finished(place, fork, tokens, float(looked["logprob"][at]), ended, text)
            )
            del self.seated[at]
        return finished

    def grade(self, finished: list[Finished]) -> list[tuple[_Place, list[Fork]]]:
        """Tells the jobs what their forks wrote: (place, the further forks it asks for). Runs beside the device."""
        asked = []
        for f in finished:
            text = self.engine.tokenizer.decode(list(f.tokens)) if f.text is None else f.text
            completion = Completion(f.tokens, text, f.logprob, f.ended)
            f.place.job.completions[f.fork] = completion
            asked.append((f.place, list(f.place.job.done(f.fork, completion))))
        return asked

    def settle(self, asked: list[tuple[_Place, list[Fork]]]) -> list[Job]:
        """Queues the forks asked for and clears the shelves of jobs that are complete, which it returns."""
        complete = []
        for place, forks in asked:
            place.grading -= 1
            place.job.waiting.extend(forks)
            self.engine.stats.forks += 1
            if not place.running and not place.grading and not place.job.waiting:
                self.places[place.group][place.shelf] = None
                complete.append(place.job)
        return complete

    def starving(self, share: float) -> bool:
        """Whether more than `share` of all slots would stay empty only because their group waits for grades."""
        taken = np.zeros(self.engine.groups, int)
        for group, _ in self.seated:
            taken[group] += 1
        empty = 0
        for group, row in enumerate(self.places):
            places = [place for place in row if place is not None]
            if any(place.grading for place in places):
                known = sum(len(place.job.waiting) for place in places)
                empty += max(0, self.engine.slots - int(taken[group]) - known)
        return empty > share * self.engine.groups * self.engine.slots
