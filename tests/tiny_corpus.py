"""A little of the corpus of the tiny base: easy problems, some documents of each kind."""

import random

from ml_collections import ConfigDict

from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.difficulty import difficulty_of

DIFFICULTY = ConfigDict(
    dict(
        steps=(1, 3),
        operand=(3, 99),
        factor=(2, 9),
        max_value=999,
        distractors=0.4,
        shuffle=0.25,
        branch=0.5,
    )
)


def documents() -> list[str]:
    difficulty = difficulty_of(DIFFICULTY)
    return [
        "".join(part.text for part in corpus.document(kind, random.Random(i), difficulty))
        for kind in corpus.KINDS
        for i in range(60)
    ]
