"""Random choices keyed by what is chosen, never by where it stands in a list.

A choice made with `identity_rank` does not change when records are read in another order, on
another number of machines, or beside other questions; adding a record moves no other record's rank.
"""

import hashlib
import json


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
