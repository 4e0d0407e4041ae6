"""The embedded task `chains` behind the common interface."""

from collections.abc import Sequence

from glore_jax.errors import UserError
from glore_jax.tasks.base import Problem, Task
from glore_jax.tasks.chains import splits, truth
from glore_jax.tasks.chains.chain import to_problem
from glore_jax.tasks.chains.difficulty import difficulty_of


class ChainsTask(Task):
    """Generated problems: `config.size.<split>` of them, from `config.seed` and the knobs.

    The knobs are the fields of `Difficulty`. With `config.data_dir` the problems are prepared once
    as a TFDS dataset there and read back; they are the same.
    """

    name = "chains"
    splits = splits.SPLITS

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`; errors as in `Task.load`, or a knob is out of bounds."""
        self._check_split(split)
        size = self.config.size[split]
        if size < 1:
            raise UserError(f"task chains: split '{split}' is empty (task.size.{split} = {size})")
        if self.config.data_dir:
            # TFDS takes a second to import, and most runs draw in memory.
            from glore_jax.tasks.chains import tfds_builder

            return self._take(tfds_builder.load(self.config, split), split)
        chains = splits.draw_split(split, size, self.config.seed, difficulty_of(self.config))
        problems = [to_problem(chain, split, i) for i, chain in enumerate(chains)]
        return self._take(problems, split)

    def step_truth(
        self, problem: Problem, steps: Sequence[str], strict: bool = False
    ) -> list[bool]:
        """Per prefix: arithmetic right and values those of the problem (see `truth.py`).

        `strict`: each value under its own name.
        """
        assert problem.facts is not None, "not a problem of this task"
        return truth.step_truth(steps, problem.facts["claims"], int(problem.gold), strict)
