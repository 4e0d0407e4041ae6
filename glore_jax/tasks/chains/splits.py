"""Which problems belong to which split.

The text of the question decides, so that no two splits can share one. Its hash falls into a bucket:

    bucket    0 ..... 9    10 11 12    13     14 15
    split     corpus       train       dev    test

The corpus is what pretrains the packaged base. `test_templates` takes all buckets: its templates
occur in no other split.
"""

import hashlib
import random

from glore_jax.errors import UserError
from glore_jax.tasks.chains.chain import Chain
from glore_jax.tasks.chains.difficulty import Difficulty
from glore_jax.tasks.chains.generate import draw_chain

BUCKETS = {
    "corpus": range(0, 10),
    "train": range(10, 13),
    "dev": range(13, 14),
    "test": range(14, 16),
    "test_templates": range(0, 16),
}
SPLITS = ("train", "dev", "test", "test_templates")


def bucket(question: str) -> int:
    """0 to 15, from the question's text alone."""
    return hashlib.sha256(question.encode()).digest()[0] % 16


def draw_for(split: str, rng: random.Random, difficulty: Difficulty) -> Chain:
    """One problem of `split`, or of "corpus".

    `test_templates` has only held-out templates, every other split only the rest.
    """
    while True:
        chain = draw_chain(rng, difficulty, held_out=split == "test_templates")
        if bucket(chain.question) in BUCKETS[split]:
            return chain


def draw_split(split: str, count: int, seed: int, difficulty: Difficulty) -> list[Chain]:
    """`count` different problems.

    Problem i depends only on (split, seed, difficulty, the problems before it), so that a larger
    split begins with a smaller one. UserError if there are not that many.
    """
    chains: list[Chain] = []
    seen: set[str] = set()
    index = 0
    while len(chains) < count:
        chain = draw_for(split, random.Random(f"chains {split} {seed} {index}"), difficulty)
        index += 1
        if chain.question not in seen:
            seen.add(chain.question)
            chains.append(chain)
        if index > 100 * count + 1000:
            raise UserError(
                f"{split} has no {count} different problems at this difficulty, {len(chains)} were "
                "found: lower config.task.size, or raise config.task.steps"
            )
    return chains
