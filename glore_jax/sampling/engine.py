"""The rollout engine: one scheduler for every text the package generates.

All generation is *forks of trunks*: samples and drafts fork a question at its end, step rollouts fork question + draft at the end
of a step, refinements fork the refiner's source. A `Job` owns one trunk and says which forks it wants, and may want more once it
has seen how some ended (that is how labels drive the schedule). The engine keeps G groups of F slots busy:

    jobs ──► group g: trunk (prefilled once) ──► slots 0..F-1: forks of it ──► finished ──► job.done(...) ──► more forks, or leave

The device runs rounds of a few tokens in one compiled loop; then the host looks once: it empties the slots of forks that ended and
seats waiting ones. What ended is decoded and graded on a thread while the device runs the next round; only where a group would stand
idle for want of an answer does the host wait for it. A round ends early once enough slots are free to be worth a look.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import time
from collections.abc import Iterable, Iterator

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.models import cpu
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import decode, store
from glore_jax.sampling.jobs import Completion, Fork, Job
from glore_jax.sampling.scheduler import Scheduler
from glore_jax.sampling.tokens import Sampling

__all__ = ["Completion", "Engine", "Fork", "Job", "Stats"]

_PREFILL = 256  # tokens of trunks in one call of the model, at least one trunk
_IDLE = 1 / 16  # share of slots that may stand idle before the host looks, or waits for a grade


@dataclasses.dataclass
class Stats:
    """Work of an engine since it was made: forks that ended, tokens they drew (end-of-sequence counts), tokens of the trunks,
    slots x steps that the device ran. `occupancy`: live slot-steps / slot-steps."""

    forks: int = 0
    tokens: int = 0
    prefill_tokens: int = 0
    slot_steps: int = 0
    rounds: int = 0
    seconds: float = 0.0

    @property
    def occupancy(self) -> float:
        return self.tokens / self.slot_steps if self.slot_steps else 0.0


class Engine:
    """Continues forks of trunks with one policy.

    Args:
      model: a policy; its parameters may be sharded over `mesh`.
      groups, slots: G groups of F forks decode at a time. G is rounded up to the devices of the mesh.
      shelves: trunks a group holds at a time. With more than one, forks of the next trunk take the slots that the last forks of
        another leave.
      max_trunk, max_new: room for a trunk and for what a fork adds, in tokens.
      round_steps: most tokens between two looks of the host.
      mesh: the devices of this process; groups are divided over them, with no collective between them if params are whole.
      bidirectional: the tokens of a trunk see each other both ways, as in training with a prefix (`refiner.attention`); then
        forks must start at the end of their trunk.

    Raises UserError if the room exceeds the model's context.
    """

    def __init__(
        self,
        model: Model,
        *,
        groups: int,
        slots: int,
        max_trunk: int,
        max_new: int,
        shelves: int = 1,
        round_steps: int = 8,
        mesh=None,
        seed: int = 0,
        bidirectional: bool = False,
    ):
        if max_trunk + max_new > model.config.max_positions:
            raise UserError(
                f"a trunk of {max_trunk} and {max_new} new tokens exceed the model's context of {model.config.max_positions}: "
                "lower max_new, or drop longer questions"
            )
        self.mesh = mesh or meshes.single_device_mesh()
        rows = self.mesh.shape["data"] * self.mesh.shape["fsdp"]
        self.groups, self.slots, self.shelves = -(-groups // rows) * rows, slots, shelves
        # Trunks come one by one as places get free: a wide batch would be mostly padding.
        self.prefill_rows = -(-min(self.groups, max(1, _PREFILL // max_trunk)) // rows) * rows
        self.max_trunk, self.max_new, self.round_steps, self.seed = (
            max_trunk,
            max_new,
            round_steps,
            seed,
        )
        self.model, self.config, self.tokenizer = model, model.config, model.tokenizer
        self.blocks, self.block = store.suffix_blocks(max_new)
        self.bidirectional, self.stats = bidirectional, Stats()

    @functools.cached_property
    def _policy(self):
        """(graphdef, params) as the device takes them: of an unrolled model, each layer's weights by themselves."""
        if self.model.merge().unroll:
            unstacked = cpu.unstack(self.model)
            return unstacked.graphdef, unstacked.params
        return self.model.graphdef, self.model.params

    def _empty_state(self):
        model = self.model.merge()
        shape = (self.groups, self.slots, self.shelves * self.max_trunk, self.blocks, self.block)
        return decode.empty_state(
            self.config, *shape, self.max_new, model.dtype, listed=model.unroll
        )

    def state_shapes(self) -> dict:
        """`decode.empty_state` as `ShapeDtypeStruct`s with shardings: groups are divided over the rows of the mesh."""
        shapes = jax.eval_shape(self._empty_state)
        specs = {k: PartitionSpec(meshes.RULES["rows"]) for k in shapes} | {
            "step": PartitionSpec(),
            "cache": store.specs(shapes["cache"], self.mesh),
        }
        return meshes.placed(shapes, jax.tree.map(lambda s: NamedSharding(self.mesh, s), specs))

    def _fresh_state(self):
        shardings = jax.tree.map(lambda x: x.sharding, self.state_shapes())
        return jax.jit(self._empty_state, out_shardings=shardings)()

    def prefill_arguments(self, state, trunks, lengths, groups, shelves) -> tuple:
        """What `decode.prefill` is called with."""
        return *self._policy, state, trunks, lengths, groups, shelves, self.bidirectional

    def round_arguments(
        self, state, sampling: Sampling, used: int, steps: int, until: int
    ) -> tuple:
        """What `decode.decode_round` is called with: up to `steps` tokens with `used` blocks of the suffix in use."""
        return (
            *self._policy,
            state,
            used,
            self.tokenizer.vocab_size,
            self.tokenizer.eos_id,
            sampling.top_k,
            sampling.top_p,
            np.float32(sampling.temperature),
            np.int32(steps),
            np.int32(until),
        )

    def run(self, jobs: Iterable[Job], sampling: Sampling, on_round=None) -> Iterator[Job]:
        """Yields each job once all its forks have ended, in the order in which they do. `on_round(stats)` after each round.

        Raises UserError naming the question if a trunk is longer than `max_trunk`.
        """
        if sampling.max_new > self.max_new:
            raise ValueError(f"max_new {sampling.max_new} exceeds the engine's {self.max_new}")
        scheduler, state = Scheduler(self, iter(jobs), sampling), self._fresh_state()
        grading: collections.deque[concurrent.futures.Future] = collections.deque()
        step, age = 0, np.zeros((self.groups, self.slots), int)
        with concurrent.futures.ThreadPoolExecutor(1, "grade") as clerk:
            while True:
                start = time.monotonic()
                complete = []
                while grading and (grading[0].done() or scheduler.starving(_IDLE)):
                    complete += scheduler.settle(grading.popleft().result())
                complete += scheduler.fill()
                if not scheduler.seated and not scheduler.waiting():
                    if grading:
                        complete += scheduler.settle(grading.popleft().result())
                    elif not complete:
                        return
                    self.stats.seconds += time.monotonic() - start
                    yield from complete
                    continue
                for batch in scheduler.prefills():
                    state = decode.prefill(*self.prefill_arguments(state, *batch))
                new, stop = scheduler.admissions()
                state = decode.admit(state, np.uint32(self.seed), new, stop)
                live = len(scheduler.seated)
                age[new["fresh"]] = 0
                oldest = max((int(age[at]) for at in scheduler.seated), default=0)
                while step - self.block >= oldest:
                    state, step = decode.rotate_blocks(state, self.block), step - self.block
                until = (
                    max(0, live - max(1, int(_IDLE * age.size)))
                    if scheduler.waiting() or scheduler.queued
                    else 0
                )
                steps = min(self.round_steps, self.block - step % self.block)
                state, work = decode.decode_round(
                    *self.round_arguments(state, sampling, step // self.block + 1, steps, until)
                )
                looked = {k: np.array(state[k]) for k in ("live", "age", "ended", "logprob", "out")}
                tokens, steps = (int(x) for x in work)
                step, age = step + steps, looked["age"]
                finished = scheduler.harvest(looked)
                if finished:
                    grading.append(clerk.submit(scheduler.grade, finished))
                self.stats.tokens += tokens
                self.stats.slot_steps += age.size * steps
                self.stats.rounds += 1
                self.stats.seconds += time.monotonic() - start
                yield from complete
                if on_round:
                    on_round(self.stats)
