"""From a config section to the generator's knobs, and from what it draws to a `Problem`."""

from glore_jax.errors import UserError
from glore_jax.tasks.base import Problem
from glore_jax.tasks.chains.generate import Chain, Difficulty


def difficulty_of(config) -> Difficulty:
    """The generator's knobs from a config section; UserError names the field that is out of bounds."""
    d = Difficulty(
        tuple(config.steps),
        tuple(config.operand),
        tuple(config.factor),
        config.max_value,
        config.distractors,
        config.shuffle,
        config.branch,
    )
    for name, (low, high) in (("steps", d.steps), ("operand", d.operand), ("factor", d.factor)):
        least = {"steps": 1, "operand": 2, "factor": 2}[name]
        if not least <= low <= high:
            raise UserError(f"task.{name} = ({low}, {high}): needs {least} <= low <= high")
    if d.max_value < d.operand[1]:
        raise UserError(
            f"task.max_value = {d.max_value} is less than the largest operand {d.operand[1]}"
        )
    return d


def to_problem(chain: Chain, split: str, index: int) -> Problem:
    facts = {
        "claims": chain.claims,
        "template": f"{chain.family}/{chain.kind}",
    }
    return Problem(
        f"chains-{split}-{index:05d}", chain.question, str(chain.gold), chain.solution(), facts
    )
