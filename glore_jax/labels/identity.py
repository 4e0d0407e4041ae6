"""Random choices keyed by what is chosen, never by where it stands in a list.

A choice made with `identity_rank` does not change when records are read in another order, on
another number of machines, or beside other questions; adding a record moves no other record's rank.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def identity_rank(*ids: int | str) -> float:
    """A number in [0, 1) that depends on `ids` alone, uniform over different ids.

    To draw n of some records at random, take the n with the smallest ranks. Numpy integers count
    as integers; `1` and `"1"` are different ids.
    """
    # As JSON, so that the ids ("a", "bc") and ("ab", "c") are two texts.
    text = json.dumps(ids, default=lambda scalar: scalar.item())
    digest = hashlib.sha256(text.encode()).digest()
    # 53 bits are what a float holds exactly: the largest of them is still less than 1.
    bits = int.from_bytes(digest[:8], "big") >> 11
    return bits / 2**53


def subset(
    items: Sequence[Item], count: int, id_of: Callable[[Item], str], *purpose: int | str
) -> list[Item]:
    """`count` of `items` at random (0: all), in the order that they have.

    Whether an item is drawn depends on its id, on `purpose` (a seed and a name, say), and on the
    ranks of the others. So the same items are drawn wherever that is done, a smaller draw is part
    of a larger one, and draws for different purposes have nothing to do with each other.
    """
    if not count or count >= len(items):
        return list(items)
    ranks = [identity_rank(*purpose, id_of(item)) for item in items]
    drawn = sorted(range(len(items)), key=ranks.__getitem__)[:count]
    return [items[place] for place in sorted(drawn)]
