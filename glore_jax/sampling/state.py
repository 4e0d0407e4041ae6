"""What crosses the boundary between host and device: the engine's state and what is done with it.

    State          on the device, donated to every program and given back
      Slots          of it, all but the store: what each fork is and has written
    Admissions     host to device before a round: new forks, and slots to end
    DecodeOptions  of a round, what is compiled into its program
    Look           device to host after a round: what became of the slots

Shapes: G groups, F slots a group, N most tokens that a fork adds (`Capacity.max_new`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from glore_jax.models.config import LlamaConfig
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import keys, pytree
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.store import Store


@pytree.state
class Slots:
    """The forks in the slots. A slot that is not live keeps what its last fork left.

    Attributes:
      token: to be fed next: the last one of the fork's prefix, or the last one drawn.
      start, cut: trunk columns that it sees: start .. start + cut - 1.
      age: tokens that it has written; they lie in the last `age` suffix columns.
      limit: most tokens that it may write.
      live: whether it still writes.
      ended: whether end-of-sequence ended it.
      logprob: sum over what it has written.
      key: data of its random key.
      out: what it has written; zeros, or what another fork left, from `age` on.
    """

    token: Int32[Array, "G F"]
    start: Int32[Array, "G F"]
    cut: Int32[Array, "G F"]
    age: Int32[Array, "G F"]
    limit: Int32[Array, "G F"]
    live: Bool[Array, "G F"]
    ended: Bool[Array, "G F"]
    logprob: Float32[Array, "G F"]
    key: UInt32[Array, "G F 2"]
    out: Int32[Array, "G F N"]

    @classmethod
    def empty(cls, capacity: Capacity) -> "Slots":
        """No slot is live."""
        shape = (capacity.groups, capacity.slots)
        return cls(
            token=jnp.zeros(shape, jnp.int32),
            start=jnp.zeros(shape, jnp.int32),
            cut=jnp.zeros(shape, jnp.int32),
            age=jnp.zeros(shape, jnp.int32),
            limit=jnp.zeros(shape, jnp.int32),
            live=jnp.zeros(shape, bool),
            ended=jnp.zeros(shape, bool),
            logprob=jnp.zeros(shape, jnp.float32),
            key=jnp.zeros((*shape, 2), jnp.uint32),
            out=jnp.zeros((*shape, capacity.max_new), jnp.int32),
        )


@pytree.state
class State:
    """All that an engine keeps on the device between its programs, besides the weights.

    Attributes:
      store: keys and values of trunks and suffixes.
      column: the suffix column that the next token of every slot takes; see `clock.py`.
      slots: the forks.
    """

    store: Store
    column: Int32[Array, ""]
    slots: Slots

    @classmethod
    def empty(
        cls, layout: type[Store], config: LlamaConfig, capacity: Capacity, dtype: DTypeLike
    ) -> "State":
        """No trunk, no live slot. layout: the kind of store."""
        store = layout.empty(config, capacity, dtype)
        return cls(store, jnp.zeros((), jnp.int32), Slots.empty(capacity))

    def shardings(self, mesh: Mesh) -> "State":
        """A `NamedSharding` for every array: groups are divided over the rows of the mesh."""
        by_group = PartitionSpec(meshes.RULES["rows"])
        whole: Any = PartitionSpec()
        slots = jax.tree.map(lambda _: by_group, self.slots)
        specs = State(self.store.specs(mesh), whole, slots)
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


@pytree.state
class Admissions:
    """What the host wants of the slots before a round, made as NumPy arrays.

    Attributes:
      fresh: a new fork begins here; the fields below are read where this is set.
      stop: the fork that is here ends.
      token, start, cut, limit: as in `Slots`.
      identity: words of the random key, see `keys.identity`.
    """

    fresh: Bool[np.ndarray, "G F"]
    stop: Bool[np.ndarray, "G F"]
    token: Int32[np.ndarray, "G F"]
    start: Int32[np.ndarray, "G F"]
    cut: Int32[np.ndarray, "G F"]
    limit: Int32[np.ndarray, "G F"]
    identity: Int32[np.ndarray, "G F 4"]

    @classmethod
    def none(cls, capacity: Capacity) -> "Admissions":
        """Nothing begins and nothing ends; to be filled in."""
        shape = (capacity.groups, capacity.slots)
        return cls(
            fresh=np.zeros(shape, bool),
            stop=np.zeros(shape, bool),
            token=np.zeros(shape, np.int32),
            start=np.zeros(shape, np.int32),
            cut=np.zeros(shape, np.int32),
            limit=np.zeros(shape, np.int32),
            identity=np.zeros((*shape, keys.WORDS), np.int32),
        )


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """The static part of a round: each different value is a program of its own.

    Attributes:
      blocks_in_use: blocks of the suffix that are read; the last of them is written into.
      vocab_size: ids from here up are padding of the embedding, never drawn.
      eos_id: the id that ends a text.
      top_k, top_p: see `tokens.Sampling`. The temperature is an array, and costs no program.
    """

    blocks_in_use: int
    vocab_size: int
    eos_id: int
    top_k: int
    top_p: float


@dataclasses.dataclass(frozen=True)
class Look:
    """What the host sees of the slots after a round; fields as in `Slots`."""

    live: Bool[np.ndarray, "G F"]
    age: Int32[np.ndarray, "G F"]
    ended: Bool[np.ndarray, "G F"]
    logprob: Float32[np.ndarray, "G F"]
    out: Int32[np.ndarray, "G F N"]

    @classmethod
    def at(cls, slots: Slots) -> "Look":
        """Waits for the round to end and copies the fields."""
        names = [field.name for field in dataclasses.fields(cls)]
        copied: dict[str, Any] = {name: np.array(getattr(slots, name)) for name in names}
        return cls(**copied)
