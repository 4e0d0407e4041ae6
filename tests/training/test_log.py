"""Metrics are read one update late, and a loss or gradient that is no number ends the run."""

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import Events

from glore_jax.progress import TRAIN, Piece
from glore_jax.training.log import MetricsLog
from glore_jax.training.state import Tail


def make(updates=3, tail=None):
    """(log, what it wrote, the piece that it counts)."""
    writer = Events()
    piece = Piece("run", TRAIN, "updates", updates)
    log = MetricsLog(
        writer,
        np.linspace(0.1, 0.2, updates, dtype=np.float32),
        flops=1e9,
        tokens=100.0,
        tail=tail or Tail.of(["loss"]),
        piece=piece,
    )
    return log, writer.rows, piece


def metrics(loss, norm=1.0):
    return {"loss": jnp.float32(loss), "gradient_norm": jnp.float32(norm)}


def test_each_is_read_when_the_next_comes_and_once():
    log, rows, piece = make()
    log.add(0, metrics(3.0))
    assert rows == {} and piece.record.done is None
    log.add(1, metrics(2.0))
    assert list(rows) == [0] and piece.record.done == 1
    assert piece.record.figures["loss"] == 3.0
    assert piece.record.figures["tokens_per_second"] == rows[0]["tokens_per_second"]
    log.read()
    log.read()  # nothing is left
    assert list(rows) == [0, 1] and rows[1]["loss"] == 2.0
    assert rows[1]["learning_rate"] == pytest.approx(0.15)
    assert rows[1]["tokens_per_second"] > 0 and rows[1]["model_flops_utilisation"] > 0


@pytest.mark.parametrize("updates, counted", [(1, 1), (3, 1), (20, 2), (32, 3)])
def test_the_tail_is_the_last_tenth_and_at_least_one(updates, counted):
    tail = Tail.of(["loss"])
    log, _, _ = make(updates, tail)
    for update in range(updates):
        log.add(update, metrics(update))
    log.read()
    last = range(updates - counted, updates)
    assert tail.count == counted and tail.means() == {"loss": pytest.approx(np.mean(last))}


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_its_update(loss):
    log, rows, _ = make()
    log.add(1, metrics(loss))
    with pytest.raises(FloatingPointError, match=f"the loss is {loss} at step 1: lower the"):
        log.add(2, metrics(1.0))
    assert rows == {}


@pytest.mark.parametrize("norm", [np.nan, np.inf])
def test_so_does_a_gradient_that_is_not_finite(norm):
    log, rows, _ = make()
    log.add(1, metrics(1.0, norm))
    with pytest.raises(FloatingPointError, match=f"norm of the gradient is {norm} at step 1: lo"):
        log.read()
    assert rows == {}
