"""The cheapest policy that fits is taken, and the program that was tried is the one that runs."""

import jax
import numpy as np
import pytest
from tiny_llama import CONFIG, Characters, fresh

from glore_jax.config import training
from glore_jax.errors import UserError
from glore_jax.models.kernels import Splash
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.training import fitting, losses
from glore_jax.training.batches import Batches
from glore_jax.training.examples import language_example

SECTION = training(1e-3, 1e-4, 8, 1)


def source(length=64):
    examples = [language_example([1], [2 + i] * (length - 1)) for i in range(8)]
    return Batches(examples, batch_size=8, row_length=length, epochs=1, seed=0)


@pytest.fixture(scope="module")
def mesh():
    return meshes.single_device_mesh(jax.devices()[0])


def policy(mesh, remat="auto", **options):
    graphdef, params = fresh(CONFIG, remat=remat, **options)
    return Model(
        graphdef, jax.device_put(params, meshes.param_shardings(params, mesh)), CONFIG, Characters()
    )


def fit(mesh, limit, remat="auto"):
    batch = fitting.largest_batch(source(), mesh)
    return fitting.fit(policy(mesh, remat), losses.language_loss, SECTION, 10, mesh, batch, limit)


@pytest.fixture(scope="module")
def needed(mesh):
    """Bytes by policy, the cheapest to compute first."""
    return {remat: fit(mesh, None, remat).needed for remat in fitting.LADDER}


def test_each_policy_takes_less_than_the_one_before(needed):
    assert needed["full"] < needed["dots"] < needed["none"]
    assert needed["attention"] < needed["dots"]


@pytest.mark.parametrize("remat", fitting.LADDER)
def test_the_first_that_fits_is_taken(mesh, needed, remat):
    found = fit(mesh, needed[remat])
    assert found.remat == next(name for name in fitting.LADDER if needed[name] <= needed[remat])
    assert found.needed == needed[found.remat]
    assert f"remat={found.remat}" in fitting.describe(found, needed[remat])


def test_without_a_limit_nothing_is_computed_again(mesh):
    assert fitting.room(mesh) is None  # CPUs do not say
    assert fit(mesh, None).remat == "none"


def test_what_the_compiler_refuses_is_not_taken(mesh, monkeypatch):
    """A TPU's compiler refuses by itself what does not fit."""
    compile_ = fitting._compile
    tried = []

    def refuse(lowered):
        tried.append(lowered)
        return compile_(lowered) if len(tried) == 3 else (None, "RESOURCE_EXHAUSTED: 20G of 15G")

    monkeypatch.setattr(fitting, "_compile", refuse)
    assert fit(mesh, None).remat == fitting.LADDER[2]
    with pytest.raises(UserError, match="does not fit .*more microbatches.*20G of 15G"):
        fit(mesh, None)
    with pytest.raises(UserError, match="take config.model.remat=auto"):
        fit(mesh, None, remat="none")


def test_who_asks_for_a_policy_gets_it(mesh):
    assert fit(mesh, 1, remat="dots").remat == "dots"


def test_the_executable_is_the_one_that_runs(mesh, monkeypatch):
    found = fit(mesh, None)
    updates = fitting.Updates(found)
    monkeypatch.setattr(jax.stages.Lowered, "compile", None)  # nothing is compiled again
    state = found.setup.init(policy(mesh).params)
    state, metrics = updates(state, meshes.shard_batch(source()[0], mesh))
    assert set(metrics) == set(found.metrics) and np.isfinite(float(metrics["loss"]))


def test_batches_of_another_shape_are_compiled_once(mesh, monkeypatch):
    found = fit(mesh, None)
    updates = fitting.Updates(found)
    compiled = []
    compile_ = jax.stages.Lowered.compile
    monkeypatch.setattr(
        jax.stages.Lowered, "compile", lambda self: compiled.append(self) or compile_(self)
    )
    state = found.setup.init(policy(mesh).params)
    for length in (64, 32, 64, 32):
        state, _ = updates(state, meshes.shard_batch(source(length)[0], mesh))
    assert len(compiled) == 1


def test_a_model_whose_policy_is_not_chosen_computes_no_gradients(mesh):
    batch = meshes.shard_batch(source()[0], mesh)
    with pytest.raises(ValueError, match="remat=auto is decided before"):
        losses.language_loss(policy(mesh).merge(), batch)


def test_a_restart_begins_with_what_was_chosen(mesh, tmp_path, monkeypatch):
    def remember(length=64, **options):
        batch = fitting.largest_batch(source(length), mesh)
        return fitting.Memory(tmp_path / "remat.json", policy(mesh, **options), mesh, batch)

    assert remember().recall() == "none"
    remember().keep("attention")
    again = remember()
    assert again.recall() == "attention"
    # What is compiled otherwise takes another amount of memory.
    for other in (dict(length=32), dict(unroll=True), dict(kernel=Splash(mesh.abstract_mesh))):
        assert remember(**other).recall() == "none", other
    with monkeypatch.context() as flags:
        flags.setenv("LIBTPU_INIT_ARGS", "--xla_tpu_scoped_vmem_limit_kib=65536")
        assert remember().recall() == "none"
    batch = fitting.largest_batch(source(), mesh)
    found = fitting.fit(
        policy(mesh), losses.language_loss, SECTION, 10, mesh, batch, None, again.recall()
    )
    assert found.remat == "attention"
