"""A run learns, stops and goes on as if nothing had happened, and says what went wrong."""

import dataclasses
import logging
import os
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_llama import CONFIG, fresh

from glore_jax.config import training
from glore_jax.parallel import mesh as meshes
from glore_jax.training import loop, losses
from glore_jax.training.batches import Batches, language_example
from glore_jax.training.checkpoints import Checkpoints


class Events:
    """In place of the TensorBoard writer."""

    events = None

    def __init__(self):
        self.rows = {}

    def scalars(self, values, step):
        assert step not in self.rows
        self.rows[step] = values


@pytest.fixture(scope="module", autouse=True)
def compile_once():
    """All runs here have the same model, loss and schedule: the same step."""
    made, make = [], loop.make_step

    def make_once(*args):
        if not made:
            made.append(make(*args))
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_step", make_once)
        yield


def section(**changes):
    config = training(1e-2, 1e-3, 4, 3)
    config.update(changes)
    return config


def make_batches(examples=None, epochs=3):
    """Counting: 5 6 7 8 ... from anywhere; 16 examples, four steps an epoch."""
    examples = examples or [language_example([5 + i], [6 + i + j for j in range(7)]) for i in range(16)]
    return Batches(examples, batch_size=4, row_length=16, epochs=epochs, seed=0)


def train(folder, batches=None, writer=None, **options):
    graphdef, params = fresh(seed=1)
    mesh = meshes.make_mesh(1, 1, 1, jax.devices()[:1])
    params = jax.device_put(jax.tree.map(lambda x: x * 0.2, params), meshes.param_shardings(params, mesh))
    config = options.pop("config", section())
    return loop.train(
        graphdef, params, batches or make_batches(), losses.language_loss, config, CONFIG, mesh=mesh, folder=folder / "checkpoints",
        name="test", writer=writer or Events(), **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(result, events) of a whole run of 12 steps."""
    writer, folder = Events(), tmp_path_factory.mktemp("uninterrupted")
    trained = train(folder, writer=writer)
    return trained, writer


def test_loss_falls(uninterrupted):
    trained, writer = uninterrupted
    assert list(writer.rows) == list(range(12)) and trained.steps == 12
    losses_ = [row["loss"] for row in writer.rows.values()]
    assert losses_[0] > 4 and np.mean(losses_[-3:]) < losses_[0] - 0.4
    # The last tenth of twelve steps is one step.
    assert trained.metrics["loss"] == losses_[-1] and trained.metrics["token_accuracy"] > 0.8
    first = writer.rows[0]
    assert (
        first["learning_rate"] == pytest.approx(1e-3)
        and first["tokens_per_second"] > 0
        and first["gradient_norm"] > 0
    )


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("at", [1, 7, 11])
def test_stopped_run_goes_on_bit_for_bit(tmp_path, uninterrupted, at):
    def stop(step, params):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_step=stop)
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert list(writer.rows) == list(range(at, 12))  # only the rest
    assert same(trained.params, uninterrupted[0].params)
    for step, row in writer.rows.items():
        assert row["loss"] == uninterrupted[1].rows[step]["loss"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # signals are handed back


def test_killed_run_goes_on_bit_for_bit(tmp_path, uninterrupted):
    """Killed at once, as by SIGKILL: what counts is what had been written by then."""

    class Killed(BaseException):
        pass

    def kill(step, params):
        if step == 9:
            shutil.copytree(
                tmp_path / "checkpoints", tmp_path / "copy" / "checkpoints", dirs_exist_ok=True
            )  # with a save under way
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path, config=section(save_seconds=0.0), on_step=kill)
    writer = Events()
    trained = train(tmp_path / "copy", writer=writer)
    assert 0 < min(writer.rows) < 9 and max(writer.rows) == 11
    assert same(trained.params, uninterrupted[0].params)


def test_nan_names_its_step(tmp_path):
    examples = make_batches().examples
    bad = dataclasses.replace(examples[3], weights=np.full(8, np.nan, np.float32))
    batches = make_batches([*examples[:3], bad, *examples[4:]])
    (first, *_) = (n for n in range(len(batches)) if np.isnan(batches[n]["weights"]).any())
    with pytest.raises(FloatingPointError, match=f"the loss is nan at step {first}: lower the learning rate"):
        train(tmp_path, batches)


# Checkpoints.


def state(value):
    return {"params": {"w": jnp.full((64, 8), value, jnp.float32)}, "opt_state": (jnp.int32(value),)}


@pytest.fixture
def two_saves(tmp_path):
    """A folder with the checkpoints of steps 3 and 6."""
    checkpoints = Checkpoints(tmp_path / "run", keep=2)
    for step in (3, 6):
        checkpoints.save(step, state(step))
    checkpoints.close()
    return tmp_path / "run"


def restore(folder):
    checkpoints = Checkpoints(folder, keep=2)
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state(0))
    step, found = checkpoints.restore(abstract)
    checkpoints.close()
    return (
        step,
        None if found is None else float(found["params"]["w"][63, 7]),
        None if found is None else int(found["opt_state"][0]),
    )


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(b"")


def lose_arrays(folder):
    for file in folder.rglob("*"):
        if file.is_dir() and file.name in ("d", "ocdbt.process_0"):
            shutil.rmtree(file, ignore_errors=True)


def lose_all_but_the_folder(folder):
    for child in folder.iterdir():
        shutil.rmtree(child) if child.is_dir() else child.unlink()


def test_newest_checkpoint(two_saves):
    assert restore(two_saves) == (6, 6.0, 6)


@pytest.mark.parametrize("tear", [truncate, empty, lose_arrays, lose_all_but_the_folder])
def test_torn_checkpoint(two_saves, tear):
    logging.disable(logging.WARNING)
    try:
        tear(two_saves / "6")
        assert restore(two_saves) == (3, 3.0, 3)
        tear(two_saves / "3")
        assert restore(two_saves) == (0, None, None)
    finally:
        logging.disable(logging.NOTSET)


def test_nothing_saved(tmp_path):
    assert restore(tmp_path / "new") == (0, None, None)


def test_relative_folder(two_saves, monkeypatch):
    monkeypatch.chdir(two_saves.parent)
    assert restore(two_saves.name) == (6, 6.0, 6)
