"""Which problems belong to which split: decided by the text of the question, so that no two splits can share one."""

import hashlib
import random

from glore_jax.tasks.chains.generate import Chain, Difficulty, draw_chain

# Of 16 buckets of the question's hash: the corpus that pretrains the base has 10, the task's splits share the rest.
BUCKETS = {
    "corpus": range(0, 10),
    "train": range(10, 13),
    "dev": range(13, 14),
    "test": range(14, 16),
    "test_templates": range(0, 16),
}
SPLITS = ("train", "dev", "test", "test_templates")


def bucket(question: str) -> int:
    return hashlib.sha256(question.encode()).digest()[0] % 16


def draw_for(split: str, rng: random.Random, difficulty: Difficulty) -> Chain:
    """One problem of `split`. `test_templates` has only held-out templates, every other split only the rest."""
    while True:
        chain = draw_chain(rng, difficulty, held_out=split == "test_templates")
        if bucket(chain.question) in BUCKETS[split]:
            return chain


def draw_split(split: str, count: int, seed: int, difficulty: Difficulty) -> list[Chain]:
    """`count` different problems; problem i depends only on (split, seed, difficulty, the problems before it)."""
    chains, seen, index = [], set(), 0
    while len(chains) < count:
        chain = draw_for(split, random.Random(f"chains {split} {seed} {index}"), difficulty)
        index += 1
        if chain.question not in seen:
            seen.add(chain.question)
            chains.append(chain)
        if index > 100 * count + 1000:
            raise ValueError(f"fewer than {count} different problems at {difficulty}")
    return chains
