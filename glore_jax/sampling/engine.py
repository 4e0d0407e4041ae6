"""The rollout engine: one loop for every text that the package generates.

All generation is *forks of trunks*: samples and drafts fork a question at its end, step rollouts
fork question + draft at the end of a step, refinements fork the refiner's source. A `Job` owns one
trunk and says which forks it wants, and may want more once it has seen how some ended (that is how
labels drive the schedule). The engine keeps G groups of F slots busy, in rounds:

     ┌──► settle grades ──► fill shelves ──► prefill ──► admit ──► rotate ──► decode ──► harvest ──┐
     │    the forks that    jobs come onto   trunks      forks     blocks     the device           │
     │    jobs ask for;     free shelves     into the    into      nobody     writes a few         │
     │    complete jobs                      store       slots     sees       tokens a slot        │
     │    leave                                                                                    │
     └───────────────────────── a thread decodes and grades what has ended ◄───────────────────────┘

The device decodes a round in one compiled loop; then the host looks once: it empties the slots of
forks that ended and seats waiting ones. What ended is decoded and graded on a thread while the
device runs the next round; only where too many slots would stay empty for want of an answer does
the host wait for it. A round ends early once enough slots are free to be worth a look.

Where things are: `scheduler.py` has the host's side (jobs, shelves, slots), `decode.py` the
device's (programs), `store.py` the keys and values, `clock.py` the counting of their columns,
`budget.py` the sizes.
"""

import collections
import concurrent.futures
import copy
import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import Llama
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import decode
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.clock import SuffixClock
from glore_jax.sampling.cpu.listed import Listed
from glore_jax.sampling.jobs import Completion, Fork, Job
from glore_jax.sampling.scheduler import Graded, Scheduler
from glore_jax.sampling.state import DecodeOptions, Look, State
from glore_jax.sampling.store import Stacked, Store
from glore_jax.sampling.tokens import Sampling

__all__ = ["Completion", "Engine", "Fork", "Job", "Stats"]

_IDLE = 1 / 16  # share of slots that may stand idle before the host looks, or waits for a grade


@dataclasses.dataclass
class Stats:
    """Work of an engine since it was made.

    Attributes:
      forks: that have ended.
      tokens: that they drew, end-of-sequence included.
      prefill_tokens: of the trunks.
      slot_steps: slots x tokens that the device ran.
      rounds: of the device.
      seconds: of the loop, without the time in which whoever reads the jobs had them.
    """

    forks: int = 0
    tokens: int = 0
    prefill_tokens: int = 0
    slot_steps: int = 0
    rounds: int = 0
    seconds: float = 0.0

    @property
    def occupancy(self) -> float:
        """Live slot-steps / slot-steps."""
        return self.tokens / self.slot_steps if self.slot_steps else 0.0


class Engine:
    """Continues forks of trunks with one policy.

    Args:
      model: the policy; its parameters may be sharded over `mesh`.
      capacity: sizes. The groups are rounded up to a multiple of the mesh's rows.
      round_steps: most tokens between two looks of the host.
      mesh: the devices of this process; groups are divided over them, with no collective between
        them if the parameters are whole.
      seed: of all random keys.
      bidirectional: the tokens of a trunk see each other both ways, as in training with a prefix
        (`refiner.attention`); then forks must start at the end of their trunk.

    Attributes:
      capacity: the sizes on this mesh.
      stats: what it has done so far.

    Raises UserError if trunk and new tokens exceed the model's context.
    """

    def __init__(
        self,
        model: Model,
        capacity: Capacity,
        *,
        round_steps: int = 8,
        mesh: Mesh | None = None,
        seed: int = 0,
        bidirectional: bool = False,
    ):
        context = model.config.max_positions
        if capacity.max_trunk + capacity.max_new > context:
            raise UserError(
                f"a trunk of {capacity.max_trunk} and {capacity.max_new} new tokens exceed the "
                f"model's context of {context}: lower max_new, or drop longer questions"
            )
        self.model = model
        self.mesh = mesh or meshes.single_device_mesh()
        self.capacity = capacity.on(self.mesh)
        self.round_steps = round_steps
        self.seed = seed
        self.bidirectional = bidirectional
        self.stats = Stats()

    @property
    def trunks_at_once(self) -> int:
        """Trunks that it holds at a time."""
        return self.capacity.groups * self.capacity.shelves

    @property
    def _module(self) -> Llama:
        return cast(Llama, self.model.merge())

    @functools.cached_property
    def layout(self) -> type[Store]:
        """How the store's layers lie: as the model runs them."""
        return Listed if self._module.unroll else Stacked

    @functools.cached_property
    def policy(self) -> Model:
        """The model with its weights as they lie beside a store of this layout."""
        return self.layout.policy(self.model)

    def twins(self, count: int) -> list["Engine"]:
        """More engines of the same kind. All share the weights, as they lie beside a store."""
        _ = self.policy  # made once, before it is shared
        engines = [copy.copy(self) for _ in range(count)]
        for engine in engines:
            engine.stats = Stats()
        return engines

    def state_shapes(self) -> State:
        """The state with a `ShapeDtypeStruct` with its sharding for every array."""
        shapes = jax.eval_shape(self._make_state)
        return meshes.placed(shapes, shapes.shardings(self.mesh))

    def fresh_state(self) -> State:
        """The state without a trunk or a live slot, on the devices."""
        made_of = self.layout, self.model.config, self.capacity, jnp.dtype(self._module.dtype)
        return _state_maker(*made_of, self.mesh)()

    @property
    def _make_state(self) -> Callable[[], State]:
        dtype = self._module.dtype
        return functools.partial(State.empty, self.layout, self.model.config, self.capacity, dtype)

    @property
    def prefill_sharding(self) -> NamedSharding:
        """Of trunks that are read: devices that divide the groups divide them too."""
        return NamedSharding(self.mesh, meshes.BATCH)

    def prefill_arguments(
        self, state: State, trunks: Any, lengths: Any, groups: Any, shelves: Any
    ) -> tuple:
        """What `decode.prefill` is called with; the trunks are placed by `prefill_sharding`."""
        policy = self.policy
        batch = (trunks, lengths, groups, shelves)
        return policy.graphdef, policy.params, state, *batch, self.bidirectional

    def round_arguments(
        self, state: State, sampling: Sampling, blocks_in_use: int, steps: int, until: int
    ) -> tuple:
        """What `decode.decode_round` is called with."""
        options = DecodeOptions(
            blocks_in_use,
            self.model.tokenizer.vocab_size,
            self.model.tokenizer.eos_id,
            sampling.top_k,
            sampling.top_p,
        )
        policy = self.policy
        dynamic = (np.float32(sampling.temperature), np.int32(steps), np.int32(until))
        return policy.graphdef, policy.params, state, options, *dynamic

    def run(
        self,
        jobs: Iterable[Job | None],
        sampling: Sampling,
        on_round: Callable[[Stats], None] | None = None,
    ) -> Iterator[Job]:
        """Yields each job once all its forks have ended, in the order in which they do.

        `on_round(stats)` is called after each round. `jobs`: see `Scheduler`.

        Raises UserError naming the question if a trunk is longer than the capacity says, and
        whatever `Job.done` raises.
        """
        if sampling.max_new > self.capacity.max_new:
            raise ValueError(
                f"max_new {sampling.max_new} exceeds the engine's {self.capacity.max_new}"
            )
        with concurrent.futures.ThreadPoolExecutor(1, "grade") as grader:
            run = _Run(self, iter(jobs), sampling, grader)
            while True:
                start = time.monotonic()
                complete = run.settle_grades()
                complete += run.fill_shelves()
                decoding = run.has_forks
                if decoding:
                    run.prefill()
                    run.admit()
                    run.rotate_blocks()
                    run.harvest(run.decode())
                elif run.grading:
                    complete += run.wait_for_grades()
                elif not complete:
                    return
                self.stats.seconds += time.monotonic() - start
                yield from complete
                if decoding and on_round:
                    on_round(self.stats)


@functools.lru_cache(maxsize=64)
def _state_maker(
    layout: type[Store], config: LlamaConfig, capacity: Capacity, dtype: np.dtype, mesh: Mesh
) -> Callable[[], State]:
    """Makes an empty state, compiled; the same one for all engines of these sizes.

    It holds nothing of an engine: what is compiled outlives it, and its weights must not.
    """
    make = functools.partial(State.empty, layout, config, capacity, dtype)
    return jax.jit(make, out_shardings=jax.eval_shape(make).shardings(mesh))


class _Run:
    """One run of an engine: what lives from its first round to its last, and the phases of a round.

    Attributes:
      grading: what the thread has been given and has not been settled yet, oldest first.
    """

    def __init__(
        self,
        engine: Engine,
        jobs: Iterator[Job | None],
        sampling: Sampling,
        grader: concurrent.futures.Executor,
    ):
        self.engine = engine
        self.stats = engine.stats
        self.sampling = sampling
        self.scheduler = Scheduler(
            engine.capacity,
            jobs,
            sampling,
            decode=engine.model.tokenizer.decode,
            max_positions=engine.model.config.max_positions,
        )
        self.state = engine.fresh_state()
        self.clock = SuffixClock(engine.capacity)
        self.grader = grader
        self.grading: collections.deque[concurrent.futures.Future[list[Graded]]] = (
            collections.deque()
        )

    @property
    def has_forks(self) -> bool:
        """Whether there is anything to decode."""
        return bool(self.scheduler.seated) or self.scheduler.forks_wait

    def settle_grades(self) -> list[Job]:
        """Settles the grades that are there, and waits for one where slots starve for it."""
        complete: list[Job] = []
        while self.grading and (self.grading[0].done() or self.scheduler.starving(_IDLE)):
            complete += self.wait_for_grades()
        return complete

    def wait_for_grades(self) -> list[Job]:
        """Settles the oldest grades under way. Raises what grading them raised."""
        graded = self.grading.popleft().result()
        self.stats.forks += len(graded)
        return self.scheduler.settle(graded)

    def fill_shelves(self) -> list[Job]:
        """Takes new jobs; returns those that want nothing."""
        return self.scheduler.fill_shelves()

    def prefill(self) -> None:
        """Reads the trunks of new jobs into the store."""
        for batch in self.scheduler.prefill_batches():
            placed = jax.device_put(
                (batch.trunks, batch.lengths, batch.groups, batch.shelves),
                self.engine.prefill_sharding,
            )
            arguments = self.engine.prefill_arguments(self.state, *placed)
            self.state = decode.prefill(*arguments)
            self.stats.prefill_tokens += int(batch.lengths.sum())

    def admit(self) -> None:
        """Seats waiting forks in free slots, and ends those that a stop text has ended."""
        new = self.scheduler.admissions()
        self.state = decode.admit(self.state, np.uint32(self.engine.seed), new)
        self.clock.begin(new.fresh)

    def rotate_blocks(self) -> None:
        """Puts blocks of the suffix that nobody sees any more to the end."""
        while self.clock.may_rotate(self.scheduler.seated):
            self.state = decode.rotate_blocks(self.state, self.clock.block)
            self.clock.rotate()

    def decode(self) -> Look:
        """Runs a round on the device and waits for it."""
        arguments = self.engine.round_arguments(
            self.state,
            self.sampling,
            self.clock.blocks_in_use,
            self.clock.room(self.engine.round_steps),
            self._worth_a_look(),
        )
        self.state, work = decode.decode_round(*arguments)
        look = Look.at(self.state.slots)
        live_steps, steps = (int(count) for count in work)
        self.clock.advance(steps, look.age)
        self.stats.tokens += live_steps
        self.stats.slot_steps += look.age.size * steps
        self.stats.rounds += 1
        return look

    def _worth_a_look(self) -> int:
        """A round ends early once no more slots live than this: 0, all of them, if nobody waits."""
        if not (self.scheduler.forks_wait or self.scheduler.jobs_may_come):
            return 0
        enough = max(1, int(_IDLE * self.clock.age.size))  # slots that are free
        return max(0, len(self.scheduler.seated) - enough)

    def harvest(self, look: Look) -> None:
        """Empties the slots of forks that have ended and hands these over for grading."""
        finished = self.scheduler.harvest(look)
        if finished:
            self.grading.append(self.grader.submit(self.scheduler.grade, finished))
