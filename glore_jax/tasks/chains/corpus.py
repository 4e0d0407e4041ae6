"""The pretraining corpus of the tiny base: what a pretrained language model has read before it meets the task.

Four kinds of document, each a list of (text, weight): the weight is the share of the loss that the text gets.

    facts      <<47+38=85>>85 <<85-38=47>>47 ...                     bare arithmetic
    solved     a problem and its worked solution
    marked     a problem and a solution, right or with one slip, each line marked `ok` or `no` as homework is
    corrected  a problem, a solution with one slip, "Correction:" and the right solution

Slips are made by `slips.py`, not by any model. Only training templates occur, and no text of the task's own splits: a problem
belongs to the corpus or to one split by the hash of its question (`splits.py`).
"""

import random

from glore_jax.tasks.chains import splits
from glore_jax.tasks.chains.generate import Chain, Difficulty
from glore_jax.tasks.chains.slips import slip
from glore_jax.tasks.prompts import SEPARATOR

KINDS = ("facts", "solved", "marked", "corrected")
OK, NO = " ok", " no"
Document = list[tuple[str, float]]


def document(kind: str, rng: random.Random, difficulty: Difficulty) -> Document:
    if kind == "facts":
        return _facts(rng, difficulty)
    chain = splits.draw_for("corpus", rng, difficulty)
    question = (chain.question + "\n", 0.1)
    if kind == "solved":
        return [question, (_lines(chain.solution()), 1.0)]
    if kind == "marked":
        return [question, *_marked(chain, rng)]
    lines, _ = slip(chain, rng)
    return [question, (_lines(lines) + "\n", 0.1), (SEPARATOR, 0.1), (_lines(chain.solution()), 1.0)]


def _lines(lines) -> str:
    return "\n".join(lines)


def _marked(chain: Chain, rng: random.Random) -> Document:
    """Weight on the marks; little on the lines, which may be wrong."""
    lines, first_wrong = (chain.solution(), None) if rng.random() < 0.4 else slip(chain, rng)
    parts: Document = []
    for i, line in enumerate(lines):
        mark = OK if first_wrong is None or i < first_wrong else NO
        parts += [(line, 0.1), (mark, 1.0), ("\n" if i < len(lines) - 1 else "", 0.1)]
    return parts


def _facts(rng: random.Random, d: Difficulty) -> Document:
    """Eight facts in the ranges that solutions use; a sum is followed by its difference now and then, a product by its quotient."""
    facts: list[str] = []
    while len(facts) < 8:
        op = rng.choice("++--*/")
        k = rng.randint(*(d.factor if op in "*/" else d.operand))
        top = {"+": d.max_value - k, "-": d.max_value, "*": d.max_value // k, "/": d.max_value // k}[op]
        a = rng.randint(2, max(2, top if rng.random() < 0.5 else min(top, d.operand[1])))
        if op == "+":
            pair = [(a, "+", k, a + k), (a + k, "-", k, a)]
        elif op == "-":
            a = max(a, k)
            pair = [(a, "-", k, a - k), (a - k, "+", k, a)]
        elif op == "*":
            pair = [(a, "*", k, a * k), (a * k, "/", k, a)]
        else:
            pair = [(a * k, "/", k, a), (a, "*", k, a * k)]
        facts += [f"<<{x}{o}{y}={z}>>{z}" for x, o, y, z in pair[: rng.choice((1, 1, 2))]]
    return [(" ".join(facts[:8]), 1.0)]
