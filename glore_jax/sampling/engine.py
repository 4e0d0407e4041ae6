"""The rollout engine: one scheduler for every text the package generates.

All generation is *forks of trunks*: samples and drafts fork a question at its end, step rollouts fork question + draft at the end
of a step, refinements fork the refiner's source. A `Job` owns one trunk and says which forks it wants, and may want more once it
has seen how some ended (that is how labels drive the schedule). The engine keeps G groups of F slots busy:

    jobs ──► group g: trunk (prefilled once) ──► slots 0..F-1: forks of it ──► finished ──► job.done(...) ──► more forks, or leave

The device runs rounds of a few tokens in one compiled loop; then the host looks once: harvests, asks the jobs, refills.
"""

import collections
import dataclasses
import time
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import device, keys
from glore_jax.sampling.tokens import Sampling


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
        """Called once a fork has ended; returns further forks of this trunk."""
        return ()


@dataclasses.dataclass
class Stats:
    """Work of an engine since it was made. `occupancy`: live slot-steps / slot-steps."""

    forks: int = 0
    tokens: int = 0
    prefill_tokens: int = 0
    slot_steps: int = 0
    seconds: float = 0.0

    @property
    def occupancy(self) -> float:
        return self.tokens / self.slot_steps if self.slot_steps else 0.0


class Engine:
    """Continues forks of trunks with one policy.

    Args:
      graphdef, params: a `Llama` from `nnx.split`; params may be sharded over `mesh`.
      config: its LlamaConfig.
      tokenizer: has `eos_id`, `vocab_size`, `decode`.
      groups, slots: G trunks of F forks decode at a time. G is rounded up to the devices of the mesh.
      max_trunk, max_new: room for a trunk and for what a fork adds, in tokens.
      round_steps: tokens between two looks of the host.
      mesh: the devices of this process; groups are divided over them, with no collective between them if params are whole.
      bidirectional: the tokens of a trunk see each other both ways, as in training with a prefix (`refiner.attention`); then
        forks must start at the end of their trunk.

    Raises UserError if the room exceeds the model's context.
    """

    def __init__(self, graphdef, params, config, tokenizer, *, groups: int, slots: int, max_trunk: int, max_new: int,
                 round_steps: int = 8, mesh=None, seed: int = 0, bidirectional: bool = False):  # fmt: skip
        if max_trunk + max_new > config.max_positions:
            raise UserError(
                f"a trunk of {max_trunk} and {max_new} new tokens exceed the model's context of {config.max_positions}: "
                "lower max_new, or drop longer questions"
            )
        self.mesh = mesh or meshes.single_device_mesh()
        rows = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        self.groups, self.slots = -(-groups // rows) * rows, slots
        self.prefill_rows = -(-max(1, self.groups // 4) // rows) * rows
        self.max_trunk, self.max_new, self.round_steps, self.seed = max_trunk, max_new, round_steps, seed
        self.graphdef, self.params, self.config, self.tokenizer = graphdef, params, config, tokenizer
        self.bidirectional, self.stats = bidirectional, Stats()

    def _fresh_state(self):
        model = nnx.eval_shape(lambda: nnx.merge(self.graphdef, self.params))
        axis = ("data", "fsdp")  # groups are divided over the devices

        def make():
            shape = (self.groups, self.slots, self.max_trunk, self.max_new)
            return device.empty_state(self.config, *shape, model.dtype, listed=model.unroll)

        def sharding(path, leaf):
            name = path[0].key
            stacked = name in ("cache", "pending") and not model.unroll
            spec = (
                PartitionSpec()
                if name == "step"
                else PartitionSpec(None, axis)
                if stacked
                else PartitionSpec(axis)
            )
            return NamedSharding(self.mesh, spec)

        return jax.jit(make, out_shardings=jax.tree_util.tree_map_with_path(sharding, jax.eval_shape(make)))()

    def run(self, jobs: Iterable[Job], sampling: Sampling, on_round=None) -> Iterator[Job]:
        """Yields each job once all its forks have ended, in the order in which they do. `on_round(stats)` after each round.

        Raises UserError naming the question if a trunk is longer than `max_trunk`.
        """
        if sampling.max_new > self.max_new:
            raise ValueError(f"max_new {sampling.max_new} exceeds the engine's {self.max_new}")
        floor = _Floor(self, iter(jobs), sampling)
        state = self._fresh_state()
        while True:
            start = time.monotonic()
            yield from floor.fill()
            if not floor.busy():
                return
            for trunks, lengths, groups in floor.prefills():
                state = device.prefill(
                    self.graphdef, self.params, state, trunks, lengths, groups, self.bidirectional
                )
            new, stop = floor.admissions()
            state = device.admit(state, np.uint32(self.seed), new, stop)
            state, work = device.decode_round(
                self.graphdef, self.params, state, self.round_steps, self.tokenizer.vocab_size, self.tokenizer.eos_id,
                sampling.top_k, sampling.top_p, np.float32(sampling.temperature),
            )  # fmt: skip
            looked = {k: np.asarray(state[k]) for k in ("live", "age", "ended", "logprob", "out")}
            finished = floor.harvest(looked)
            self.stats.tokens += int(work)
            self.stats.slot_steps += self.groups * self.slots * self.round_steps
            self.stats.seconds += time.monotonic() - start
            yield from finished
            if on_round:
                on_round(self.stats)


class _Floor:
    """The host's picture of the slots: which job sits in which group, which fork in which slot."""

    def __init__(self, engine: Engine, jobs: Iterator[Job], sampling: Sampling):
        self.engine, self.jobs, self.sampling = engine, jobs, sampling
        self.job: list[Job | None] = [None] * engine.groups
        self.fork: dict[tuple[int, int], Fork] = {}
        self.fresh: list[int] = []  # groups whose trunk is still to be prefilled
        self.stopped: set[tuple[int, int]] = set()

    def busy(self) -> bool:
        return any(job is not None for job in self.job)

    def fill(self) -> Iterator[Job]:
        """Takes jobs into empty groups. A job that wants nothing is done at once."""
        for g, job in enumerate(self.job):
            while self.job[g] is None:
                job = next(self.jobs, None)
                if job is None:
                    return
                if not job.waiting:
                    yield job
                    continue
                if len(job.trunk) > self.engine.max_trunk:
                    raise UserError(
                        f"question {job.question_id} has {len(job.trunk)} tokens, more than the {self.engine.max_trunk} planned for"
                    )
                self.job[g] = job
                self.fresh.append(g)

    def prefills(self):
        """Batches (trunks [P, T], lengths [P], groups [P]) of the fresh groups, padded with rows that go nowhere."""
        e, width = self.engine, self.engine.prefill_rows
        for i in range(0, len(self.fresh), width):
            part = self.fresh[i : i + width]
            trunks, lengths = np.zeros((width, e.max_trunk), np.int32), np.zeros(width, np.int32)
            groups = np.full(width, e.groups, np.int32)
            for row, g in enumerate(part):
                tokens = self.job[g].trunk
                trunks[row, : len(tokens)], lengths[row], groups[row] = tokens, len(tokens), g
                e.stats.prefill_tokens += len(tokens)
            yield trunks, lengths, groups
        self.fresh = []

    def admissions(self):
        """Seats waiting forks in free slots: (arrays for `device.admit`, mask of slots to end)."""
        e = self.engine
        shape = (e.groups, e.slots)
        new = {k: np.zeros(shape, np.int32) for k in ("token", "cut", "limit")}
        new |= {"identity": np.zeros((*shape, 4), np.int32), "start": np.zeros(shape, bool)}
        for g, job in enumerate(self.job):
            for f in range(e.slots):
                if job is None or not job.waiting:
                    break
                if (g, f) in self.fork:
                    continue
                fork = job.waiting.popleft()
                self.fork[g, f] = fork
                new["start"][g, f] = True
                new["token"][g, f] = job.trunk[fork.at - 1]  # fed again: its logits give the first new token
                new["cut"][g, f] = fork.at - 1
                new["limit"][g, f] = min(self.sampling.max_new, e.config.max_positions - fork.at)
                new["identity"][g, f] = keys.identity(job.question_id, fork.sample, fork.cut, fork.rollout)
        stop = np.zeros(shape, bool)
        for at in self.stopped:
            stop[at] = True
        self.stopped = set()
        return new, stop

    def harvest(self, looked) -> list[Job]:
        """Ends finished forks, asks their jobs for more, frees groups. Returns the jobs that are complete."""
        e, complete = self.engine, []
        for (g, f), fork in list(self.fork.items()):
            live, job = bool(looked["live"][g, f]), self.job[g]
            if live and not self.sampling.stop:
                continue
            ended = bool(looked["ended"][g, f])
            tokens = tuple(int(t) for t in looked["out"][g, f, : looked["age"][g, f] - ended])
            text = e.tokenizer.decode(list(tokens))
            cut = min((i for s in self.sampling.stop if (i := text.find(s)) >= 0), default=None)
            if live and cut is None:
                continue
            if live:
                self.stopped.add((g, f))
            completion = Completion(
                tokens, text[:cut], float(looked["logprob"][g, f]), ended or cut is not None
            )
            del self.fork[g, f]
            job.completions[fork] = completion
            e.stats.forks += 1
            job.waiting.extend(job.done(fork, completion))
        seated = {g for g, _ in self.fork}
        for g, job in enumerate(self.job):
            if job is not None and g not in seated and not job.waiting:
                self.job[g] = None
                complete.append(job)
        return complete
