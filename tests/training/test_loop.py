"""A run learns, stops and goes on as if nothing had happened, and says what went wrong."""

import dataclasses
import multiprocessing
import os
import signal
import threading

import jax
import numpy as np
import pytest
from tiny_llama import model
from tiny_run import Events, counting

from glore_jax.config import training
from glore_jax.errors import UserError
from glore_jax.models.model import Start
from glore_jax.parallel import mesh as meshes
from glore_jax.progress import TRAIN, Piece
from glore_jax.training import fitting, loop, losses
from glore_jax.training.batches import Batches


@pytest.fixture(scope="module", autouse=True)
def compile_once():
    """All runs here have the same model, loss and schedule: the same update."""
    made = []
    fit = fitting.fit

    def fit_once(*args):
        if not made:
            made.append(fit(*args))
        return made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "fit", fit_once)
        yield


def section(**changes):
    config = training(1e-2, 1e-3, 4, 3)
    config.update(changes)
    return config


def make_batches(examples=None, epochs=3, kind=Batches):
    """Four updates an epoch."""
    return kind(examples or counting(), batch_size=4, row_length=16, epochs=epochs, seed=0)


def train(folder, batches=None, writer=None, **options):
    start = model(seed=1)
    mesh = meshes.make_mesh(1, 1, 1, jax.devices()[:1])
    small = jax.tree.map(lambda x: x * 0.2, start.params)
    shardings = meshes.param_shardings(start.params, mesh)
    described = start.with_params(meshes.placed(small, shardings))
    config = options.pop("config", section())
    batches = batches or make_batches()
    return loop.train(
        Start(described, lambda: jax.device_put(small, shardings)),
        batches,
        losses.language_loss,
        config,
        mesh=mesh,
        folder=folder / "checkpoints",
        name="test",
        writer=writer or Events(),
        piece=Piece("test", TRAIN, "updates", len(batches)),
        **options,
    )


def kill_after(update, number=signal.SIGTERM):
    """An `on_update` that sends this process a signal."""

    def on_update(done, params):
        if done == update:
            os.kill(os.getpid(), number)

    return on_update


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """(result, events) of a whole run of 12 updates."""
    writer = Events()
    trained = train(tmp_path_factory.mktemp("uninterrupted"), writer=writer)
    return trained, writer


def test_loss_falls(uninterrupted):
    trained, writer = uninterrupted
    assert list(writer.rows) == list(range(12)) and trained.updates == 12
    found = [row["loss"] for row in writer.rows.values()]
    assert found[0] > 4 and np.mean(found[-3:]) < found[0] - 0.4
    # The last tenth of twelve updates is one.
    assert trained.metrics["loss"] == found[-1] and trained.metrics["token_accuracy"] > 0.8
    first = writer.rows[0]
    assert first["learning_rate"] == pytest.approx(1e-2)  # a twentieth of 12 updates is none
    assert first["tokens_per_second"] > 0 and first["gradient_norm"] > 0


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("at", [1, 7, 11])
def test_stopped_run_goes_on_bit_for_bit(tmp_path, uninterrupted, at):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, on_update=kill_after(at))
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert list(writer.rows) == list(range(at, 12))  # only the rest
    assert same(trained.model.params, uninterrupted[0].model.params)
    for number, row in writer.rows.items():
        assert row["loss"] == uninterrupted[1].rows[number]["loss"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # signals are handed back


@pytest.mark.parametrize("at", [29, 31])
def test_a_run_stopped_near_its_end_reports_the_same_figures(tmp_path, at):
    whole = train(tmp_path / "whole", make_batches(epochs=8))
    assert whole.updates == 32
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", make_batches(epochs=8), on_update=kill_after(at))
    again = train(tmp_path / "stopped", make_batches(epochs=8))
    assert again.metrics == whole.metrics  # of three updates


def train_until_killed(folder):
    """In a process of its own: SIGKILL after update 9, with a save under way."""
    train(folder, config=section(save_seconds=0.0), on_update=kill_after(9, signal.SIGKILL))


def test_killed_run_goes_on_bit_for_bit(tmp_path, uninterrupted):
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=train_until_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert 0 < min(writer.rows) < 9 and max(writer.rows) == 11
    assert same(trained.model.params, uninterrupted[0].model.params)


def test_nan_names_its_update_and_is_not_saved(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop.Checkpoints, "save", lambda self, done, tree: saved.append(done))
    examples = list(make_batches().examples)
    bad = dataclasses.replace(examples[3], weights=np.full(8, np.nan, np.float32))
    batches = make_batches([*examples[:3], bad, *examples[4:]])
    first = next(n for n in range(len(batches)) if np.isnan(batches[n].weights).any())
    line = f"the loss is nan at step {first}: lower the learning rate"
    with pytest.raises(FloatingPointError, match=line):
        train(tmp_path, batches, config=section(save_seconds=0.0))
    assert saved == list(range(1, first + 1))  # never the state that it leaves behind


class Unreadable(Batches):
    """The batch of update 5 cannot be made."""

    def __getitem__(self, update):
        if update == 5:
            raise UserError("no such file")
        return super().__getitem__(update)


def test_an_error_in_making_a_batch_ends_the_run_at_its_update(tmp_path):
    writer = Events()
    with pytest.raises(UserError, match="no such file"):
        train(tmp_path, make_batches(kind=Unreadable), writer)
    # Update 4 has run; its metrics would have been read one update later.
    assert list(writer.rows) == [0, 1, 2, 3]
    assert not any(t.name.startswith("batches") for t in threading.enumerate())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Interrupted(Batches):
    """Ctrl-C while the batch of update 5 is being made, beside update 4."""

    def __getitem__(self, update):
        if update == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(update)


def test_ctrl_c_while_a_batch_is_made(tmp_path, uninterrupted):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, make_batches(kind=Interrupted))
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert min(writer.rows) in (5, 6)
    assert same(trained.model.params, uninterrupted[0].model.params)
