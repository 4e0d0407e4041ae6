"""Which texts of one set are nearly those of another, exactly and without comparing all pairs.

Two texts are alike by the share of their words, numbers among them, that stand in both. Of two
texts that share at least `share`, the rarest words decide where to look:

    words of a text, the rarest first    w1 w2 w3 w4 w5 w6 w7 w8 w9 w10
    share = .8: one of these is shared   ^^^^^^^^
"""

import collections
import math
import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W\d_]+|[0-9]+(?:[.,][0-9]+)*")


def nearest(
    texts: Sequence[str], others: Sequence[str], share: float
) -> list[tuple[int, float] | None]:
    """For each text (the place of the most similar one of `others`, the share of words that stand
    in both); None if none shares as much as `share`, from above 0 to 1.

    Of equals the first counts. A text without words is like none.
    """
    ours = [frozenset(_words(text)) for text in texts]
    theirs = [frozenset(_words(text)) for text in others]
    frequency = collections.Counter(word for words in theirs for word in words)
    holding: dict[str, list[int]] = collections.defaultdict(list)  # rare word -> places in `others`
    for place, words in enumerate(theirs):
        for word in _rarest(words, frequency, share):
            holding[word].append(place)

    def best(words: frozenset[str]) -> tuple[int, float] | None:
        looked_at = {p for word in _rarest(words, frequency, share) for p in holding.get(word, ())}
        found = None
        for place in sorted(looked_at):
            other = theirs[place]
            in_both = len(words & other)
            likeness = in_both / (len(words) + len(other) - in_both)
            if likeness >= share and (found is None or likeness > found[1]):
                found = (place, likeness)
        return found

    return [best(words) for words in ours]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _rarest(words: frozenset[str], frequency: collections.Counter, share: float) -> list[str]:
    """The rarest words of a text, one of which stands in every text that shares enough with it.

    Such a text has at least `share` of its words: without the first n - ceil(share n) + 1 too few
    are left.
    """
    in_order = sorted(words, key=lambda word: (frequency[word], word))
    # The slack keeps rounding from leaving one out.
    return in_order[: len(words) - math.ceil(share * len(words) - 1e-9) + 1]
