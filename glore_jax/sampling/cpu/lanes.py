"""For CPUs: several engines side by side, each on a thread of its own, fed from one queue of jobs.

A CPU runs the many small operations of a decoded token one after the other on one core, whatever
their number; a second engine with its own part of the groups uses the next core, and runs on while
the host looks at the first:

    jobs ──┬─► lane 0: Engine of G / 2 groups ──┬──► jobs that are complete
           └─► lane 1: Engine of G / 2 groups ──┘

What a fork says depends on its identity alone, so it does not matter which lane takes it. While
the queue holds enough for all shelves, each lane takes what it has room for; then no more than its
share, so that the last jobs are divided.
"""

import collections
import dataclasses
import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from jax.sharding import Mesh

from glore_jax.sampling.engine import Engine, Stats
from glore_jax.sampling.jobs import Job
from glore_jax.sampling.tokens import Sampling

_MOST = 4  # lanes, unless more are asked for


def lanes_of(asked: int, mesh: Mesh) -> int:
    """How many engines run side by side: as many as asked for; 0 is one a core, at most 4.

    One on any device but a CPU, or on several, where two threads could start collectives in
    different orders.
    """
    if mesh.size > 1 or mesh.devices.flat[0].platform != "cpu":
        return 1
    if asked:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, _MOST)


class Lanes:
    """Engines that serve one queue of jobs; used like an `Engine`.

    `Job.done` is called on one thread a lane: for a job, one call at a time.
    """

    def __init__(self, engines: Iterable[Engine]):
        self.engines = list(engines)

    @property
    def trunks_at_once(self) -> int:
        """Trunks that all lanes hold together."""
        return sum(engine.trunks_at_once for engine in self.engines)

    @property
    def stats(self) -> Stats:
        """The sum over the lanes; `seconds` of the one that worked longest."""
        lanes = [dataclasses.asdict(engine.stats) for engine in self.engines]
        total = {name: sum(lane[name] for lane in lanes) for name in lanes[0]}
        total["seconds"] = max(lane["seconds"] for lane in lanes)
        return Stats(**total)

    def run(
        self,
        jobs: Iterable[Job],
        sampling: Sampling,
        on_round: Callable[[Stats], None] | None = None,
    ) -> Iterator[Job]:
        """As `Engine.run`. An error in one lane ends all of them."""
        shared = _Shared(jobs, lanes=len(self.engines), ahead=self.trunks_at_once)
        # What the lanes report: a job that is complete, an error, or None at a lane's end.
        reports: queue.SimpleQueue[Job | BaseException | None] = queue.SimpleQueue()
        halt = threading.Event()

        def look(_: Stats) -> None:
            if halt.is_set():
                raise _Halted
            if on_round:
                on_round(self.stats)

        def serve(engine: Engine, lane: int) -> None:
            try:
                for job in engine.run(shared.of(lane), sampling, look):
                    shared.complete(lane)
                    reports.put(job)
            except _Halted:
                return
            except BaseException as error:  # raised again by whoever waits for jobs
                reports.put(error)
            else:
                reports.put(None)

        threads = [
            threading.Thread(target=serve, args=(engine, i), name=f"lane {i}", daemon=True)
            for i, engine in enumerate(self.engines)
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                report = reports.get()
                if isinstance(report, BaseException):
                    raise report
                if report is None:
                    running -= 1
                else:
                    yield report
        finally:
            halt.set()
            for thread in threads:
                thread.join()


class _Halted(Exception):
    """Ends a lane whose run is over."""


class _Shared:
    """A queue of jobs that the threads of several lanes draw from.

    Args:
      ahead: as long as so many jobs are known to wait, a lane takes as many as it likes.
    """

    def __init__(self, jobs: Iterable[Job], lanes: int, ahead: int):
        self.jobs = iter(jobs)
        self.ahead = ahead
        self.waiting: collections.deque[Job] = collections.deque()
        self.held = [0] * lanes  # jobs that each has taken and not completed
        self.lock = threading.Lock()

    def of(self, lane: int) -> Iterator[Job | None]:
        """The jobs that a lane takes; None whenever the rest are for others, for the time being."""
        while True:
            with self.lock:
                self.waiting.extend(itertools.islice(self.jobs, self.ahead - len(self.waiting)))
                if not self.waiting:
                    return
                job = self.waiting.popleft() if self._may_take(lane) else None
                self.held[lane] += job is not None
            yield job

    def _may_take(self, lane: int) -> bool:
        share = -(-(len(self.waiting) + sum(self.held)) // len(self.held))
        return len(self.waiting) >= self.ahead or self.held[lane] < share

    def complete(self, lane: int) -> None:
        """Tells that a lane has completed one of its jobs."""
        with self.lock:
            self.held[lane] -= 1
