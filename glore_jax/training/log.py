"""What a person sees of a training while it goes on: TensorBoard and the figures of its piece."""

import time

import jax
import numpy as np
from jaxtyping import Float

from glore_jax.progress import Piece
from glore_jax.progress.tensorboard import Writer
from glore_jax.training import metrics as measures
from glore_jax.training.losses import Metrics
from glore_jax.training.state import Tail

# Metrics that have to be finite, and what they are called.
_FINITE = {"loss": "the loss", "gradient_norm": "the norm of the gradient"}


class MetricsLog:
    """Reads the metrics of updates one update late, so that no device is ever waited for.

        update      0           1           2
        devices     compute 0   compute 1   compute 2
        host        dispatch 0  dispatch 1  dispatch 2
                                read 0      read 1

    Args:
      writer: of the TensorBoard events.
      rates: learning rate of every update of the run.
      flops: the model's, of an update (`metrics.training_flops`).
      tokens: of an update, on average, padding left out.
      tail: gets the metrics of the last tenth of the updates.
      piece: is told of each update that has been computed, with its loss and speed.
    """

    def __init__(
        self,
        writer: Writer,
        rates: Float[np.ndarray, " updates"],
        *,
        flops: float,
        tokens: float,
        tail: Tail,
        piece: Piece,
    ):
        self.tail = tail
        self._writer = writer
        self._rates = rates
        self._flops = flops
        self._tokens = tokens
        self._piece = piece
        self._peak = measures.peak_flops() * jax.device_count()
        self._last = time.monotonic()
        self._unread: tuple[int, Metrics] | None = None

    def add(self, update: int, metrics: Metrics) -> None:
        """Reads the metrics of the update before, and keeps these unread."""
        self.read()
        self._unread = (update, metrics)

    def read(self) -> None:
        """Reads what is unread: waits until it has been computed, writes it and shows it.

        FloatingPointError, naming the update, if its loss or its gradient is not finite: the loss
        is that of the parameters before the update, the gradient decides those after it.
        """
        if self._unread is None:
            return
        update, metrics = self._unread
        self._unread = None
        values = {name: float(value) for name, value in jax.device_get(metrics).items()}
        for measured, what in _FINITE.items():
            if not np.isfinite(values[measured]):
                raise FloatingPointError(
                    f"{what} is {values[measured]} at step {update}: "
                    "lower the learning rate or check the labels"
                )
        now = time.monotonic()
        seconds = now - self._last
        self._last = now
        # The last tenth, and at least the last update.
        updates = len(self._rates)
        if update >= min(0.9 * updates, updates - 1):
            self.tail.add(values)
        speed = {
            "learning_rate": float(self._rates[update]),
            "tokens_per_second": self._tokens / seconds,
            "model_flops_utilisation": self._flops / seconds / self._peak,
        }
        self._writer.scalars(values | speed, update)
        self._piece.reach(
            update + 1, loss=values["loss"], tokens_per_second=speed["tokens_per_second"]
        )
