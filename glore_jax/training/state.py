"""What a training run carries from one update to the next, and what of it a checkpoint holds.

The tree on disk is a contract, so that runs of other versions can be gone on with:

    params       the parameters
    opt_state    the optimizer's
    tail         count; sums: {metric: its sum}

The position in the data is the number of updates, by which Orbax names the checkpoint, and the
seed is in the configuration: nothing else has to be kept.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, no_type_check

import jax
import numpy as np
import optax
from flax import nnx
from jaxtyping import Float64, Int64


# JAX makes states of shardings and placeholders too: tests do not check the fields.
@no_type_check
@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """What an update takes, donated, and gives back.

    Attributes:
      params: the model's parameters, float32.
      opt_state: the optimizer's state; what belongs to a parameter lies beside it.
    """

    params: nnx.State
    opt_state: optax.OptState


@dataclasses.dataclass
class Tail:
    """Sums of the metrics of the last tenth of the updates, of which the run reports the means.

    They are saved too, or a run stopped near its end would forget some.

    Attributes:
      count: of the updates that were added.
      sums: of each metric.
    """

    count: Int64[np.ndarray, ""]
    sums: dict[str, Float64[np.ndarray, ""]]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Tail":
        """An empty one, for the metrics of these names."""
        return cls(np.zeros((), np.int64), {name: np.zeros((), np.float64) for name in names})

    def add(self, values: dict[str, float]) -> None:
        # `+` on arrays without axes gives scalars, which Orbax would save as another kind of leaf.
        self.count = np.asarray(self.count + 1)
        self.sums = {name: np.asarray(x + values[name]) for name, x in self.sums.items()}

    def means(self) -> dict[str, float]:
        """The mean of each metric; empty if nothing was added."""
        if not self.count:
            return {}
        return {name: float(x / self.count) for name, x in self.sums.items()}


def to_tree(state: TrainState, tail: Tail) -> dict[str, Any]:
    """What a checkpoint holds of a run, as it lies on disk.

    Of a state of `ShapeDtypeStruct`s: what the checkpoint has to hold.
    """
    return {
        "params": state.params,
        "opt_state": state.opt_state,
        "tail": {"count": tail.count, "sums": tail.sums},
    }


def from_tree(tree: dict[str, Any]) -> tuple[TrainState, Tail]:
    """The other way round."""
    return TrainState(tree["params"], tree["opt_state"]), Tail(**tree["tail"])
