"""The generator's knobs, and what of them a config may set."""

import dataclasses

from ml_collections import ConfigDict

from glore_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """Knobs of the generator. Ranges are inclusive; rates are chances in 0..1.

    Attributes:
      steps: computing steps of the solution, the answer line not counted.
      operand: given amounts and differences.
      factor: of "times as many", prices, sizes of bags.
      max_value: largest amount that may come out.
      distractors: chance of each of two unneeded amounts.
      shuffle: chance that the sentences come in random order.
      branch: chance that an amount follows from any earlier one, not from the latest.
    """

    steps: tuple[int, int] = (3, 6)
    operand: tuple[int, int] = (3, 60)
    factor: tuple[int, int] = (2, 6)
    max_value: int = 400
    distractors: float = 0.4
    shuffle: float = 0.25
    branch: float = 0.3


def difficulty_of(config: ConfigDict) -> Difficulty:
    """The knobs of a config section; UserError names the field that is out of bounds."""
    difficulty = Difficulty(
        steps=tuple(config.steps),
        operand=tuple(config.operand),
        factor=tuple(config.factor),
        max_value=config.max_value,
        distractors=config.distractors,
        shuffle=config.shuffle,
        branch=config.branch,
    )
    _check_range("steps", difficulty.steps, least=1)
    _check_range("operand", difficulty.operand, least=2)
    _check_range("factor", difficulty.factor, least=2)
    largest = difficulty.operand[1]
    if difficulty.max_value < largest:
        raise UserError(
            f"task.max_value = {difficulty.max_value} is less than the largest operand {largest}"
        )
    return difficulty


def _check_range(name: str, bounds: tuple[int, int], least: int) -> None:
    low, high = bounds
    if not least <= low <= high:
        raise UserError(f"task.{name} = ({low}, {high}): needs {least} <= low <= high")
