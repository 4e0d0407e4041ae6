"""How many trunks and forks fit in a budget of bytes for keys and values."""

import dataclasses

import jax.numpy as jnp

from glore_jax.errors import UserError
from glore_jax.sampling import store


def token_bytes(config, dtype, tensor: int = 1) -> int:
    """Bytes of a token's keys and values in all layers on one of `tensor` devices."""
    heads = config.num_kv_heads
    heads = heads // tensor if heads % tensor == 0 else heads  # as `cache.specs` divides them
    return 2 * config.num_layers * heads * config.head_dim * jnp.dtype(dtype).itemsize


@dataclasses.dataclass(frozen=True)
class Capacity:
    """Sizes of an engine: `groups` of `slots` forks and of `shelves` trunks of up to `max_trunk` tokens; a fork adds up to
    `max_new`. `rows` (times `tensor`) devices divide the groups (and the heads) among themselves."""

    groups: int
    slots: int
    shelves: int
    max_trunk: int
    max_new: int
    rows: int = 1
    tensor: int = 1

    def cache_bytes(self, config, dtype) -> int:
        """Bytes of keys and values that a device holds for a model of `config` that computes in `dtype`."""
        token = token_bytes(config, dtype, self.tensor)
        blocks, block = store.suffix_blocks(self.max_new)
        group = self.shelves * self.max_trunk + self.slots * blocks * block
        return -(-self.groups // self.rows) * group * token


def derive(budget: int, wanted: Capacity, config, dtype, most_groups: int) -> Capacity:
    """As many groups as `budget` bytes a device hold, up to `most_groups`; `wanted.groups` is not read.

    If not one group fits, its shelves and then its slots are halved. UserError if not even one fork of one trunk does: it says
    how much would.
    """

    def holding(groups: int, **changes) -> Capacity:
        return dataclasses.replace(wanted, groups=groups * wanted.rows, **changes)

    shelves, slots = wanted.shelves, wanted.slots
    while (one := holding(1, shelves=shelves, slots=slots).cache_bytes(config, dtype)) > budget:
        if shelves == slots == 1:
            raise UserError(
                f"engine.cache_bytes is {budget}, but one trunk of {wanted.max_trunk} tokens with one fork of {wanted.max_new} "
                f"takes {one} bytes: raise it to that, lower max_new, or drop longer questions"
            )
        shelves, slots = max(1, shelves // 2), slots if shelves > 1 else max(1, slots // 2)
    groups = min(budget // one, -(-most_groups // wanted.rows))
    return holding(max(1, groups), shelves=shelves, slots=slots)
