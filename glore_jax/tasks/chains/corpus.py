"""The pretraining corpus of the tiny base: what a pretrained language model has read before it meets the task.

Five kinds of document, each a list of (text, weight): the weight is the share of the loss that the text gets.

    facts      <<47+38=85>>85 <<85-38=47>>47 ...                     bare arithmetic
    checked    <<47+38=75>>75 / no / <<85-38=47>>47 / ok ...         bare arithmetic, right or not, with a verdict after each line
    solved     a problem and its worked solution
    marked     a problem and a solution, right or with one slip, with a verdict after each line, as a teacher goes through homework
    corrected  a problem, a solution with one slip, "Correction:" and the right solution

A verdict is a line of its own: it is predicted at the newline that ends a step, where a reward model is read. Slips are made by
`slips.py`, not by any model. Only training templates occur, and no text of the task's own splits: a problem belongs to the corpus
or to one split by the hash of its question (`splits.py`).
"""

import itertools
import random
from collections.abc import Iterator

from glore_jax.tasks.chains import splits
from glore_jax.tasks.chains.generate import Chain, Difficulty
from glore_jax.tasks.chains.slips import misread, slip
from glore_jax.tasks.prompts import SEPARATOR

KINDS = ("facts", "checked", "solved", "marked", "corrected")
OK, NO = "ok", "no"
# What cannot be foreseen (a question, a slip) still teaches the language, but most of it is chance: at 0.1 its noise drowns what
# is to be learned, such as that "X has 3 more than Y" means minus when Y is asked for.
_FAINT = 0.02
Document = list[tuple[str, float]]


def document(kind: str, rng: random.Random, difficulty: Difficulty) -> Document:
    if kind == "facts":
        return _facts(rng, difficulty)
    if kind == "checked":
        return _checked(rng, difficulty)
    chain = splits.draw_for("corpus", rng, difficulty)
    question = (chain.question + "\n", _FAINT)
    if kind == "solved":
        return [question, (_lines(chain.solution()), 1.0)]
    if kind == "marked":
        return [question, *_marked(chain, rng)]
    lines, _ = slip(chain, rng)
    return [question, (_lines(lines) + "\n", _FAINT), (SEPARATOR, _FAINT), (_lines(chain.solution()), 1.0)]


def _lines(lines) -> str:
    return "\n".join(lines)


def _verdict(line: str, good: bool, weight: float) -> Document:
    return [(line + "\n", weight), (OK if good else NO, 1.0), ("\n", _FAINT)]


def _marked(chain: Chain, rng: random.Random) -> Document:
    lines, first_wrong = (chain.solution(), None) if rng.random() < 0.3 else slip(chain, rng)
    parts: Document = []
    for i, line in enumerate(lines):
        good = first_wrong is None or i < first_wrong
        parts += _verdict(line, good, 1.0 if good else _FAINT)
    return parts


def _facts(rng: random.Random, d: Difficulty) -> Document:
    parts: Document = []
    for expression, _, result in itertools.islice(_draw_facts(rng, d), 8):
        parts += [(expression, _FAINT), (result + " ", 1.0)]
    return parts


def _checked(rng: random.Random, d: Difficulty) -> Document:
    parts: Document = []
    for expression, value, result in itertools.islice(_draw_facts(rng, d), 8):
        good = rng.random() < 0.5
        if not good:
            wrong = abs(misread(value, rng))
            result = f"{wrong}>>{wrong}"
            good = wrong == value
        parts += _verdict(expression + result, good, _FAINT)
    return parts


def _draw_facts(rng: random.Random, d: Difficulty) -> Iterator[tuple[str, int, str]]:
    """Endless (`<<a op b=`, c, `c>>c`) in the ranges that solutions use; a sum is followed by its difference now and then, a
    product by its quotient."""
    while True:
        op = rng.choice("++--**//")
        k = rng.randint(*(d.factor if op in "*/" else d.operand))
        top = {"+": d.max_value - k, "-": d.max_value, "*": d.max_value // k, "/": d.max_value // k}[op]
        a = rng.randint(2, max(2, top if rng.random() < 0.6 else min(top, d.operand[1])))
        if op == "+":
            pair = [(a, "+", k, a + k), (a + k, "-", k, a)]
        elif op == "-":
            a = max(a, k)
            pair = [(a, "-", k, a - k), (a - k, "+", k, a)]
        elif op == "*":
            pair = [(a, "*", k, a * k), (a * k, "/", k, a)]
        else:
            pair = [(a * k, "/", k, a), (a, "*", k, a * k)]
        for x, o, y, z in pair[: rng.choice((1, 1, 2))]:
            yield f"<<{x}{o}{y}=", z, f"{z}>>{z}"
