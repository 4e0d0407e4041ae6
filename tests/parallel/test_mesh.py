"""Where arrays live on a mesh, and that it changes no number."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from glore_jax.errors import UserError
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices


def shape(mesh):
    return tuple(mesh.shape[a] for a in meshes.AXES)


@pytest.mark.parametrize(
    "sizes, found",
    [
        ((1, -1, 1), (1, 8, 1)),
        ((-1, 2, 2), (2, 2, 2)),
        ((2, 2, -1), (2, 2, 2)),
        ((8, 1, 1), (8, 1, 1)),
        ((1, 8, -1), (1, 8, 1)),
    ],
)
def test_mesh_sizes(sizes, found):
    mesh = meshes.make_mesh(*sizes)
    assert shape(mesh) == found
    assert {d.id for d in mesh.devices.flat} == set(range(8))


@pytest.mark.parametrize(
    "sizes",
    [
        (1, 3, 1),
        (1, -1, 3),
        (-1, -1, 1),
        (0, 1, 8),
        (1, 16, 1),
        (-1, 0, 1),
        (-2, -4, 1),
        (1, -1, 16),
    ],
)
def test_impossible_meshes(sizes):
    data, fsdp, tensor = sizes
    line = f"mesh data={data} fsdp={fsdp} tensor={tensor} does not cover 8 devices"
    with pytest.raises(UserError, match=line):
        meshes.make_mesh(*sizes)


def test_one_device():
    mesh = meshes.single_device_mesh(jax.devices()[3])
    assert shape(mesh) == (1, 1, 1) and mesh.devices.item().id == 3


def test_spec_of():
    mesh = meshes.make_mesh(1, 4, 2)
    spec_of = meshes.spec_of
    matrix = ("layers", "embed", "mlp")
    assert spec_of(matrix, (2, 32, 48), mesh) == PartitionSpec(None, "fsdp", "tensor")
    assert spec_of(("heads", "embed"), (32, 32), mesh) == PartitionSpec("tensor", "fsdp")
    # 33 words do not divide.
    assert spec_of(("vocab", "embed"), (33, 32), mesh) == PartitionSpec(None, "fsdp")
    assert spec_of(("norm",), (32,), mesh) == PartitionSpec(None)
    assert spec_of((None, "embed"), (2, 32), mesh) == PartitionSpec(None, "fsdp")
    # An axis of size 1 is none.
    assert spec_of(("embed",), (32,), meshes.make_mesh(8, 1, 1)) == PartitionSpec(None)
    with pytest.raises(KeyError):
        spec_of(("width",), (32,), mesh)
    with pytest.raises(ValueError):
        spec_of(("embed",), (32, 32), mesh)


def test_over_rows_leaves_what_no_mesh_divides():
    x = np.ones((3, 4), np.float32)
    assert meshes.over_rows(x) is x
    mesh = meshes.make_mesh(1, 8, 1)

    def double(x):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return meshes.over_rows(2 * x)

    whole = NamedSharding(mesh, PartitionSpec())
    few, many = (jax.device_put(np.ones((n, 4), np.float32), whole) for n in (3, 16))
    assert jax.jit(double)(few).sharding.is_fully_replicated  # 3 rows over 8 devices
    assert jax.jit(double)(many).sharding.shard_shape((16, 4)) == (2, 4)


def test_a_batch_is_fed_by_rows():
    mesh = meshes.make_mesh(2, 2, 2)
    rows = np.arange(8 * 3).reshape(8, 3)
    fed = meshes.shard_batch({"tokens": rows, "weights": rows / 2.0}, mesh)
    np.testing.assert_array_equal(fed["tokens"], rows)
    np.testing.assert_array_equal(fed["weights"], rows / 2.0)
    for shard in fed["tokens"].addressable_shards:
        data, fsdp, _ = np.argwhere(mesh.devices == shard.device)[0]
        np.testing.assert_array_equal(shard.data, rows[2 * (2 * data + fsdp) :][:2])


def rows_of_hosts(mesh, count: int) -> dict[int, set[int]]:
    """The rows of `count` that the chips of each host hold, as `shard_batch` places them."""
    found = {}
    places = NamedSharding(mesh, meshes.BATCH).devices_indices_map((count,))
    for device, index in places.items():
        found.setdefault(device.process_index, set()).update(range(count)[index[0]])
    return found


@pytest.mark.parametrize(
    "topology, sizes, apart",
    [
        ("v5e:4x4", (1, 16, 1), True),
        ("v5e:4x4", (1, 8, 2), True),
        ("v5e:4x4", (1, 4, 4), False),
        ("v4:2x2x4", (1, 16, 1), True),
        ("v4:2x2x4", (1, 2, 8), False),
        ("v4:4x4x4", (4, 16, 1), True),
    ],
)
def test_rows_on_a_described_slice(topology, sizes, apart):
    """Neighbours in the torus, so no host has contiguous rows of its own.

    With a wide tensor axis several hosts need the same rows.
    """
    pytest.importorskip("libtpu")
    devices = slices.describe(topology)
    mesh = meshes.make_mesh(*sizes, devices=devices)
    assert shape(mesh) == sizes and {d.id for d in mesh.devices.flat} == {d.id for d in devices}
    assert mesh.axis_types == (AxisType.Auto,) * 3
    hosts = rows_of_hosts(mesh, mesh.size)
    assert set().union(*hosts.values()) == set(range(mesh.size))
    assert (sum(map(len, hosts.values())) == mesh.size) == apart
    in_order = all(rows == set(range(min(rows), max(rows) + 1)) for rows in hosts.values())
    assert in_order == (sizes[2] > 1)  # one chip a row: no host's rows follow each other
