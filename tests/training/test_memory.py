"""What lies on the devices while a run starts, goes on and trains: its state, and little else."""

import functools
import gc
import math
import os
import signal

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from tiny_llama import CONFIG, Characters
from tiny_run import Events, counting

from glore_jax.config import training
from glore_jax.models import llama, reward, vocab
from glore_jax.models.model import Model, Start
from glore_jax.parallel import mesh as meshes
from glore_jax.progress import TRAIN, Piece
from glore_jax.training import loop, losses
from glore_jax.training.batches import Batches

SMALL = 4096  # bytes of a device: counts, metrics, the rates of all updates


def on_devices(arrays):
    """Bytes on all devices together, copies counted."""
    return sum(
        math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize * len(x.sharding.device_set)
        for x in arrays
    )


def random_start(mesh):
    graphdef, shapes = llama.abstract(CONFIG)
    shardings = meshes.param_shardings(shapes, mesh)
    draw = jax.jit(lambda key: llama.init(CONFIG, key)[1], out_shardings=shardings)
    described = Model(graphdef, meshes.placed(shapes, shardings), CONFIG, Characters())
    return Start(described, lambda: draw(jax.random.key(0)))


def leave_a_dead_model(params):
    """As much as `params` on the same devices, which nobody reaches and only Python's search for
    circles frees."""

    def zeros(x):
        return jax.device_put(np.zeros(x.shape, x.dtype), x.sharding)

    circle = [jax.tree.map(zeros, params)]
    circle.append(circle)


class Watch:
    """Notes how much more there is than at its beginning, by the name of the moment."""

    def __init__(self):
        gc.collect()  # what other tests left; what a run leaves has to go by itself
        self.before = on_devices(jax.live_arrays())
        self.found = {}

    def note(self, moment):
        more = on_devices(jax.live_arrays()) - self.before
        self.found[moment] = max(more, self.found.get(moment, 0))


@pytest.fixture
def no_chance_search():
    """Circles are looked for only where the program asks for it."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("devices", [1, 8])
def test_a_run_holds_its_state_and_nothing_twice(tmp_path, monkeypatch, devices, no_chance_search):
    """At its beginning, from update to update, and when it goes on from a checkpoint.

    What dead models hold is gone before either.
    """
    mesh = meshes.make_mesh(1, devices, 1, jax.devices()[:devices])
    config = training(1e-3, 1e-4, 8, 6)
    batches = Batches(counting(), batch_size=8, row_length=16, epochs=6, seed=0, row_multiple=8)
    batch = on_devices(jax.tree.leaves(meshes.shard_batch(batches[0], mesh)))
    start = random_start(mesh)
    params = on_devices(jax.tree.leaves(start.model.params))
    state = 3 * params  # with two moments
    most = state + 2 * batch + SMALL * devices  # one batch is used, one is made
    watch = Watch()

    def load():
        watch.note("before the parameters")
        loaded = start.load()
        watch.note("parameters")
        return loaded

    def run(stop_after):
        leave_a_dead_model(start.model.params)

        def on_update(done, params):
            watch.note("updates")
            if done == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)  # it saves, and ends

        loop.train(
            Start(start.model, load),
            batches,
            losses.language_loss,
            config,
            mesh=mesh,
            folder=tmp_path / "checkpoints",
            name="test",
            writer=Events(),
            piece=Piece("test", TRAIN, "updates", len(batches)),
            on_update=on_update,
        )

    with pytest.raises(KeyboardInterrupt):
        run(stop_after=6)
    fresh = watch.found
    assert fresh["before the parameters"] <= SMALL * devices
    assert params <= fresh["parameters"] <= params + SMALL * devices
    assert state <= fresh["updates"] <= most

    watch = Watch()
    restore = ocp.StandardCheckpointHandler.restore

    def watched(*args, **options):
        watch.note("before the checkpoint")
        restored = restore(*args, **options)
        watch.note("checkpoint")
        return restored

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "restore", watched)
    with pytest.raises(KeyboardInterrupt):
        run(stop_after=9)
    assert "parameters" not in watch.found  # the start is not loaded
    assert watch.found["before the checkpoint"] <= SMALL * devices
    assert state <= watch.found["checkpoint"] <= state + SMALL * devices
    assert state <= watch.found["updates"] <= most
    for name, found in {"fresh start": fresh, "resume": watch.found}.items():
        shares = {moment: round(size / state, 3) for moment, size in found.items()}
        print(f"{devices} devices, {name}, of the state: {shares}")


@pytest.mark.parametrize("devices", [1, 8])
@pytest.mark.parametrize("change", ["more words", "value head"])
def test_what_is_made_of_a_model_takes_its_place(change, devices):
    mesh = meshes.make_mesh(1, devices, 1, jax.devices()[:devices])
    change = {
        "more words": functools.partial(vocab.grow, new_size=CONFIG.vocab_size + 32),
        "value head": reward.from_policy,
    }[change]
    start = random_start(mesh).then(change, mesh)
    watch = Watch()
    loaded = start.loaded()
    watch.note("loaded")
    expected = on_devices(jax.tree.leaves(start.model.params))
    assert expected == on_devices(jax.tree.leaves(loaded.params))
    assert expected <= watch.found["loaded"] <= expected + SMALL * devices
