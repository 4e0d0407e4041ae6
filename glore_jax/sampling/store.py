"""The store of keys and values: trunks that forks share, and the suffix of each fork.

A trunk (a question, or a question with a draft) is prefilled once onto a shelf of a *group*; its
forks continue from any token of it in the group's *slots*. The tree is one level deep, so no page
table is needed. A group of two shelves and three slots:

               shelf 0          shelf 1          suffix columns
    group g  a0 a1 a2 a3 a4 | b0 b1 b2 .  . |                     written once, read by all slots
    slot 0   x  x  x  x                     |  s  s  s  s  n      keeps 4 tokens of a, in its 5th
    slot 1   x  x                           |           s  n      keeps 2 tokens of a, in its 2nd
    slot 2                    x  x  x       |              n      keeps 3 tokens of b, in its first

A slot restarts from the last token under its cut (it is fed again), so that no logits of the trunk
are kept.

All slots write the same suffix column at a token, the next one at the next: one update in place for
the whole store. A slot sees the last `age` columns, those written since it began, and n, the token
being fed. Columns lie in blocks; a token reads whole blocks, those in use and no others, and is
written into the last of them. When no live slot sees the first block any more, it becomes the last
and the columns are counted from the next, without moving a byte (keys carry their rotary
positions, so where they lie means nothing):

              block 0        block 1        block 2
    in use    .  .  .  s  |  s  s  s  n  |                   column 7, the oldest slot of age 4
              .  .  .  .  |  .  s  s  s  |  s  n  .  .       column 9
    becomes   .  s  s  s  |  s  n  .  .  |                   column 5

`clock.py` keeps count of columns and blocks.

How layers lie is a store's own business. Here is `Stacked`, one array for all layers, over which
the model scans. What an engine on a CPU takes instead is in `cpu/listed.py`.

Shapes: L layers, G groups, F slots a group, K key/value heads, C head width, T trunk columns (all
shelves of a group), B columns a block, P trunks of W tokens in a prefill. `*L` is a leading axis of
layers where they are stacked, nothing where an array is of one layer.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling import pytree
from glore_jax.sampling.budget import Capacity


class TokenKV(NamedTuple):
    """Keys and values of one new token in every slot."""

    k: Float[Array, "*L G F K 1 C"]
    v: Float[Array, "*L G F K 1 C"]


@pytree.state
class Trunks:
    """Keys and values of the trunks on all shelves.

    Keys lie turned, ready for the product of all slots of a group with them.
    """

    k: Float[Array, "*L G K C T"]
    v: Float[Array, "*L G K T C"]

    def put(
        self,
        keys_values: tuple[Float[Array, "P W K C"], Float[Array, "P W K C"]],
        groups: Int[Array, " P"],
        shelves: Int[Array, " P"],
    ) -> "Trunks":
        """Stores prefilled trunks in one layer.

        keys_values: of trunks padded to the W columns of a shelf. groups: past the end for a row
        of padding, which is dropped.
        """
        k, v = keys_values
        width = k.shape[1]
        new_k = k.transpose(0, 2, 3, 1)
        new_v = v.transpose(0, 2, 1, 3)
        stored_k, stored_v = self.k, self.v
        # One trunk after the other, and of each the columns of its whole group: an update of
        # several shelves at once makes XLA turn all of `k` before it and back behind it.
        for row in range(k.shape[0]):
            group = groups[row]
            first = shelves[row] * width  # a group's columns are its shelves side by side
            group_k = stored_k.at[group].get(mode="clip")
            group_v = stored_v.at[group].get(mode="clip")
            group_k = jax.lax.dynamic_update_slice_in_dim(group_k, new_k[row], first, axis=2)
            group_v = jax.lax.dynamic_update_slice_in_dim(group_v, new_v[row], first, axis=1)
            stored_k = stored_k.at[group].set(group_k, mode="drop")
            stored_v = stored_v.at[group].set(group_v, mode="drop")
        return Trunks(stored_k, stored_v)


@pytree.state
class Block:
    """Keys and values of B columns of the suffixes, one column a token.

    Axes are counted from the end, so that a block may be of one layer or of all.
    """

    k: Float[Array, "*L G F K B C"]
    v: Float[Array, "*L G F K B C"]

    K_COLUMNS: ClassVar[int] = -2  # the axis of `k` along which columns lie
    V_COLUMNS: ClassVar[int] = -2

    @staticmethod
    def turn(k: Float[Array, "..."]) -> Float[Array, "..."]:
        """Keys [B, C] as this kind of block keeps them, and back."""
        return k

    @classmethod
    def empty(cls, rows: tuple[int, ...], columns: int, width: int, dtype: DTypeLike) -> "Block":
        """All zero. rows: sizes of the axes in front, (*L, G, F, K)."""
        shape = (*rows, columns, width)
        return cls(cls.turn(jnp.zeros(shape, dtype)), jnp.zeros(shape, dtype))

    @property
    def columns(self) -> int:
        """B."""
        return self.v.shape[self.V_COLUMNS]

    @property
    def turned_keys(self) -> Float[Array, "... C B"]:
        """The keys as the right side of a product with queries."""
        return self.k.mT

    def get(self, column: Int[Array, ""]) -> TokenKV:
        """What is stored in `column`."""
        k = jax.lax.dynamic_slice_in_dim(self.k, column, 1, self.K_COLUMNS)
        v = jax.lax.dynamic_slice_in_dim(self.v, column, 1, self.V_COLUMNS)
        return TokenKV(self.turn(k), v)

    def put(self, new: TokenKV, column: Int[Array, ""]) -> "Block":
        """The block with `new` in `column`."""
        k = self.turn(new.k).astype(self.k.dtype)
        v = new.v.astype(self.v.dtype)
        return dataclasses.replace(
            self,
            k=jax.lax.dynamic_update_slice_in_dim(self.k, k, column, self.K_COLUMNS),
            v=jax.lax.dynamic_update_slice_in_dim(self.v, v, column, self.V_COLUMNS),
        )


@pytree.state
class Layer:
    """What the attention of one layer reads: its trunks, and the blocks of the suffix in use."""

    trunks: Trunks
    suffix: tuple[Block, ...]


@pytree.state
class Store(abc.ABC):
    """Keys and values of all layers. A subclass says how the layers lie, and nothing else.

    Attributes:
      trunks: `Trunks` of all layers.
      suffix: `Block`s, each of all layers, in the order in which their columns are written.
    """

    trunks: Any
    suffix: tuple[Any, ...]

    # What a layout says.

    block: ClassVar[type[Block]]
    leading_axes: ClassVar[tuple[str, ...]]  # logical names of the axes `*L`

    @staticmethod
    @abc.abstractmethod
    def make(make_layer: Callable[[tuple[int, ...]], Any], num_layers: int) -> Any:
        """All layers; `make_layer` makes arrays with the sizes `*L` that it is given in front."""

    @staticmethod
    @abc.abstractmethod
    def each(verb: Callable, *trees: Any) -> Any:
        """`verb` of what the trees hold of every layer; it counts axes from the end."""

    @staticmethod
    @abc.abstractmethod
    def each_alone(verb: Callable, *trees: Any) -> Any:
        """As `each`, for a verb that takes the arrays of one layer only."""

    @property
    @abc.abstractmethod
    def columns(self) -> int:
        """Columns of a block, B."""

    @staticmethod
    @abc.abstractmethod
    def policy(model: Model) -> Model:
        """The model with its weights lying as the store's layers do."""

    # The verbs, the same for all layouts.

    @classmethod
    def empty(cls, config: LlamaConfig, capacity: Capacity, dtype: DTypeLike) -> "Store":
        """All zero, with room for an engine of `capacity`."""
        heads = config.num_kv_heads
        width = config.head_dim
        groups = capacity.groups

        def trunks(leading: tuple[int, ...]) -> Trunks:
            rows = (*leading, groups, heads)
            k = jnp.zeros((*rows, width, capacity.trunk_columns), dtype)
            v = jnp.zeros((*rows, capacity.trunk_columns, width), dtype)
            return Trunks(k, v)

        def block(leading: tuple[int, ...]) -> Block:
            rows = (*leading, groups, capacity.slots, heads)
            return cls.block.empty(rows, capacity.block, width, dtype)

        blocks = [cls.make(block, config.num_layers) for _ in range(capacity.blocks)]
        return cls(cls.make(trunks, config.num_layers), tuple(blocks))

    def specs(self, mesh: Mesh) -> "Store":
        """A `PartitionSpec` for every array.

        Groups over the mesh's rows, heads beside the weights that make them.
        """

        def spec(*names: str | None) -> Callable[[Any], PartitionSpec]:
            return lambda leaf: meshes.spec_of((*self.leading_axes, *names), leaf.shape, mesh)

        trunk = spec("rows", "kv_heads", None, None)
        block = spec("rows", None, "kv_heads", None, None)
        return dataclasses.replace(
            self,
            trunks=jax.tree.map(trunk, self.trunks),
            suffix=jax.tree.map(block, self.suffix),
        )

    def layers(self) -> Any:
        """The `Layer`s, as `Llama` takes its cache."""

        def layer(trunks: Trunks, *suffix: Block) -> Layer:
            return Layer(trunks, suffix)

        return self.each(layer, self.trunks, *self.suffix)

    def unread(self) -> Any:
        """The cache of a call in which no layer reads the store: a prefill."""
        return self.each(lambda trunks: None, self.trunks)

    def put_trunks(
        self, keys_values: Any, groups: Int[Array, " P"], shelves: Int[Array, " P"]
    ) -> "Store":
        """Stores what `Llama` gave back for prefilled trunks; see `Trunks.put`."""

        def put(trunks: Trunks, new: tuple[Array, Array]) -> Trunks:
            return trunks.put(new, groups, shelves)

        return dataclasses.replace(self, trunks=self.each_alone(put, self.trunks, keys_values))

    def rotated(self) -> "Store":
        """The first block becomes the last."""
        return dataclasses.replace(self, suffix=self.suffix[1:] + self.suffix[:1])

    def before(self, index: int) -> "Store":
        """The store without the blocks from `index` on."""
        return dataclasses.replace(self, suffix=self.suffix[:index])

    def with_block(self, index: int, block: Any) -> "Store":
        """The store with `block` in place of its block `index`, or behind all if it has no such."""
        suffix = (*self.suffix[:index], block, *self.suffix[index + 1 :])
        return dataclasses.replace(self, suffix=suffix)

    @classmethod
    def get_column(cls, block: Any, column: Int[Array, ""]) -> Any:
        """The `TokenKV` in `column` of a block, of all layers."""
        return cls.each(lambda one: one.get(column), block)

    @classmethod
    def put_column(cls, block: Any, new: Any, column: Int[Array, ""]) -> Any:
        """The block with a `TokenKV` of all layers in `column`."""
        return cls.each(lambda one, kv: one.put(kv, column), block, new)


@pytree.state
class Stacked(Store):
    """One array for all layers, with an axis L in front: the model scans over it."""

    block: ClassVar[type[Block]] = Block
    leading_axes: ClassVar[tuple[str, ...]] = ("layers",)

    @staticmethod
    def make(make_layer: Callable[[tuple[int, ...]], Any], num_layers: int) -> Any:
        return make_layer((num_layers,))

    @staticmethod
    def each(verb: Callable, *trees: Any) -> Any:
        return verb(*trees)

    @staticmethod
    def each_alone(verb: Callable, *trees: Any) -> Any:
        return jax.vmap(verb)(*trees)

    @property
    def columns(self) -> int:
        return self.suffix[0].columns

    @staticmethod
    def policy(model: Model) -> Model:
        return model
