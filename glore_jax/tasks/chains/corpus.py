"""The pretraining corpus of the tiny base: what a pretrained language model has read before it meets the task.

Eight kinds of document:

    facts      <<47+38=85>>85 <<85-38=47>>47 ...           bare arithmetic
    checked    <<47+38=75>>75 <<85-38=47>>47 ...           bare arithmetic, right or not
    told       a story, all its amounts worked out in some order, and a list of who has what
    solved     a problem and its worked solution
    slipped    a problem and a solution with one slip
    corrected  a problem, a solution with or without a slip, "Correction:" and the right solution
    reviewed   a problem and a draft of the model's own
    redone     a problem, a draft of its own with [BAD] in front of it or of its first wrong line, "Correction:" and the solution

Each is a list of parts. A part says how much its text counts in the language model's loss, and whether the work is still right
where it stands: a reader of homework notices a slip where it happens, and so shall the base, which verifiers start from. Slips
are made by `slips.py`; a slip looks unlike what the model itself gets wrong, and to correct one teaches no more than to solve
the problem, so that later on it reads drafts that it wrote (`Draft`). Only training templates occur, and no text of the task's own splits: a problem belongs
to the corpus or to one split by the hash of its question (`splits.py`).
"""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from glore_jax.tasks.chains import splits
from glore_jax.tasks.chains.generate import Chain, Difficulty, render
from glore_jax.tasks.chains.slips import misread, slip
from glore_jax.tasks.chains.truth import step_truth
from glore_jax.tasks.prompts import BAD, SEPARATOR

KINDS = ("facts", "checked", "told", "solved", "slipped", "corrected")
KINDS_OF_DRAFTS = ("reviewed", "redone")
# What cannot be foreseen (a question, a slip) still teaches the language, but most of it is chance: at 0.1 its noise drowns what
# is to be learned, such as that "X has 3 more than Y" means minus when Y is asked for.
_FAINT = 0.02
# What a correction teaches is where it leaves the draft; nearly all the rest is copied.
_TURN = 10.0
_PIECE = re.compile(
    r"[0-9]| ?[A-Za-z]+|[^A-Za-z0-9]"
)  # no token of the tokenizer crosses the end of one


class Part(NamedTuple):
    text: str
    weight: float  # share of its text in the language model's loss
    # 1 where all work up to here is right, 0 after a slip, None where nothing is claimed
    right: float | None = None


Document = list[Part]


@dataclasses.dataclass(frozen=True)
class Draft:
    """What a model wrote as the solution of a problem."""

    chain: Chain
    lines: tuple[str, ...]

    @functools.cached_property
    def first_wrong(self) -> int | None:
        """Index of the first line that is not right by the strict reading, None if there is none."""
        truth = step_truth(list(self.lines), self.chain.claims, self.chain.gold, strict=True)
        return None if all(truth) else truth.index(False)


def document(kind: str, rng: random.Random, difficulty: Difficulty) -> Document:
    if kind == "facts":
        return _facts(rng, difficulty)
    if kind == "checked":
        return _checked(rng, difficulty)
    chain = splits.draw_for("corpus", rng, difficulty)
    if kind == "told":
        return _told(chain, rng)
    question, right = Part(chain.question + "\n", _FAINT), chain.solution()
    if kind == "solved":
        return [question, *_judged(right, right, None)]
    if kind == "slipped":
        return [question, *_judged(*_slipped(chain, rng))]
    draft = (right, right, None) if rng.random() < 0.15 else _slipped(chain, rng)
    return [question, *_judged(*draft), Part("\n" + SEPARATOR, _FAINT), Part("\n".join(right), 1.0)]


def of_draft(kind: str, rng: random.Random, draft: Draft) -> Document:
    """A document of `KINDS_OF_DRAFTS`. Nothing of the draft itself is to be imitated."""
    right, first_wrong = draft.chain.solution(), draft.first_wrong
    parts = [
        Part(part.text, _FAINT, part.right) for part in _judged(draft.lines, right, first_wrong)
    ]
    parts.append(Part("\n", _FAINT, parts[-1].right))
    question = Part(draft.chain.question + "\n", _FAINT)
    if kind == "reviewed":
        return [question, *parts]
    mark, text = Part(BAD, 0.0), "".join(part.text for part in parts)
    before = (
        "".join(line + "\n" for line in draft.lines[: first_wrong or 0])
        if rng.random() < 0.5
        else ""
    )
    marked = [Part(before, 0.0), mark, Part(text[len(before) :], 0.0)]
    target = (
        _corrected(right, draft.lines[first_wrong], first_wrong)
        if first_wrong is not None
        else None
    )
    return [
        question,
        *(p for p in marked if p.text),
        Part(SEPARATOR, 0.0),
        *(target or [Part("\n".join(right), 1.0)]),
    ]


def _slipped(chain: Chain, rng: random.Random) -> tuple[Sequence[str], Sequence[str], int]:
    lines, first_wrong = slip(chain, rng)
    return lines, chain.solution(), first_wrong


def _judged(lines: Sequence[str], right: Sequence[str], first_wrong: int | None) -> Document:
    """`lines` as parts: right and of full weight up to the very token at which they leave the `right` ones."""
    if first_wrong is None:
        return [Part("\n".join(lines), 1.0, 1.0)]
    expected = (
        right[first_wrong] if first_wrong < len(right) else ""
    )  # a draft may go on for too long
    good, bad = _part_ways(lines[first_wrong], expected)
    before = "".join(line + "\n" for line in lines[:first_wrong]) + good
    return [Part(before, 1.0, 1.0), Part("\n".join([bad, *lines[first_wrong + 1 :]]), _FAINT, 0.0)]


def _corrected(right: Sequence[str], wrong_line: str, index: int) -> Document:
    """The `right` lines; the token at which they leave the draft, whose line `index` is wrong, counts more than the others."""
    if index >= len(right):  # the draft went on for too long
        return [Part("\n".join(right), 1.0)]
    common, rest = _part_ways(right[index], wrong_line)
    turn = (_PIECE.match(rest) or [""])[0]
    parts = [
        Part("".join(line + "\n" for line in right[:index]) + common, 1.0),
        Part(turn, _TURN),
        Part("\n".join([rest[len(turn) :], *right[index + 1 :]]), 1.0),
    ]
    return [part for part in parts if part.text]


def _part_ways(text: str, right: str) -> tuple[str, str]:
    """`text` cut in two where its tokens begin to differ from those of `right`."""
    pairs = itertools.zip_longest(_PIECE.findall(text), _PIECE.findall(right))
    common = len("".join(a for a, _ in itertools.takewhile(lambda p: p[0] == p[1], pairs)))
    return text[:common], text[common:]


def _told(chain: Chain, rng: random.Random) -> Document:
    """Everything that the story says, worked out in random order: which amount is whose, whatever came last."""
    ready, waiting, steps = set(chain.given), list(chain.relations), []
    rng.shuffle(waiting)
    while waiting:
        step = next(s for s in waiting if all(a in ready for a in s.args if isinstance(a, str)))
        waiting.remove(step)
        ready.add(step.key)
        steps.append(step)
    asked = {s.claim for s in chain.steps if s not in chain.relations}
    claims = [claim for claim in chain.facts if claim not in asked]
    rng.shuffle(claims)
    parts = [
        Part(chain.story + "\n", _FAINT),
        Part("".join(line + "\n" for line in render(steps, chain.given)), 1.0),
    ]
    for claim in claims:
        parts += [Part(claim, _FAINT), Part(f" {chain.facts[claim]}.\n", 1.0)]
    return parts


def _facts(rng: random.Random, d: Difficulty) -> Document:
    parts: Document = []
    for expression, _, result in itertools.islice(_draw_facts(rng, d), 8):
        parts += [Part(expression, _FAINT), Part(result + " ", 1.0)]
    return parts


def _checked(rng: random.Random, d: Difficulty) -> Document:
    parts: Document = []
    for expression, value, result in itertools.islice(_draw_facts(rng, d), 8):
        parts.append(Part(expression, _FAINT))
        shown = result
        if rng.random() < 0.5:
            wrong = abs(misread(value, rng))
            shown = f"{wrong}>>{wrong}"
        good, bad = _part_ways(shown, result)
        parts += [Part(good, 1.0, 1.0), Part(bad, _FAINT, 0.0)] if bad else [Part(good, 1.0, 1.0)]
        parts.append(Part(" ", _FAINT, float(not bad)))
    return parts


def _draw_facts(rng: random.Random, d: Difficulty) -> Iterator[tuple[str, int, str]]:
    """Endless (`<<a op b=`, c, `c>>c`) in the ranges that solutions use, the sums and differences of any two amounts too; a sum is
    followed by its difference now and then, a product by its quotient."""
    while True:
        op = rng.choice("++--**//")
        if op in "+-" and rng.random() < 0.5:
            total = rng.randint(4, d.max_value if rng.random() < 0.5 else d.max_value // 3)
            a = rng.randint(2, total - 2)
            x, z = (a, total) if op == "+" else (total, a)
            yield f"<<{x}{op}{total - a}=", z, f"{z}>>{z}"
            continue
        k = rng.randint(*(d.factor if op in "*/" else d.operand))
        top = {
            "+": d.max_value - k,
            "-": d.max_value,
            "*": d.max_value // k,
            "/": d.max_value // k,
        }[op]
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
