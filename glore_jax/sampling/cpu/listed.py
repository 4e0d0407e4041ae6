"""For CPUs: a store that keeps each layer by itself, for a model whose layers are unrolled.

On a CPU a scan over a stacked store copies each layer's part at every token, which costs more than
the products do. A list of layers is read and written where it lies. The weights are taken apart in
the same way, for the same reason.

The keys of a suffix block lie turned, as [C, B]: XLA's CPU backend takes two to three times as long
for a product that it has to turn one side of. (A TPU would store a column of [C, B] by writing all
of it again.)
"""

from collections.abc import Callable
from typing import Any, ClassVar

from jaxtyping import Array, Float

from glore_jax.models.cpu import unstack
from glore_jax.models.model import Model
from glore_jax.sampling import pytree
from glore_jax.sampling.store import Block, Store


@pytree.state
class TurnedBlock(Block):
    """A `Block` whose keys are kept as the right side of a product with queries."""

    k: Float[Array, "*L G F K C B"]
    v: Float[Array, "*L G F K B C"]

    K_COLUMNS: ClassVar[int] = -1

    @staticmethod
    def turn(k: Float[Array, "..."]) -> Float[Array, "..."]:
        return k.mT

    @property
    def turned_keys(self) -> Float[Array, "... C B"]:
        return self.k


@pytree.state
class Listed(Store):
    """Lists of L: trunks a layer, and in each block of the suffix a `TurnedBlock` a layer."""

    block: ClassVar[type[Block]] = TurnedBlock
    leading_axes: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def make(make_layer: Callable[[tuple[int, ...]], Any], num_layers: int) -> Any:
        return [make_layer(()) for _ in range(num_layers)]

    @staticmethod
    def each(verb: Callable, *trees: Any) -> Any:
        return [verb(*layer) for layer in zip(*trees, strict=True)]

    @staticmethod
    def each_alone(verb: Callable, *trees: Any) -> Any:
        return Listed.each(verb, *trees)

    @property
    def columns(self) -> int:
        return self.suffix[0][0].columns

    @staticmethod
    def policy(model: Model) -> Model:
        """Holds a second copy of the layers' weights, each layer's as arrays of their own."""
        return unstack(model)
