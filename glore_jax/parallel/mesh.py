"""The mesh and the one table that maps logical axes to it.

Training runs on one global mesh `data x fsdp x tensor`; a parameter says what its axes mean ("embed", "mlp", ...), this table
says where they go, and nothing else in the package names a mesh axis.
"""

import math

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from glore_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")

RULES = {
    "layers": None,
    "vocab": "tensor",
    "embed": "fsdp",
    "heads": "tensor",
    "kv_heads": "tensor",
    "mlp": "tensor",
    "norm": None,
}
BATCH = PartitionSpec(("data", "fsdp"))  # rows of a batch


def make_mesh(data: int = 1, fsdp: int = -1, tensor: int = 1, devices=None) -> Mesh:
    """A mesh over `devices` (default: all). One size may be -1: what is left. UserError if the sizes do not multiply out."""
    devices = list(jax.devices() if devices is None else devices)
    sizes = [data, fsdp, tensor]
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        sizes[sizes.index(-1)] = len(devices) // known if known > 0 and len(devices) % known == 0 else 0
    if math.prod(sizes) != len(devices) or min(sizes) < 1:
        raise UserError(f"mesh data={data} fsdp={fsdp} tensor={tensor} does not cover {len(devices)} devices")
    # Device order of the platform; topology-aware placement matters from the second host on.
    grid = jax.make_mesh(sizes, AXES, devices=devices, axis_types=(AxisType.Auto,) * 3)
    return grid


def single_device_mesh(device=None) -> Mesh:
    return make_mesh(1, 1, 1, [device or jax.local_devices()[0]])


def spec_of(names: tuple[str | None, ...], shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
    """Mesh axes for one array. An axis that does not divide its dimension is left whole."""
    out = []
    for name, size in zip(names, shape, strict=True):
        axis = RULES[name] if name is not None else None
        out.append(axis if axis and size % mesh.shape[axis] == 0 and mesh.shape[axis] > 1 else None)
    return PartitionSpec(*out)


def param_shardings(abstract, mesh: Mesh):
    """A tree of NamedSharding beside `abstract` (an `nnx.State` of parameters that carry logical axes)."""

    def sharding(leaf, names):
        return NamedSharding(mesh, spec_of(tuple(names) or (None,) * len(leaf.shape), leaf.shape, mesh))

    return jax.tree.map(sharding, abstract, nnx.get_partition_spec(abstract))


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
