"""The embedded task `chains` behind the common interface."""

from glore_jax.errors import UserError
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.chains import splits, truth
from glore_jax.tasks.chains.problem import difficulty_of, to_problem


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
