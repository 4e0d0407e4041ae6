"""The embedded task `chains` behind the common interface."""

from glore_jax.errors import UserError
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.chains import splits, truth
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
        raise UserError(f"task.max_value = {d.max_value} is less than the largest operand {d.operand[1]}")
    return d


def to_problem(chain: Chain, split: str, index: int) -> Problem:
    facts = {
        "claims": chain.claims,
        "template": f"{chain.family}/{chain.kind}",
    }
    return Problem(f"chains-{split}-{index:05d}", chain.question, str(chain.gold), chain.solution(), facts)


class ChainsTask(Task):
    """Generated problems: `config.size.<split>` of them, from `config.seed` and the difficulty knobs.

    With `config.data_dir` they are prepared once as a TFDS dataset there and read back; the problems are the same.
    """

    name = "chains"
    splits = splits.SPLITS

    def load(self, split: str) -> list[Problem]:
        self._check_split(split)
        size = self.config.size[split]
        if size < 1:
            raise UserError(f"task chains: split '{split}' is empty (task.size.{split} = {size})")
        if self.config.data_dir:
            from glore_jax.tasks.chains import builder

            return self._take(builder.load(self.config, split), split)
        chains = splits.draw_split(split, size, self.config.seed, difficulty_of(self.config))
        return self._take([to_problem(c, split, i) for i, c in enumerate(chains)], split)

    def step_truth(self, problem: Problem, steps, strict: bool = False) -> list[bool]:
        """Per prefix: arithmetic right and values those of the problem; `strict`: each under its own name (see `truth.py`)."""
        return truth.step_truth(list(steps), problem.facts["claims"], int(problem.gold), strict)
