"""Which questions tell one story: problem sets are often written as variations of fewer ones.

    Jack had 5 pens and bought 7 pens more.    ┐
    Jack bought 12 pens and had 4 pens.        ┘ one story, other numbers and other order
    Each cake needs 3 eggs.                      another one

A model that has seen one of a story's variations knows most of the others.
"""

import re
from collections.abc import Sequence

import numpy as np

_WORD = re.compile(r"[^\W\d_]+")  # letters alone: numbers differ between variations


def stories_of(texts: Sequence[str], share: float) -> list[int]:
    """For each text the place of the first one of its story.

    Two texts belong together if of all words of the two at least `share` stand in both, or if a
    chain of such pairs leads from one to the other. So no two texts of different stories have as
    much in common.
    """
    words = [set(_WORD.findall(text.lower())) for text in texts]
    vocabulary = {word: i for i, word in enumerate(sorted(set().union(*words)))}
    has = np.zeros((len(texts), len(vocabulary)), np.float32)  # [text, word]
    for place, found in enumerate(words):
        has[place, [vocabulary[word] for word in found]] = 1
    in_both = has @ has.T
    size = has.sum(axis=1)
    in_either = size[:, None] + size - in_both
    belong = in_both >= share * in_either  # [text, text]
    story = np.arange(len(texts))
    while True:
        # Each text takes the lowest number among those that it belongs to, itself included.
        lowest = np.where(belong, story, len(texts)).min(axis=1, initial=len(texts))
        if (lowest == story).all():
            return story.tolist()
        story = lowest
