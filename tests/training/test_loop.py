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
from glore_jax.parallel import mesh as meshes
from glore_jax.training import loop, losses
from glore_jax.training.batches import Batches


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
    """Four steps an epoch."""
    return Batches(examples or counting(), batch_size=4, row_length=16, epochs=epochs, seed=0)


def train(folder, batches=None, writer=None, **options):
    start = model(seed=1)
    mesh = meshes.make_mesh(1, 1, 1, jax.devices()[:1])
    params = jax.device_put(
        jax.tree.map(lambda x: x * 0.2, start.params), meshes.param_shardings(start.params, mesh)
    )
    config = options.pop("config", section())
    return loop.train(
        start.with_params(params),
        batches or make_batches(),
        losses.language_loss,
        config,
        mesh=mesh,
        folder=folder / "checkpoints",
        name="test",
        writer=writer or Events(),
        **options,
    )


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
    return all(
        np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


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


@pytest.mark.parametrize("at", [29, 31])
def test_a_run_stopped_near_its_end_reports_the_same_figures(tmp_path, at):
    def stop(step, params):
        if step == at:
            os.kill(os.getpid(), signal.SIGTERM)

    def batches():
        return make_batches(epochs=8)

    whole = train(tmp_path / "whole", batches())
    assert whole.steps == 32
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", batches(), on_step=stop)
    assert train(tmp_path / "stopped", batches()).metrics == whole.metrics  # of three steps


def train_until_killed(folder):
    """In a process of its own: SIGKILL after step 9, with a save under way."""

    def kill(step, params):
        if step == 9:
            os.kill(os.getpid(), signal.SIGKILL)

    train(folder, config=section(save_seconds=0.0), on_step=kill)


def test_killed_run_goes_on_bit_for_bit(tmp_path, uninterrupted):
    process = multiprocessing.get_context("spawn").Process(
        target=train_until_killed, args=(tmp_path,)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert 0 < min(writer.rows) < 9 and max(writer.rows) == 11
    assert same(trained.params, uninterrupted[0].params)


def test_nan_names_its_step_and_is_not_saved(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop.Checkpoints, "save", lambda self, step, state: saved.append(step))
    examples = make_batches().examples
    bad = dataclasses.replace(examples[3], weights=np.full(8, np.nan, np.float32))
    batches = make_batches([*examples[:3], bad, *examples[4:]])
    (first, *_) = (n for n in range(len(batches)) if np.isnan(batches[n]["weights"]).any())
    with pytest.raises(
        FloatingPointError, match=f"the loss is nan at step {first}: lower the learning rate"
    ):
        train(tmp_path, batches, config=section(save_seconds=0.0))
    assert saved == list(range(1, first + 1))  # never the state that it leaves behind


class Unreadable(Batches):
    """The batch of step 5 cannot be made."""

    def __getitem__(self, step):
        if step == 5:
            raise UserError("no such file")
        return super().__getitem__(step)


def test_an_error_in_making_a_batch_ends_the_run_at_its_step(tmp_path):
    whole, writer = make_batches(), Events()
    batches = Unreadable(whole.examples, batch_size=4, row_length=16, epochs=3, seed=0)
    with pytest.raises(UserError, match="no such file"):
        train(tmp_path, batches, writer)
    assert list(writer.rows) == [
        0,
        1,
        2,
        3,
    ]  # step 4 has run; its metrics would have been read one step later
    assert not any(t.name.startswith("batches") for t in threading.enumerate())
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class Interrupted(Batches):
    """Ctrl-C while the batch of step 5 is being made, beside step 4."""

    def __getitem__(self, step):
        if step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__getitem__(step)


def test_ctrl_c_while_a_batch_is_made(tmp_path, uninterrupted):
    batches = Interrupted(make_batches().examples, batch_size=4, row_length=16, epochs=3, seed=0)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, batches)
    writer = Events()
    trained = train(tmp_path, writer=writer)
    assert min(writer.rows) in (5, 6)
    assert same(trained.params, uninterrupted[0].params)
