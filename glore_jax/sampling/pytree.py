"""State that crosses a jit boundary: frozen dataclasses that JAX takes apart and puts together.

    @pytree.state
    class Slots:
        token: Int32[Array, "G F"]

`jax.jit` takes and returns them, `jax.tree.map` goes through their fields, and
`dataclasses.replace` makes the next one. Nothing can be written into them.
"""

import dataclasses
import typing
from typing import Any, TypeVar

import jax

T = TypeVar("T")


@typing.dataclass_transform(frozen_default=True)
def state(cls: type[T]) -> type[T]:
    """Makes a frozen dataclass of `cls` and a pytree of that: its fields are the children.

    The shapes that its fields are annotated with are for readers. JAX also makes instances whose
    fields hold no arrays (shapes, shardings, placeholders), so jaxtyping must not check them in
    `__init__`. The methods are checked as all functions are.
    """
    frozen: Any = dataclasses.dataclass(frozen=True)(cls)
    frozen.__no_type_check__ = True  # of the class alone: `typing.no_type_check` marks its methods
    return jax.tree_util.register_dataclass(frozen)
