"""The values that a run uses where it makes a decision: chosen on `dev`, or given by the config.

Stage `evaluate` writes them to `evaluate/choices.json` before it looks at any other split; the
evaluation, `solve`, `api` and the report read them from there.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels import choosing

FILE = ("evaluate", "choices.json")

Scores = Mapping[str, float]  # of a solution, by scorer: orm, sorm, loglik


@dataclasses.dataclass(frozen=True)
class InForce:
    """What decides.

    Attributes:
      mark: by reward model, the score at or below which the first step counts as the first wrong
        one; it gets `[BAD]` if the model is a locator (`orm`, `sorm`).
      step_threshold, final_threshold: by reward model, the score at or below which a step, or a
        whole solution, is called wrong.
      temperature: of the samples that are drawn of questions to be answered.
      choose: who chooses among the candidates; `evaluate.choose` of the config.
      combination: a weight for each of `choosing.FEATURES`; None unless they choose.
    """

    mark: Mapping[str, float]
    step_threshold: Mapping[str, float]
    final_threshold: Mapping[str, float]
    temperature: float
    choose: str = "orm"
    combination: tuple[float, ...] | None = None

    @classmethod
    def of(cls, choices: Mapping[str, Any]) -> Self:
        """From the content of `choices.json`."""

        def values(name: str) -> dict[str, float]:
            return {of: entry["value"] for of, entry in choices[name].items()}

        fitted = choices["combination"]
        return cls(
            mark=values("mark"),
            step_threshold=values("step_threshold"),
            final_threshold=values("final_threshold"),
            temperature=choices["temperature"]["value"],
            choose=choices["choose"],
            combination=_weights(fitted["weights"]) if fitted else None,
        )

    def to_json(self) -> dict[str, Any]:
        """The values alone, for a manifest and a report."""
        return dataclasses.asdict(self)

    def value(self, scores: Scores) -> float:
        """What a candidate is worth: the ORM's score, or the combination's value."""
        if self.combination is None:
            return scores["orm"]
        pairs = zip(self.combination, choosing.features(scores), strict=True)
        return sum(weight * feature for weight, feature in pairs)


def _weights(by_feature: Mapping[str, float]) -> tuple[float, ...]:
    """In the order of `choosing.FEATURES`."""
    return tuple(by_feature[name] for name in choosing.FEATURES)


def read(workdir: epath.PathLike) -> InForce:
    """The values in force of the run in `workdir`. UserError if nothing has been chosen yet."""
    return InForce.of(read_choices(workdir))


def read_choices(workdir: epath.PathLike) -> dict[str, Any]:
    """The content of `choices.json`: each value with how it was chosen; errors as of `read`."""
    file = storage.path(workdir).joinpath(*FILE)
    if not storage.exists(file):
        raise UserError(
            f"{file} is not there: marks, thresholds and the temperature are chosen by the stage "
            "evaluate; run it first"
        )
    return storage.read_json(file)
