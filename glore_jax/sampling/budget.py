"""Memory of a device: how large an engine is, what it takes, how much of it fits.

Capacity        sizes of an engine: groups, shelves, slots, tokens
cache_bytes     of keys and values, what those sizes take on a device
working_bytes   what its programs take beside keys, values and weights while they run
room            what a device has left for both
fill, derive    the sizes that fit into the room, or into so many bytes of keys and values

    device limit = what lies there (weights) + reserve + room
                                                         room = keys and values + working bytes
"""

import bisect
import dataclasses
import gc
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel.chips import GIB, memory_limit

AUTO = "auto"  # as `engine.cache_bytes`: what a device has left
_PREFILL_TOKENS = 256  # of trunks in one call of the model; at least one trunk
# Of a device's memory, left alone: the code of the programs, small arrays, what fragments.
_RESERVE = 0.03
# Of a device, the most forks at a time: beyond, what all forks share weighs next to nothing, and
# the host has more to look at.
_MOST_FORKS = 1024
# Up to so many forks, the new keys and values of a token stay on the chip while they are laid out
# as the store has them; those of more go through memory in several versions. No more than these
# in any program of docs/pods.json.
_FORKS_ON_CHIP = 300
_VERSIONS_OF_NEW = 8


class NoRoom(UserError):
    """Not even a single fork fits."""


def token_bytes(config: LlamaConfig, dtype: DTypeLike, tensor: int = 1) -> int:
    """Bytes of a token's keys and values in all layers on one of `tensor` devices."""
    heads = config.num_kv_heads
    if heads % tensor == 0:  # otherwise every device holds all of them, see `Store.specs`
        heads //= tensor
    return 2 * config.num_layers * heads * config.head_dim * jnp.dtype(dtype).itemsize


def suffix_blocks(max_new: int) -> tuple[int, int]:
    """(blocks, columns of each) for suffixes of up to `max_new` tokens.

    One more block than the tokens fill, because the oldest fork may have begun anywhere in its
    first block; so small blocks waste little. But not many of them, since each number of blocks in
    use is a program of its own: up to twelve.
    """
    tenth = -(-max_new // 10)
    columns = max(32, -(-tenth // 16) * 16)
    return -(-max_new // columns) + 1, columns


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Sizes of an engine.

    Attributes:
      groups: sets of forks that decode together, over trunks of their own.
      slots: forks that a group decodes at a time.
      shelves: trunks that a group holds at a time. With more than one, forks of the next trunk
        take the slots that the last forks of another leave.
      max_trunk: tokens of the longest trunk.
      max_new: most tokens that a fork adds.
      rows: devices that divide the groups among themselves.
      tensor: devices that divide the heads of each group.
    """

    groups: int
    slots: int
    shelves: int
    max_trunk: int
    max_new: int
    rows: int = 1
    tensor: int = 1

    @property
    def trunk_columns(self) -> int:
        """Columns of a group's trunks: its shelves lie side by side."""
        return self.shelves * self.max_trunk

    @property
    def blocks(self) -> int:
        """Blocks that a slot's suffix is divided into."""
        return suffix_blocks(self.max_new)[0]

    @property
    def block(self) -> int:
        """Columns of a block, one a token."""
        return suffix_blocks(self.max_new)[1]

    @property
    def prefill_rows(self) -> int:
        """Trunks in one call of the model, a multiple of the devices.

        Trunks come one by one as shelves get free: a wide batch would be mostly padding.
        """
        trunks = min(self.groups, max(1, _PREFILL_TOKENS // self.max_trunk))
        return _round_up(trunks, self.rows)

    def on(self, mesh: Mesh) -> "Capacity":
        """The same on the devices of `mesh`, the groups rounded up to a multiple of its rows."""
        rows = mesh.shape["data"] * mesh.shape["fsdp"]
        groups = _round_up(self.groups, rows)
        return dataclasses.replace(self, groups=groups, rows=rows, tensor=mesh.shape["tensor"])

    def cache_bytes(self, config: LlamaConfig, dtype: DTypeLike) -> int:
        """Bytes of keys and values on a device, of a model of `config` that computes in `dtype`."""
        suffix_columns = self.slots * self.blocks * self.block
        group = (self.trunk_columns + suffix_columns) * token_bytes(config, dtype, self.tensor)
        groups_here = -(-self.groups // self.rows)
        return groups_here * group

    def working_bytes(self, config: LlamaConfig, dtype: DTypeLike) -> int:
        """Bytes that a program of the engine takes on a device beside weights, keys and values.

        An upper bound, from what is alive at once: in a decoded token the logits of all forks in
        four versions, their attention scores in two, a layer's activations, and of many forks
        their new keys and values; in a prefill the new keys and values as the model gives them
        back and as they are stored, a layer's scores and activations. docs/pods.json has what the
        compiler allocates.
        """
        item = jnp.dtype(dtype).itemsize
        forks = -(-self.groups // self.rows) * self.slots
        heads = _share(config.num_heads, self.tensor)
        inner = _share(config.intermediate_size, self.tensor)
        activations = item * (8 * config.hidden_size + 3 * inner)

        logits = 4 * 4 * _share(config.vocab_size, self.tensor)
        columns = self.trunk_columns + self.blocks * self.block
        decoding = forks * (logits + 2 * 4 * heads * columns + activations)
        new = token_bytes(config, dtype, self.tensor)
        decoding += max(0, forks - _FORKS_ON_CHIP) * _VERSIONS_OF_NEW * new

        trunks = self.prefill_rows // self.rows
        kept = 2 * new
        scores = 2 * 4 * heads * self.max_trunk
        reading = trunks * self.max_trunk * (kept + scores + activations)
        return max(decoding, reading)


def room(model: Model, mesh: Mesh) -> int | None:
    """Bytes that a device of `mesh` has left for an engine of `model`, which lies there.

    None if the device does not say how much memory it has (a CPU). `mesh` is of one host, where
    all devices hold as much.
    """
    device = mesh.devices.flat[0]
    limit = memory_limit(device)
    if limit is None:
        return None
    # Whatever else JAX holds there counts, but what nobody can reach any more does not.
    gc.collect()
    held = max(_shard_bytes(model.params), _live_bytes(device))
    return int(limit * (1 - _RESERVE)) - held


def _shard_bytes(tree: Any) -> int:
    """Bytes that a device holds of arrays, or would of shapes with shardings."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree)
    )


def _live_bytes(device: jax.Device) -> int:
    """Bytes of all arrays on `device`."""
    return sum(
        shard.data.nbytes
        for array in jax.live_arrays()
        for shard in array.addressable_shards
        if shard.device == device
    )


def fill(
    space: int,
    wanted: Capacity,
    config: LlamaConfig,
    dtype: DTypeLike,
    most_groups: int,
) -> Capacity:
    """As many groups as fit into `space` bytes a device with all that their programs take.

    `wanted.groups` is not read. There are no more groups than `most_groups`, and no more forks
    than are worth while. If not one group fits, its shelves and then its slots are halved.

    NoRoom if not even one fork of one trunk fits.
    """

    def taken(capacity: Capacity) -> int:
        return capacity.cache_bytes(config, dtype) + capacity.working_bytes(config, dtype)

    def refusal(needed: int) -> str:
        return (
            f"{space / GIB:.2f} GiB of a device are left beside the model, but one trunk of "
            f"{wanted.max_trunk} tokens with one fork of {wanted.max_new} takes "
            f"{needed / GIB:.2f}: take a larger engine.tensor or devices with more memory, lower "
            "max_new, or drop longer questions"
        )

    most = min(most_groups, max(1, _MOST_FORKS // wanted.slots) * wanted.rows)
    return _most_groups(space, wanted, taken, most, refusal)


def derive(
    budget: int, wanted: Capacity, config: LlamaConfig, dtype: DTypeLike, most_groups: int
) -> Capacity:
    """As many groups as `budget` bytes of keys and values a device hold, up to `most_groups`.

    `wanted.groups` is not read. If not one group fits, its shelves and then its slots are halved.

    NoRoom if not even one fork of one trunk fits: it says how many bytes would do.
    """

    def taken(capacity: Capacity) -> int:
        return capacity.cache_bytes(config, dtype)

    def refusal(needed: int) -> str:
        return (
            f"engine.cache_bytes is {budget}, but one trunk of {wanted.max_trunk} tokens with "
            f"one fork of {wanted.max_new} takes {needed} bytes: raise it to that, lower "
            "max_new, or drop longer questions"
        )

    return _most_groups(budget, wanted, taken, most_groups, refusal)


def _most_groups(
    space: int,
    wanted: Capacity,
    taken: Callable[[Capacity], int],
    most_groups: int,
    refusal: Callable[[int], str],
) -> Capacity:
    one = dataclasses.replace(wanted, groups=wanted.rows)  # a group on every device
    while (needed := taken(one)) > space:
        if one.shelves > 1:
            one = dataclasses.replace(one, shelves=one.shelves // 2)
        elif one.slots > 1:
            one = dataclasses.replace(one, slots=one.slots // 2)
        else:
            raise NoRoom(refusal(needed))

    def of(groups_a_device: int) -> Capacity:
        return dataclasses.replace(one, groups=groups_a_device * wanted.rows)

    sizes = range(1, max(1, -(-most_groups // wanted.rows)) + 1)
    fitting = bisect.bisect_right(sizes, space, key=lambda size: taken(of(size)))
    return of(max(1, fitting))


def _share(count: int, devices: int) -> int:
    """Of `count` parts that several devices divide, those of one; all where they do not divide."""
    return count // devices if count % devices == 0 else count


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
