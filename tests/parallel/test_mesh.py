"""Where arrays live on a mesh, and that it changes no number."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tiny_llama import CONFIG, fresh

from glore_jax.config import training
from glore_jax.errors import UserError
from glore_jax.models import llama
from glore_jax.parallel import mesh as meshes
from glore_jax.planning import slices
from glore_jax.training import loop, losses
from glore_jax.training.batches import assemble, language_example
from glore_jax.training.optimizer import make_optimizer


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
    with pytest.raises(
        UserError,
        match=f"mesh data={sizes[0]} fsdp={sizes[1]} tensor={sizes[2]} does not cover 8 devices",
    ):
        meshes.make_mesh(*sizes)


def test_one_device():
    mesh = meshes.single_device_mesh(jax.devices()[3])
    assert shape(mesh) == (1, 1, 1) and mesh.devices.item().id == 3


def test_spec_of():
    mesh = meshes.make_mesh(1, 4, 2)
    assert meshes.spec_of(("layers", "embed", "mlp"), (2, 32, 48), mesh) == PartitionSpec(
        None, "fsdp", "tensor"
    )
    assert meshes.spec_of(("heads", "embed"), (32, 32), mesh) == PartitionSpec("tensor", "fsdp")
    assert meshes.spec_of(("vocab", "embed"), (33, 32), mesh) == PartitionSpec(
        None, "fsdp"
    )  # 33 words do not divide
    assert meshes.spec_of(("norm",), (32,), mesh) == PartitionSpec(None)
    assert meshes.spec_of((None, "embed"), (2, 32), mesh) == PartitionSpec(None, "fsdp")
    assert meshes.spec_of(("embed",), (32,), meshes.make_mesh(8, 1, 1)) == PartitionSpec(
        None
    )  # an axis of size 1 is none
    with pytest.raises(KeyError):
        meshes.spec_of(("width",), (32,), mesh)
    with pytest.raises(ValueError):
        meshes.spec_of(("embed",), (32, 32), mesh)


def setting(mesh, kind, microbatches=1):
    """(step function, params, optimizer state) of a tiny policy on `mesh`."""
    graphdef, params = fresh()
    shardings = meshes.param_shardings(llama.abstract(CONFIG)[1], mesh)
    params = jax.device_put(params, shardings)
    config = training(1e-3, 1e-4, 8, 1)
    config.optimizer = kind
    tx, _ = make_optimizer(config, 10)
    opt_shardings = meshes.like_params(jax.eval_shape(tx.init, params), shardings, mesh)
    opt_state = jax.jit(tx.init, out_shardings=opt_shardings)(params)
    step = loop.make_step(
        graphdef, losses.language_loss, tx, shardings, opt_shardings, microbatches
    )
    return step, params, opt_state


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizer_state_lies_beside_its_parameters(kind):
    mesh = meshes.make_mesh(1, 4, 2)
    _, params, opt_state = setting(mesh, kind)
    specs = {}
    for path, p in jax.tree_util.tree_flatten_with_path(params)[0]:
        specs[jax.tree_util.keystr(path)] = (p.shape, p.sharding.spec)
    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(opt_state)[0]:
        name = jax.tree_util.keystr(path)
        (owner,) = [n for n in specs if name.endswith(n)] or [None]
        if owner is None:
            assert leaf.size <= 3 and leaf.sharding.is_fully_replicated, (
                name
            )  # counts, Muon's coefficients
        else:
            assert (leaf.shape, leaf.sharding.spec) == specs[owner], name
            found.append(owner)
    moments = (
        2 * len(specs) if kind == "adamw" else 2 * len(specs) - 7
    )  # Muon keeps one for the seven kernels
    assert len(found) == moments
    assert (
        sum(not s.is_fully_replicated for s in (x.sharding for x in jax.tree.leaves(opt_state))) > 8
    )


def test_eight_devices_train_as_one():
    rng = np.random.default_rng(0)
    examples = [language_example([1], rng.integers(0, 64, 11).tolist()) for _ in range(8)]
    batch = assemble(examples, [[i] for i in range(8)], 8, 12)
    results = []
    one, eight = meshes.single_device_mesh(jax.devices()[0]), meshes.make_mesh(2, 2, 2)
    for mesh, microbatches in ((one, 1), (eight, 1), (one, 4), (eight, 2)):
        step, params, opt_state = setting(mesh, "adamw", microbatches)
        before = jax.tree.map(np.asarray, params)
        rows = NamedSharding(mesh, meshes.BATCH)
        for _ in range(2):
            params, opt_state, metrics = step(
                params, opt_state, {k: jax.device_put(v, rows) for k, v in batch.items()}
            )
        results.append(
            (jax.tree.map(np.asarray, params), {k: float(v) for k, v in metrics.items()})
        )
        assert any(not p.sharding.is_fully_replicated for p in jax.tree.leaves(params)) == (
            mesh.size > 1
        )
    (one, one_metrics), *others = results
    for other, metrics in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), other, one)
        assert metrics == pytest.approx(one_metrics, rel=1e-4)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, before)
    assert min(jax.tree.leaves(moved)) > 1e-4  # every parameter has been trained


@pytest.mark.parametrize("microbatches", [1, 3])
def test_rows_of_activations_stay_apart(microbatches):
    """Under pure fsdp each chip works on its own row with gathered weights; no chip holds an activation of all rows. Nor of three in
    three microbatches."""
    mesh = meshes.make_mesh(1, 8, 1)
    step, params, opt_state = setting(mesh, "adamw", microbatches)
    rows = 8 * microbatches
    examples = [language_example([1], [2] * 10) for _ in range(rows)]
    batch = meshes.feed(assemble(examples, [[i] for i in range(rows)], rows, 12), mesh)
    text = step.lower(params, opt_state, batch).compile().as_text()
    assert "f32[1,12,32]" in text and "f32[8,12," not in text and "f32[3,12," not in text
    assert "all-gather" in text


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
    fed = meshes.feed({"tokens": rows, "weights": rows / 2.0}, mesh)
    np.testing.assert_array_equal(fed["tokens"], rows)
    np.testing.assert_array_equal(fed["weights"], rows / 2.0)
    for shard in fed["tokens"].addressable_shards:
        data, fsdp, _ = np.argwhere(mesh.devices == shard.device)[0]
        np.testing.assert_array_equal(shard.data, rows[2 * (2 * data + fsdp) :][:2])


def rows_of_hosts(mesh, count: int) -> dict[int, set[int]]:
    """The rows of `count` that the chips of each host hold, as `feed` places them."""
    found = {}
    for device, index in NamedSharding(mesh, meshes.BATCH).devices_indices_map((count,)).items():
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
    """Neighbours in the torus, so no host has "its" contiguous part; with a wide tensor axis several hosts need the same rows."""
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
