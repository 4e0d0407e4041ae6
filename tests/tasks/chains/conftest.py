"""Problems of the embedded task, drawn once for all tests of it."""

import random

import pytest
from chain_config import make_config

from glore_jax.tasks.chains import corpus, splits
from glore_jax.tasks.chains.difficulty import difficulty_of
from glore_jax.tasks.chains.slips import slip
from glore_jax.tasks.chains.task import ChainsTask


@pytest.fixture(scope="session")
def task():
    return ChainsTask(make_config())


@pytest.fixture(scope="session")
def problems(task):
    """Split -> its problems."""
    return {split: task.load(split) for split in task.splits}


@pytest.fixture(scope="session")
def chains():
    """Problems with all knobs wider than the default, as the generator makes them."""
    difficulty = difficulty_of(make_config(steps=(1, 6), distractors=0.6, shuffle=0.7))
    return [splits.draw_for("corpus", random.Random(f"test {i}"), difficulty) for i in range(300)]


@pytest.fixture(scope="session")
def drafts(chains):
    """As a model would write them: 100 wrong ones that go on from a slip, and 50 right ones."""
    wrong = []
    for i, chain in enumerate(chains[:100]):
        lines, _ = slip(chain, random.Random(i))
        wrong.append(corpus.Draft(chain, lines))
    return wrong + [corpus.Draft(chain, chain.solution()) for chain in chains[100:150]]
