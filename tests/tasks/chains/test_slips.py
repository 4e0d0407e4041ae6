"""Solutions with one slip."""

import random

from glore_jax.tasks.chains.chain import to_problem
from glore_jax.tasks.chains.slips import slip


def test_slips_are_found_at_their_step(task, chains):
    where, early = set(), 0
    for i, chain in enumerate(chains):
        problem, right = to_problem(chain, "corpus", i), chain.solution()
        lines, at = slip(chain, random.Random(i))
        assert lines[:at] == right[:at] and lines[at] != right[at] and lines[-1].startswith("#### ")
        truth = task.step_truth(problem, lines, strict=True)
        assert truth == [True] * at + [False] * (len(lines) - at), lines
        where.add(at)
        early += len(lines) < len(right)
        assert len(lines) in (at + 1, len(right))  # an answer before its time ends the solution
    assert where >= {0, 1, 2, 3} and 10 < early < 60
