"""The mesh and the one table that maps logical axes to it.

Training runs on one global mesh `data x fsdp x tensor`; a parameter says what its axes mean ("embed", "mlp", ...), this table
says where they go, and nothing else in the package names a mesh axis.
"""

import math

import jax
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glore_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")

RULES = {
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


def make_mesh(data: int = 1, fsdp: int = -1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh over `devices` (default: all). One size may be -1: what is left. UserError if the sizes do not multiply out."""
    devices = list(jax.devices() if devices is None else devices)
    sizes = [data, fsdp, tensor]
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        sizes[sizes.index(-1)] = (
            len(devices) // known if known > 0 and len(devices) % known == 0 else 0
        )
    if math.prod(sizes) != len(devices) or min(sizes) < 1:
        raise UserError(
            f"mesh data={data} fsdp={fsdp} tensor={tensor} does not cover {len(devices)} devices"
        )
    return Mesh(_placed(sizes, devices), AXES, axis_types=(AxisType.Auto,) * 3)


def _placed(sizes: list[int], devices: list) -> np.ndarray:
    """Devices in the shape `sizes`. On TPUs neighbours along an axis are neighbours in the torus, and `data` is what crosses from
    one slice to the next, over the slower network; elsewhere the order is the given one."""
    if devices[0].platform != "tpu":
        return np.asarray(devices).reshape(sizes)
    slices = len({getattr(d, "slice_index", 0) for d in devices})
    if slices == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    if sizes[0] % slices:
        raise UserError(
            f"mesh data={sizes[0]} must be a multiple of the {slices} slices, which only `data` may cross"
        )
    inside = [sizes[0] // slices, *sizes[1:]]
    return mesh_utils.create_hybrid_device_mesh(
        inside, [slices, 1, 1], devices, allow_split_physical_axes=True
    )


def feed(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """Global arrays, rows over `data` and `fsdp`, from a batch that every process holds whole.

    Each process copies the rows of its own chips, as the sharding names them: they are neither contiguous nor in the order of the
    processes, and with `tensor` across hosts several need the same.
    """
    rows = NamedSharding(mesh, BATCH)
    return {k: jax.make_array_from_callback(v.shape, rows, v.__getitem__) for k, v in batch.items()}


def single_device_mesh(device=None) -> Mesh:
    return make_mesh(1, 1, 1, [device or jax.local_devices()[0]])


def spec_of(names: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Mesh axes for one array. An axis that does not divide its dimension is left whole."""
    out = []
    for name, size in zip(names, shape, strict=True):
        axes = RULES[name] if name is not None else None
        parts = math.prod(mesh.shape[a] for a in ((axes,) if isinstance(axes, str) else axes or ()))
        out.append(axes if parts > 1 and size % parts == 0 else None)
    return PartitionSpec(*out)


def over_rows(x):
    """x [rows, ...] with its rows divided over the mesh of `jax.sharding.use_abstract_mesh`, everything else whole; x as it is where
    no mesh is set.

    Without this the partitioner follows the weights, whose `embed` lies on the same axis as the rows: it keeps all rows on every chip
    and sums pieces of activations, instead of gathering each layer's weights.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return x
    return jax.lax.with_sharding_constraint(
        x, spec_of(("rows",) + (None,) * (x.ndim - 1), x.shape, mesh)
    )


def param_shardings(abstract, mesh: Mesh):
    """A tree of NamedSharding beside `abstract` (an `nnx.State` of parameters that carry logical axes)."""

    def sharding(leaf, names):
        return NamedSharding(
            mesh, spec_of(tuple(names) or (None,) * len(leaf.shape), leaf.shape, mesh)
        )

    return jax.tree.map(sharding, abstract, nnx.get_partition_spec(abstract))


def placed(shapes, shardings):
    """`ShapeDtypeStruct`s of a tree of shapes and dtypes with the `shardings` beside it: what is lowered without any array."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def like_params(tree, shardings, mesh: Mesh):
    """Shardings for an optimizer state: a leaf inside a copy of the parameter tree is sharded like that parameter.

    The match is by path suffix and shape (Adam's and Muon's moments keep both); everything else is replicated.
    """
    flat = {_path(p): s for p, s in jax.tree_util.tree_flatten_with_path(shardings)[0]}
    whole = NamedSharding(mesh, PartitionSpec())

    def sharding(path, leaf):
        keys = _path(path)
        for n in range(len(keys)):
            found = flat.get(keys[n:])
            if found is not None and len(found.spec) <= np.ndim(leaf):
                return found
        return whole

    return jax.tree_util.tree_map_with_path(sharding, tree)


def _path(path) -> tuple[str, ...]:
    return tuple(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
