"""Several engines side by side on one device, each on a thread of its own, fed from one queue of jobs.

A CPU runs the many small operations of a decode step one after the other on one core, whatever their number; a second engine with
its own part of the groups uses the next core, and runs on while the host looks at the first:

    jobs ──┬─► lane 0: Engine of G / 2 groups ──┬──► jobs that are complete
           └─► lane 1: Engine of G / 2 groups ──┘

What a fork says depends on its identity alone, so it does not matter which lane takes it.
"""

import dataclasses
import queue
import threading
from collections.abc import Iterable, Iterator

from glore_jax.sampling.engine import Engine, Stats
from glore_jax.sampling.jobs import Job
from glore_jax.sampling.tokens import Sampling


class Lanes:
    """Engines that serve one queue of jobs; used like an `Engine`. `Job.done` is called on one thread a lane: for a job, one call at
    a time."""

    def __init__(self, engines: Iterable[Engine]):
        self.engines = list(engines)

    @property
    def stats(self) -> Stats:
        """The sum over the lanes; `seconds` of the one that worked longest."""
        lanes = [dataclasses.asdict(engine.stats) for engine in self.engines]
        total = {name: sum(lane[name] for lane in lanes) for name in lanes[0]}
        return Stats(**total | {"seconds": max(lane["seconds"] for lane in lanes)})

    def run(self, jobs: Iterable[Job], sampling: Sampling, on_round=None) -> Iterator[Job]:
        """As `Engine.run`. An error in one lane ends all of them."""
        shared, done, halt = _Shared(jobs), queue.SimpleQueue(), threading.Event()

        def look(_: Stats) -> None:
            if halt.is_set():
                raise _Halted
            if on_round:
                on_round(self.stats)

        def serve(engine: Engine) -> None:
            try:
                for job in engine.run(shared, sampling, look):
                    done.put(job)
            except _Halted:
                return
            except BaseException as error:  # raised again by whoever waits for jobs
                done.put(error)
            else:
                done.put(None)

        threads = [
            threading.Thread(target=serve, args=(e,), name=f"lane {i}", daemon=True)
            for i, e in enumerate(self.engines)
        ]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                item = done.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            halt.set()
            for thread in threads:
                thread.join()


class _Halted(Exception):
    """Ends a lane whose run is over."""


class _Shared:
    """An iterator that several threads may draw from."""

    def __init__(self, items: Iterable[Job]):
        self.items, self.lock = iter(items), threading.Lock()

    def __iter__(self):
        return self

    def __next__(self) -> Job:
        with self.lock:
            return next(self.items)
