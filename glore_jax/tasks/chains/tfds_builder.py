"""The problems of `chains` as a TFDS dataset: drawn once, then read.

So they are open to every tool that reads TFDS. The builder's config name stands for everything that
the problems follow from, so that data of other knobs are never taken for these.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.tasks import tfds_source
from glore_jax.tasks.base import Problem
from glore_jax.tasks.chains import splits
from glore_jax.tasks.chains.chain import to_problem
from glore_jax.tasks.chains.difficulty import Difficulty, difficulty_of

_FIELDS = ("id", "question", "gold", "solution", "facts")  # of a `Problem`; none is a variation
_ADVICE = "leave --config.task.data_dir empty to draw the problems in memory"


class Chains(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of chain problems.

    A row is a `Problem`, its steps joined by newlines and its facts as JSON.
    """

    name = "chains_glore"
    VERSION = tfds.core.Version("1.2.0")  # raise it when the same seed gives other problems

    def __init__(self, *, seed: int, size: dict[str, int], difficulty: Difficulty, **kwargs: Any):
        """`size`: problems of each split; a split without any is left out."""
        self._seed = seed
        self._size = size
        self._difficulty = difficulty
        knobs = {"seed": seed, "size": size, **dataclasses.asdict(difficulty)}
        config = tfds.core.BuilderConfig(
            name=f"knobs_{storage.fingerprint(knobs)}", description=json.dumps(knobs)
        )
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Grade-school word problems with worked solutions "
                "and the truth of every claim in them."
            ),
            features=tfds.features.FeaturesDict({name: tfds.features.Text() for name in _FIELDS}),
            disable_shuffling=True,  # stored order is the order of the keys
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        wanted = [split for split in splits.SPLITS if self._size[split]]
        return {split: self._generate_examples(split) for split in wanted}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, str]]]:
        chains = splits.draw_split(split, self._size[split], self._seed, self._difficulty)
        for i, chain in enumerate(chains):
            yield i, _to_row(to_problem(chain, split, i))


def load(config: ConfigDict, split: str) -> list[Problem]:
    """The problems of `split` from the dataset in `config.data_dir`; prepares it if need be.

    `config`: the `task` section of the run's config, as for `ChainsTask`, which draws the same
    problems. UserError if the folder cannot be written or a knob is out of bounds.
    """
    difficulty = difficulty_of(config)
    size = {name: config.size[name] for name in splits.SPLITS}

    def make_builder() -> Chains:
        return Chains(
            seed=config.seed,
            size=size,
            difficulty=difficulty,
            data_dir=config.data_dir,
            file_format=tfds_source.FILE_FORMAT,
        )

    return [_from_row(row) for row in tfds_source.read(make_builder, split, _ADVICE)]


def _to_row(problem: Problem) -> dict[str, str]:
    return {
        "id": problem.id,
        "question": problem.question,
        "gold": problem.gold,
        "solution": "\n".join(problem.solution),
        "facts": json.dumps(problem.facts),
    }


def _from_row(row: dict[str, str]) -> Problem:
    return Problem(
        id=row["id"],
        question=row["question"],
        gold=row["gold"],
        solution=tuple(row["solution"].split("\n")),
        facts=json.loads(row["facts"]),
    )
