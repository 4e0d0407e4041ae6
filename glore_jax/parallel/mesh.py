"""The mesh and the one table that maps logical axes to it.

Training runs on one global mesh `data x fsdp x tensor`; a parameter says what its axes mean
("embed", "mlp", ...), this table says where they go. Elsewhere a mesh axis is named only to ask
for its size.
"""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from glore_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")

RULES: dict[str, str | tuple[str, ...] | None] = {
    "rows": ("data", "fsdp"),  # of a batch; groups of the rollout engine
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "norm": None,
}
BATCH = PartitionSpec(RULES["rows"])

Tree = TypeVar("Tree")


def make_mesh(
    data: int = 1, fsdp: int = -1, tensor: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
    """A mesh over `devices` (default: all of all processes).

    One size may be -1: what is left. UserError if the sizes do not multiply out.
    """
    devices = list(jax.devices() if devices is None else devices)
    sizes = [data, fsdp, tensor]
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        divides = known > 0 and len(devices) % known == 0
        sizes[sizes.index(-1)] = len(devices) // known if divides else 0
    if math.prod(sizes) != len(devices) or min(sizes) < 1:
        raise UserError(
            f"mesh data={data} fsdp={fsdp} tensor={tensor} does not cover {len(devices)} devices"
        )
    return Mesh(_placed(sizes, devices), AXES, axis_types=(AxisType.Auto,) * 3)


def _placed(sizes: list[int], devices: list[jax.Device]) -> np.ndarray:
    """Devices in the shape `sizes`.

    On TPUs neighbours along an axis are neighbours in the torus, and `data` is what crosses from
    one slice to the next, over the slower network; elsewhere the order is the given one.
    """
    if devices[0].platform != "tpu":
        return np.asarray(devices).reshape(sizes)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    if slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    if sizes[0] % slices:
        raise UserError(
            f"mesh data={sizes[0]} must be a multiple of the {slices} slices, "
            "which only `data` may cross"
        )
    inside = [sizes[0] // slices, *sizes[1:]]
    return mesh_utils.create_hybrid_device_mesh(
        inside, [slices, 1, 1], devices, allow_split_physical_axes=True
    )


def single_device_mesh(device: jax.Device | None = None) -> Mesh:
    """A mesh of one device, default the first of this process."""
    return make_mesh(1, 1, 1, [device or jax.local_devices()[0]])


def shard_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Global arrays, rows over `data` and `fsdp`, of a batch that every process holds whole.

    `batch`: a tree of NumPy arrays [rows, ...]. Each process copies the rows of its own chips, as
    the sharding names them: they are neither contiguous nor in the order of the processes, and
    with `tensor` across hosts several need the same.
    """
    rows = NamedSharding(mesh, BATCH)
    return jax.tree.map(lambda x: jax.make_array_from_callback(x.shape, rows, x.__getitem__), batch)


def spec_of(
    names: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh | AbstractMesh
) -> PartitionSpec:
    """Mesh axes for one array. An axis that does not divide its dimension is left whole."""
    spec = []
    for name, size in zip(names, shape, strict=True):
        axes = RULES[name] if name is not None else None
        several = (axes,) if isinstance(axes, str) else axes or ()
        shards = math.prod(mesh.shape[axis] for axis in several)
        spec.append(axes if shards > 1 and size % shards == 0 else None)
    return PartitionSpec(*spec)


def over_rows(x: jax.Array) -> jax.Array:
    """x [rows, ...] with its rows divided over the mesh, everything else whole.

    The mesh is that of `jax.sharding.use_abstract_mesh`; x comes back as it is where none is set.

    Without this the partitioner follows the weights, whose `embed` lies on the same axis as the
    rows: it keeps all rows on every chip and sums pieces of activations, instead of gathering each
    layer's weights.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    names = ("rows",) + (None,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, spec_of(names, x.shape, mesh))


def param_shardings(abstract: nnx.State, mesh: Mesh | AbstractMesh) -> Any:
    """A tree of NamedSharding beside `abstract`, parameters that carry logical axes."""

    def sharding(leaf: Any, names: Any) -> NamedSharding:
        # A parameter without names lies whole.
        known = tuple(names) or (None,) * len(leaf.shape)
        return NamedSharding(mesh, spec_of(known, leaf.shape, mesh))

    return jax.tree.map(sharding, abstract, nnx.get_partition_spec(abstract))


def placed(shapes: Any, shardings: Any) -> Any:
    """`shapes` as `ShapeDtypeStruct`s with the `shardings` of the tree beside it.

    That is what can be lowered without any array.
    """
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )
