"""The suffix clock: which column of the suffixes is written next, and which blocks that takes.

All slots write the same column at a token, the next one at the next. A slot of age `a` (tokens
written since its fork was admitted) sees the last `a` columns. Drawn for blocks of four columns,
with one slot of age 4:

                     block 0        block 1        block 2
    column 7      .  .  .  s  |  s  s  s  n  |                  2 in use, room for 1 token
    column 9      .  .  .  .  |  .  s  s  s  |  s  n  .  .      3 in use, nobody sees block 0
    rotated, 5    .  s  s  s  |  s  n  .  .  |                  2 in use, room for 3 tokens

The clock runs on the host. The device counts the column too, in `state.State.column`, because it
may end a round early; `advance` brings the two together.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Int

from glore_jax.sampling.budget import Capacity


class SuffixClock:
    """Counts columns and ages of an engine of `capacity`.

    Attributes:
      column: the column that the next token of every slot takes.
      age: int [G, F], tokens written by the fork in each slot.
      block: columns of a block.
    """

    def __init__(self, capacity: Capacity):
        self.block = capacity.block
        self.column = 0
        self.age = np.zeros((capacity.groups, capacity.slots), int)

    @property
    def blocks_in_use(self) -> int:
        """Blocks up to the one that the next token is written into, which is the last of them."""
        return self.column // self.block + 1

    def room(self, most: int) -> int:
        """How many tokens the next round may write, at most `most`: it stays in one block."""
        left = self.block - self.column % self.block
        return min(most, left)

    def oldest(self, seated: Iterable[tuple[int, int]]) -> int:
        """The greatest age among the slots (group, slot) that are `seated`; 0 if none is."""
        return max((int(self.age[slot]) for slot in seated), default=0)

    def may_rotate(self, seated: Iterable[tuple[int, int]]) -> bool:
        """Whether no `seated` slot sees the first block any more, so that it may become the last.

        A slot of age `a` sees columns from `column - a` on.
        """
        return self.column - self.oldest(seated) >= self.block

    def rotate(self) -> None:
        """Counts columns from the second block on, as the first has become the last."""
        self.column -= self.block

    def begin(self, fresh: Bool[np.ndarray, "G F"]) -> None:
        """New forks sit in the slots that are `fresh`."""
        self.age[fresh] = 0

    def advance(self, tokens: int, age: Int[np.ndarray, "G F"]) -> None:
        """A round wrote `tokens` columns and left the slots at `age`."""
        self.column += tokens
        self.age = age
