"""Memory for keys and values: how large an engine is, what it holds, how much fits into a budget.

Capacity        sizes of an engine: groups, shelves, slots, tokens
cache_bytes     what those sizes take on a device
derive          the sizes that fit into so many bytes
"""

import dataclasses

import jax.numpy as jnp
from jax.sharding import Mesh
from jax.typing import DTypeLike

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig

_PREFILL_TOKENS = 256  # of trunks in one call of the model; at least one trunk


def token_bytes(config: LlamaConfig, dtype: DTypeLike, tensor: int = 1) -> int:
    """Bytes of a token's keys and values in all layers on one of `tensor` devices."""
    heads = config.num_kv_heads
    if heads % tensor == 0:  # otherwise every device holds all of them, see `Store.specs`
        heads //= tensor
    return 2 * config.num_layers * heads * config.head_dim * jnp.dtype(dtype).itemsize


def suffix_blocks(max_new: int) -> tuple[int, int]:
    """(blocks, columns of each) for suffixes of up to `max_new` tokens.

    Few blocks, since each number of blocks in use is a program of its own. One more than the
    tokens fill, because the oldest fork may have begun anywhere in its first block.
    """
    quarter = -(-max_new // 4)
    columns = max(32, -(-quarter // 16) * 16)
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


def derive(
    budget: int, wanted: Capacity, config: LlamaConfig, dtype: DTypeLike, most_groups: int
) -> Capacity:
    """As many groups as `budget` bytes a device hold, up to `most_groups`.

    `wanted.groups` is not read. If not one group fits, its shelves and then its slots are halved.

    UserError if not even one fork of one trunk fits: it says how many bytes would do.
    """
    one = dataclasses.replace(wanted, groups=wanted.rows)  # a group on every device
    while (needed := one.cache_bytes(config, dtype)) > budget:
        if one.shelves > 1:
            one = dataclasses.replace(one, shelves=one.shelves // 2)
        elif one.slots > 1:
            one = dataclasses.replace(one, slots=one.slots // 2)
        else:
            raise UserError(
                f"engine.cache_bytes is {budget}, but one trunk of {wanted.max_trunk} tokens with "
                f"one fork of {wanted.max_new} takes {needed} bytes: raise it to that, lower "
                "max_new, or drop longer questions"
            )
    most = -(-most_groups // wanted.rows)
    groups = max(1, min(budget // needed, most))
    return dataclasses.replace(one, groups=groups * wanted.rows)


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
