"""The pretraining corpus of the tiny base: what a language model has read before it meets the task.

Eight kinds of document:

    facts      <<47+38=85>>85 <<85-38=47>>47 ...           bare arithmetic
    checked    <<47+38=75>>75 <<85-38=47>>47 ...           bare arithmetic, right or not
    told       a story, all its amounts worked out in some order, and a list of who has what
    solved     a problem and its worked solution
    slipped    a problem and a solution with one slip
    corrected  a problem, a solution with or without a slip, "Correction:" and the right solution
    reviewed   a problem and a draft of the model's own
    redone     a problem, a draft of its own with [BAD] in front of it or of its first wrong line,
               "Correction:" and the solution

Each is a list of parts. A part says how much its text counts in the language model's loss, and
whether the work is still right where it stands: a reader of homework notices a slip where it
happens, and so shall the base, which verifiers start from. Slips are made by `slips.py`; a slip
looks unlike what the model itself gets wrong, and to correct one teaches no more than to solve the
problem, so that later on it reads drafts that it wrote (`Draft`). Only training templates occur,
and no text of the task's own splits: a problem belongs to the corpus or to one split by the hash of
its question (`splits.py`).

The order in which numbers are drawn decides which document a seed stands for: do not change it.
"""

import dataclasses
import functools
import itertools
import random
import re
from collections.abc import Sequence
from typing import NamedTuple

from glore_jax.tasks.chains import arithmetic, splits
from glore_jax.tasks.chains.chain import Chain, Step, render
from glore_jax.tasks.chains.difficulty import Difficulty
from glore_jax.tasks.chains.slips import slip
from glore_jax.tasks.chains.truth import step_truth
from glore_jax.tasks.prompts import BAD, SEPARATOR

KINDS = ("facts", "checked", "told", "solved", "slipped", "corrected")
KINDS_OF_DRAFTS = ("reviewed", "redone")
# What cannot be foreseen (a question, a slip) still teaches the language, but most of it is chance:
# at 0.1 its noise drowns what is to be learned, such as that "X has 3 more than Y" means minus when
# Y is asked for.
_FAINT = 0.02
# What a correction teaches is where it leaves the draft; nearly all the rest is copied.
_TURN = 10.0
_FACTS = 8  # in a document of bare arithmetic
# No token of the tokenizer crosses the end of such a piece.
_PIECE = re.compile(r"[0-9]| ?[A-Za-z]+|[^A-Za-z0-9]")


class Part(NamedTuple):
    """A stretch of a document.

    Attributes:
      text: what it says.
      weight: how much its text counts in the language model's loss.
      right: 1 where all work up to here is right, 0 after a slip, None where nothing is claimed.
    """

    text: str
    weight: float
    right: float | None = None


Document = list[Part]


@dataclasses.dataclass(frozen=True)
class Draft:
    """What a model wrote as the solution of a problem."""

    chain: Chain
    lines: tuple[str, ...]

    @functools.cached_property
    def first_wrong(self) -> int | None:
        """Index of the first line that is not right by the strict reading, None if all are."""
        truth = step_truth(self.lines, self.chain.claims, self.chain.gold, strict=True)
        return None if all(truth) else truth.index(False)


def document(kind: str, rng: random.Random, difficulty: Difficulty) -> Document:
    """A document of `KINDS`, a function of what is drawn from `rng`."""
    if kind == "facts":
        return _facts(rng, difficulty)
    if kind == "checked":
        return _checked(rng, difficulty)
    chain = splits.draw_for("corpus", rng, difficulty)
    if kind == "told":
        return _told(chain, rng)
    right = chain.solution()
    question = Part(chain.question + "\n", _FAINT)
    if kind == "solved":
        return [question, *_judged(right, right, None)]
    if kind == "slipped":
        lines, first_wrong = slip(chain, rng)
        return [question, *_judged(lines, right, first_wrong)]
    return [question, *_corrected(chain, right, rng)]


def of_draft(kind: str, rng: random.Random, draft: Draft) -> Document:
    """A document of `KINDS_OF_DRAFTS`. Nothing of the draft itself is to be imitated."""
    question = Part(draft.chain.question + "\n", _FAINT)
    if kind == "reviewed":
        return [question, *_reviewed(draft)]
    return [question, *_redone(draft, rng)]


# Bare arithmetic


def _facts(rng: random.Random, difficulty: Difficulty) -> Document:
    parts: Document = []
    for fact in itertools.islice(arithmetic.draw_facts(rng, difficulty), _FACTS):
        parts.append(Part(fact.asked, _FAINT))
        parts.append(Part(fact.answered + " ", 1.0))
    return parts


def _checked(rng: random.Random, difficulty: Difficulty) -> Document:
    """Every other fact is wrong; each is judged by itself."""
    parts: Document = []
    for fact in itertools.islice(arithmetic.draw_facts(rng, difficulty), _FACTS):
        parts.append(Part(fact.asked, _FAINT))
        shown = fact.answered
        if rng.random() < 0.5:
            wrong = abs(arithmetic.misread(fact.value, rng))
            shown = arithmetic.answered(wrong)
        good, bad = _part_ways(shown, fact.answered)
        parts.append(Part(good, 1.0, 1.0))
        if bad:
            parts.append(Part(bad, _FAINT, 0.0))
        parts.append(Part(" ", _FAINT, 0.0 if bad else 1.0))
    return parts


# Problems of the corpus


def _told(chain: Chain, rng: random.Random) -> Document:
    """Everything the story says, worked out in random order: which is whose, whatever came last."""
    steps = _in_some_order(chain, rng)
    asked = {step.claim for step in chain.steps if step not in chain.relations}
    claims = [claim for claim in chain.facts if claim not in asked]
    rng.shuffle(claims)
    lines = render(steps, chain.given)
    parts = [
        Part(chain.story + "\n", _FAINT),
        Part(_closed(lines), 1.0),
    ]
    for claim in claims:
        parts.append(Part(claim, _FAINT))
        parts.append(Part(f" {chain.facts[claim]}.\n", 1.0))
    return parts


def _in_some_order(chain: Chain, rng: random.Random) -> list[Step]:
    """The steps to all amounts of the story, shuffled as far as one does not need another."""
    known = set(chain.given)
    waiting = list(chain.relations)
    rng.shuffle(waiting)
    steps = []
    while waiting:
        step = next(step for step in waiting if known.issuperset(step.needs))
        waiting.remove(step)
        known.add(step.key)
        steps.append(step)
    return steps


def _corrected(chain: Chain, right: Sequence[str], rng: random.Random) -> Document:
    if rng.random() < 0.15:  # now and then nothing is to be corrected
        draft = _judged(right, right, None)
    else:
        lines, first_wrong = slip(chain, rng)
        draft = _judged(lines, right, first_wrong)
    return [*draft, Part("\n" + SEPARATOR, _FAINT), Part("\n".join(right), 1.0)]


# Drafts that the model wrote


def _reviewed(draft: Draft) -> Document:
    """The draft, judged line by line but faint, closed by a newline."""
    judged = _judged(draft.lines, draft.chain.solution(), draft.first_wrong)
    parts = [Part(part.text, _FAINT, part.right) for part in judged]
    return [*parts, Part("\n", _FAINT, parts[-1].right)]


def _redone(draft: Draft, rng: random.Random) -> Document:
    """The draft with a mark, as a refiner gets it, and the solution."""
    right = draft.chain.solution()
    first_wrong = draft.first_wrong
    # Marked in front of its first wrong line, as a local refiner gets it, or at its start.
    before = _closed(draft.lines[: first_wrong or 0]) if rng.random() < 0.5 else ""
    after = ("\n".join(draft.lines) + "\n").removeprefix(before)
    marked = [Part(before, 0.0), Part(BAD, 0.0), Part(after, 0.0)]
    if first_wrong is None:
        target = [Part("\n".join(right), 1.0)]
    else:
        target = _turning(right, draft.lines[first_wrong], first_wrong)
    return [*_not_empty(marked), Part(SEPARATOR, 0.0), *target]


def _turning(right: Sequence[str], wrong_line: str, index: int) -> Document:
    """The `right` lines, of which the token where they leave the draft counts most.

    `wrong_line`: the draft's first wrong line, its line `index`.
    """
    if index >= len(right):  # the draft went on for too long
        return [Part("\n".join(right), 1.0)]
    common, rest = _part_ways(right[index], wrong_line)
    piece = _PIECE.match(rest)
    turn = piece[0] if piece else ""
    parts = [
        Part(_closed(right[:index]) + common, 1.0),
        Part(turn, _TURN),
        Part("\n".join([rest.removeprefix(turn), *right[index + 1 :]]), 1.0),
    ]
    return _not_empty(parts)


# Text in parts


def _judged(lines: Sequence[str], right: Sequence[str], first_wrong: int | None) -> Document:
    """`lines` as parts, right and of full weight up to the token at which they leave `right`.

    `first_wrong`: index of the first line that is wrong, None if there is none.
    """
    if first_wrong is None:
        return [Part("\n".join(lines), 1.0, 1.0)]
    # A draft may go on for too long: then its next line has no right one beside it.
    expected = right[first_wrong] if first_wrong < len(right) else ""
    good, bad = _part_ways(lines[first_wrong], expected)
    before = _closed(lines[:first_wrong]) + good
    after = "\n".join([bad, *lines[first_wrong + 1 :]])
    return [Part(before, 1.0, 1.0), Part(after, _FAINT, 0.0)]


def _part_ways(text: str, other: str) -> tuple[str, str]:
    """`text` cut in two where its tokens begin to differ from those of `other`."""
    pairs = itertools.zip_longest(_PIECE.findall(text), _PIECE.findall(other))
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)
    common = len("".join(piece for piece, _ in same))
    return text[:common], text[common:]


def _closed(lines: Sequence[str]) -> str:
    """The lines, each with its newline."""
    return "".join(line + "\n" for line in lines)


def _not_empty(parts: Document) -> Document:
    return [part for part in parts if part.text]
