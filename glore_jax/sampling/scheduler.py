"""The host's picture of an engine: which job lies on which shelf, which fork sits in which slot.

A job passes through:

    queue ──► shelf ──► its forks wait ──► slots ──► harvested ──► graded ──► settled ──► complete
              (its trunk     ▲                                                   │   (its shelves
              is prefilled)  └──────────────── the forks it asks for ◄───────────┘     are free)

A trunk lies in one group as long as there are jobs for all. Where slots would stay empty for want
of jobs, trunks whose forks wait come onto free shelves of those groups too:

    group 0   a  a  a  a    a waits with 5 more        group 0   a  a  a  a
    group 1   b  .  .  .                         ──►   group 1   b  a  a  a    2 more wait

Everything here is called on the engine's own thread, one phase after the other, except `grade`: it
runs beside the device, on another thread, and touches nothing but the jobs.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Int32

from glore_jax.errors import UserError
from glore_jax.sampling import keys
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.jobs import Completion, Fork, Job
from glore_jax.sampling.state import Admissions, Look
from glore_jax.sampling.tokens import Sampling

Slot = tuple[int, int]  # (group, number in the group)
Shelf = tuple[int, int]  # (group, number in the group)


@dataclasses.dataclass(eq=False)
class Placement:
    """A job whose trunk lies on shelf `shelves[group]` of each of these groups.

    running: forks of it that sit in slots. grading: those that have ended and are not settled.
    """

    job: Job
    shelves: dict[int, int] = dataclasses.field(default_factory=dict)
    running: int = 0
    grading: int = 0

    @property
    def complete(self) -> bool:
        """Whether all its forks have ended, and none of them asked for more."""
        return not (self.running or self.grading or self.job.waiting)


@dataclasses.dataclass(frozen=True)
class PrefillBatch:
    """Trunks for one call of `decode.prefill`, padded with rows that go nowhere."""

    trunks: Int32[np.ndarray, "P W"]
    lengths: Int32[np.ndarray, " P"]
    groups: Int32[np.ndarray, " P"]
    shelves: Int32[np.ndarray, " P"]


@dataclasses.dataclass(frozen=True)
class Finished:
    """A fork that has ended, as the device left it. text: if it is known already."""

    placement: Placement
    fork: Fork
    tokens: tuple[int, ...]
    logprob: float
    ended: bool
    text: str | None = None


@dataclasses.dataclass(frozen=True)
class Graded:
    """A fork that its job has seen, and the forks that the job asks for since."""

    placement: Placement
    asked: list[Fork]


class Scheduler:
    """Gives jobs their shelves and forks their slots.

    Args:
      capacity: how many of either there are.
      jobs: where jobs come from; taken as shelves get free. None among them: no other job yet,
        the rest are for engines beside this one.
      sampling: how long forks may get, and which texts stop them.
      decode: token ids -> text.
      max_positions: tokens of the model's context.

    Attributes:
      seated: the fork in each slot that is taken.
      jobs_may_come: False once `jobs` has run out.
    """

    def __init__(
        self,
        capacity: Capacity,
        jobs: Iterator[Job | None],
        sampling: Sampling,
        *,
        decode: Callable[[list[int]], str],
        max_positions: int,
    ):
        self.capacity = capacity
        self.jobs = jobs
        self.sampling = sampling
        self.decode = decode
        self.max_positions = max_positions

        self.jobs_may_come = True
        self.shelves: list[list[Placement | None]] = [
            [None] * capacity.shelves for _ in range(capacity.groups)
        ]
        self.seated: dict[Slot, tuple[Placement, Fork]] = {}
        self._unread: list[tuple[Job, Shelf]] = []  # trunks to be prefilled, and their shelves
        self._stopped: set[Slot] = set()  # their forks were harvested while they still wrote

    def fill_shelves(self) -> list[Job]:
        """Takes jobs onto empty shelves, and trunks whose forks wait to where slots are empty.

        Returns the jobs that want nothing: they are complete at once.

        Raises UserError naming the question if a trunk is too long.
        """
        complete: list[Job] = []
        if not self._take_jobs(complete):
            self._spread()
        return complete

    def _take_jobs(self, complete: list[Job]) -> bool:
        """Whether there are jobs for all empty shelves, which are filled group by group."""
        for shelf in range(self.capacity.shelves):
            for group, row in enumerate(self.shelves):
                if row[shelf] is not None:
                    continue
                job = self._next_job(complete)
                if job is None:
                    return False
                self._lay(Placement(job), group, shelf)
        return True

    def _lay(self, placement: Placement, group: int, shelf: int) -> None:
        """Puts a trunk onto an empty shelf."""
        self.shelves[group][shelf] = placement
        placement.shelves[group] = shelf
        self._unread.append((placement.job, (group, shelf)))

    def _spread(self) -> None:
        """Lays trunks where slots would stay empty: each time that of which most forks wait."""
        while (lay := self._next_to_lay()) is not None:
            self._lay(*lay)

    def _next_to_lay(self) -> tuple[Placement, int, int] | None:
        """(trunk, group, shelf): to the emptiest group first.

        Looked for anew after each: a trunk that has come to a group may take slots that others
        in it would have had.
        """
        waiting, empty = self._left_over()
        for group in sorted(range(self.capacity.groups), key=lambda group: -empty[group]):
            if not empty[group] or None not in self.shelves[group]:
                continue
            elsewhere = (p for p in waiting if waiting[p] and group not in p.shelves)
            most = max(elsewhere, key=lambda p: waiting[p], default=None)
            if most is not None:
                return most, group, self.shelves[group].index(None)
        return None

    def _left_over(self) -> tuple[dict[Placement, int], list[int]]:
        """(forks that find no seat where their trunks lie, slots that stay empty in each group)."""
        waiting = {p: len(p.job.waiting) for row in self.shelves for p in row if p is not None}
        empty = [self.capacity.slots] * self.capacity.groups
        for group, _ in self.seated:
            empty[group] -= 1
        for group, row in enumerate(self.shelves):
            for placement in row:
                if placement is not None:
                    seats = min(waiting[placement], empty[group])
                    waiting[placement] -= seats
                    empty[group] -= seats
        return waiting, empty

    def _next_job(self, complete: list[Job]) -> Job | None:
        """The next job that wants something, if there is one; others go to `complete`."""
        for job in self.jobs:
            if job is None:
                return None
            if not job.waiting:
                complete.append(job)
                continue
            if len(job.trunk) > self.capacity.max_trunk:
                raise UserError(
                    f"question {job.question_id} has {len(job.trunk)} tokens, more than the "
                    f"{self.capacity.max_trunk} planned for"
                )
            return job
        self.jobs_may_come = False
        return None

    def prefill_batches(self) -> Iterator[PrefillBatch]:
        """The trunks that have come onto shelves since the last call."""
        rows = self.capacity.prefill_rows
        for first in range(0, len(self._unread), rows):
            yield self._prefill_batch(self._unread[first : first + rows])
        self._unread = []

    def _prefill_batch(self, unread: list[tuple[Job, Shelf]]) -> PrefillBatch:
        rows = self.capacity.prefill_rows
        trunks = np.zeros((rows, self.capacity.max_trunk), np.int32)
        lengths = np.zeros(rows, np.int32)
        groups = np.full(rows, self.capacity.groups, np.int32)  # out of range: padding
        shelves = np.zeros(rows, np.int32)
        for row, (job, (group, shelf)) in enumerate(unread):
            trunks[row, : len(job.trunk)] = job.trunk
            lengths[row] = len(job.trunk)
            groups[row] = group
            shelves[row] = shelf
        return PrefillBatch(trunks, lengths, groups, shelves)

    def admissions(self) -> Admissions:
        """Seats waiting forks in free slots, the jobs of a group one after the other."""
        new = Admissions.none(self.capacity)
        for group in range(self.capacity.groups):
            slots = [(group, number) for number in range(self.capacity.slots)]
            free = [slot for slot in slots if slot not in self.seated]
            # `free` comes first, so that no fork is taken for which there is no slot.
            for slot, (placement, fork) in zip(free, self._waiting_forks(group), strict=False):
                self.seated[slot] = placement, fork
                placement.running += 1
                self._admit(new, slot, placement, fork)
        for slot in self._stopped:
            new.stop[slot] = True
        self._stopped = set()
        return new

    def _waiting_forks(self, group: int) -> Iterator[tuple[Placement, Fork]]:
        for placement in self.shelves[group]:
            while placement is not None and placement.job.waiting:
                yield placement, placement.job.waiting.popleft()

    def _admit(self, new: Admissions, slot: Slot, placement: Placement, fork: Fork) -> None:
        job = placement.job
        new.fresh[slot] = True
        # The last token of the prefix is fed again: its logits give the first new token. So the
        # trunk is seen up to the token before it.
        new.token[slot] = job.trunk[fork.at - 1]
        new.cut[slot] = fork.at - 1
        group, _ = slot
        new.start[slot] = placement.shelves[group] * self.capacity.max_trunk
        new.limit[slot] = min(self.sampling.max_new, self.max_positions - fork.at)
        new.identity[slot] = keys.identity(job.question_id, fork.sample, fork.cut, fork.rollout)

    @property
    def forks_wait(self) -> bool:
        """Whether some fork waits for a slot."""
        return any(
            placement is not None and placement.job.waiting
            for row in self.shelves
            for placement in row
        )

    def harvest(self, look: Look) -> list[Finished]:
        """Empties the slots whose forks have ended."""
        all_finished = []
        for slot in list(self.seated):
            finished = self._finished(slot, look)
            if finished is None:
                continue
            finished.placement.running -= 1
            finished.placement.grading += 1
            del self.seated[slot]
            all_finished.append(finished)
        return all_finished

    def _finished(self, slot: Slot, look: Look) -> Finished | None:
        """What the fork in `slot` wrote, None if it goes on. One that is stopped is noted."""
        placement, fork = self.seated[slot]
        live = bool(look.live[slot])
        ended = bool(look.ended[slot])
        stop = self.sampling.stop
        if live and not stop:
            return None

        written = look.age[slot] - ended  # without end-of-sequence
        tokens = tuple(look.out[slot][:written].tolist())
        text = None
        if stop:
            text = self.decode(list(tokens))
            cut = min((at for s in stop if (at := text.find(s)) >= 0), default=None)
            if live and cut is None:
                return None
            if live:
                self._stopped.add(slot)
            text = text[:cut]
            ended = ended or cut is not None
        return Finished(placement, fork, tokens, float(look.logprob[slot]), ended, text)

    def grade(self, all_finished: list[Finished]) -> list[Graded]:
        """Tells the jobs what their forks wrote. Runs beside the device."""
        graded = []
        for finished in all_finished:
            text = finished.text
            if text is None:
                text = self.decode(list(finished.tokens))
            completion = Completion(finished.tokens, text, finished.logprob, finished.ended)
            job = finished.placement.job
            job.completions[finished.fork] = completion
            asked = list(job.done(finished.fork, completion))
            graded.append(Graded(finished.placement, asked))
        return graded

    def settle(self, all_graded: list[Graded]) -> list[Job]:
        """Queues the forks asked for; clears the shelves of complete jobs, and returns those."""
        complete = []
        for graded in all_graded:
            placement = graded.placement
            placement.grading -= 1
            placement.job.waiting.extend(graded.asked)
            if placement.complete:
                for group, shelf in placement.shelves.items():
                    self.shelves[group][shelf] = None
                complete.append(placement.job)
        return complete

    def starving(self, share: float) -> bool:
        """Whether more than `share` of all slots would stay empty only for want of grades."""
        _, empty = self._left_over()
        for_grades = sum(
            empty[group]
            for group, row in enumerate(self.shelves)
            if any(placement is not None and placement.grading for placement in row)
        )
        return for_grades > share * self.capacity.groups * self.capacity.slots
