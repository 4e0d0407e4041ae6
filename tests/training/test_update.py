"""One update on any mesh, in any number of microbatches, gives the same numbers."""

import jax
import numpy as np
import pytest
from tiny_llama import CONFIG, Characters, fresh

from glore_jax.config import training
from glore_jax.models import llama
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.training import losses, update
from glore_jax.training.batches import assemble
from glore_jax.training.examples import language_example
from glore_jax.training.state import TrainState


def setting(mesh, kind="adamw", microbatches=1):
    """(setup, first state) of a tiny policy on `mesh`."""
    graphdef, params = fresh()
    shardings = meshes.param_shardings(llama.abstract(CONFIG)[1], mesh)
    params = jax.device_put(params, shardings)
    config = training(1e-3, 1e-4, 8, 1)
    config.optimizer = kind
    config.microbatches = microbatches
    model = Model(graphdef, params, CONFIG, Characters())
    run = update.setup(model, losses.language_loss, config, 10, mesh)
    return run, run.init(params)


def rows_of(examples):
    """A batch with a row for each."""
    return assemble(examples, [[i] for i in range(len(examples))], len(examples), 12)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_optimizer_state_lies_beside_its_parameters(kind):
    mesh = meshes.make_mesh(1, 4, 2)
    run, state = setting(mesh, kind)
    specs = {}
    for path, p in jax.tree_util.tree_flatten_with_path(state.params)[0]:
        specs[jax.tree_util.keystr(path)] = (p.shape, p.sharding.spec)
    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(state.opt_state)[0]:
        name = jax.tree_util.keystr(path)
        (owner,) = [n for n in specs if name.endswith(n)] or [None]
        if owner is None:  # counts, Muon's coefficients
            assert leaf.size <= 3 and leaf.sharding.is_fully_replicated, name
        else:
            assert (leaf.shape, leaf.sharding.spec) == specs[owner], name
            found.append(owner)
    # Two moments of each parameter; Muon keeps one for the seven kernels.
    moments = 2 * len(specs) if kind == "adamw" else 2 * len(specs) - 7
    assert len(found) == moments
    divided = [x for x in jax.tree.leaves(state.opt_state) if not x.sharding.is_fully_replicated]
    assert len(divided) > 8


def test_the_state_is_described_before_it_is_made():
    run, state = setting(meshes.make_mesh(2, 2, 2))
    assert isinstance(run.state, TrainState)
    assert jax.tree.structure(run.state) == jax.tree.structure(state)
    for shape, array in zip(jax.tree.leaves(run.state), jax.tree.leaves(state)):
        assert isinstance(shape, jax.ShapeDtypeStruct)
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype)
        assert shape.sharding.is_equivalent_to(array.sharding, array.ndim)


def test_eight_devices_train_as_one():
    rng = np.random.default_rng(0)
    batch = rows_of([language_example([1], rng.integers(0, 64, 11).tolist()) for _ in range(8)])
    one = meshes.single_device_mesh(jax.devices()[0])
    eight = meshes.make_mesh(2, 2, 2)
    results = []
    for mesh, microbatches in ((one, 1), (eight, 1), (one, 4), (eight, 2)):
        run, state = setting(mesh, "adamw", microbatches)
        before = jax.tree.map(np.asarray, state.params)
        for _ in range(2):
            state, metrics = run.update(state, meshes.shard_batch(batch, mesh))
        params = jax.tree.map(np.asarray, state.params)
        results.append((params, {k: float(v) for k, v in metrics.items()}))
        shardings = [p.sharding for p in jax.tree.leaves(state.params)]
        assert any(not s.is_fully_replicated for s in shardings) == (mesh.size > 1)
    (one, one_metrics), *others = results
    for other, metrics in others:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), other, one)
        assert metrics == pytest.approx(one_metrics, rel=1e-4)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), one, before)
    assert min(jax.tree.leaves(moved)) > 1e-4  # every parameter has been trained


@pytest.mark.parametrize("microbatches", [1, 3])
def test_rows_of_activations_stay_apart(microbatches):
    """Under pure fsdp each chip works on its own row with gathered weights.

    No chip holds an activation of all rows. Nor of three in three microbatches.
    """
    mesh = meshes.make_mesh(1, 8, 1)
    run, state = setting(mesh, "adamw", microbatches)
    batch = rows_of([language_example([1], [2] * 10) for _ in range(8 * microbatches)])
    text = run.update.lower(state, meshes.shard_batch(batch, mesh)).compile().as_text()
    assert "f32[1,12,32]" in text and "f32[8,12," not in text and "f32[3,12," not in text
    assert "all-gather" in text


def test_rows_of_a_device_stay_with_it():
    """The picture in `_microbatches`: two devices of four rows each, two microbatches."""
    batch = rows_of([language_example([1], [row]) for row in range(8)])
    found = update._microbatches(batch, 2).tokens[:, :, 1]
    np.testing.assert_array_equal(found, [[0, 2, 4, 6], [1, 3, 5, 7]])
