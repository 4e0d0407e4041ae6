"""Worked examples: what happened to one question, and what the page shows of it.

Whatever is text here goes to the template as it is; the template escapes it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TypedDict

from glore_jax.report.table import NONE


class Other(TypedDict):
    """Another solution than the draft: its steps, and whether its answer is right."""

    steps: Sequence[str]
    correct: bool | None


class WorkedExample(TypedDict, total=False):
    """One example as `evaluate/examples.jsonl` holds it.

    Fields:
      question_id, question, gold: the problem: its name, its text, its right answer.
      draft, draft_correct: steps of the student's greedy solution, and whether it is right.
      truth: by step of the draft; None where the task does not know.
      orm, sorm: scores by step of the draft.
      bad: step before which the local refiner sees [BAD]; None: nothing flagged.
      others: by name the other candidates: global, local, ...
      scores: by name the ORM's score of the draft and the others.
      choice, choice_correct: name of the system's choice, and whether it is right.
    """

    question_id: str
    question: str
    gold: str
    draft: Sequence[str]
    draft_correct: bool
    truth: Sequence[int | bool] | None
    orm: Sequence[float] | None
    sorm: Sequence[float] | None
    bad: int | None
    others: Mapping[str, Other]
    scores: Mapping[str, float | None]
    choice: str
    choice_correct: bool


# The page's filters: kind of example, and the name of its button.
FILTERS = {"all": "All", "fixed": "Fixed", "broken": "Broken", "wrong": "Choice wrong"}

_NAMES = {
    "draft": "Draft",
    "global": "Global refinement",
    "local": "Local refinement",
    "local_2": "Local refinement at the next suspect",
}

# Steps take the colour of their score: orange below one half, blue above, stronger further away.
LOW = "213,94,0"
HIGH = "0,114,178"


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the draft. `truth` is a word, or empty if the example knows no truth at all."""

    text: str
    sorm: str
    orm: str
    truth: str
    tip: str
    style: str
    flagged: bool  # [BAD] stands before it


@dataclasses.dataclass(frozen=True)
class Solution:
    """One of the solutions: its verdict (right, wrong, or empty), ORM score and choice."""

    name: str
    verdict: str
    chosen: bool
    orm: str
    percent: str  # the same score as a width, empty without one


@dataclasses.dataclass(frozen=True)
class Refined:
    """Another solution: its steps, each with whether the draft has the same at the same place."""

    solution: Solution
    steps: tuple[tuple[str, bool], ...]


@dataclasses.dataclass(frozen=True)
class Card:
    """One example as the page shows it."""

    name: str
    kinds: str
    outcome: str
    question: str
    gold: str
    draft: Solution
    steps: tuple[Step, ...]
    knows_truth: bool
    flagged: bool
    refined: tuple[Refined, ...]


def outcome(example: WorkedExample) -> tuple[str, str]:
    """(kinds, sentence): the filters that `example` belongs to, space-separated, and what
    happened in it."""
    draft = bool(example.get("draft_correct"))
    choice = bool(example.get("choice_correct"))
    if draft and choice:
        return "", "Kept: draft and choice are right"
    if choice:
        return "fixed", "Fixed: the draft is wrong, the choice right"
    if draft:
        return "broken wrong", "Broken: the draft is right, the choice wrong"
    if any(other["correct"] for other in example.get("others", {}).values()):
        return "wrong", "Missed: a right solution was there, another one was chosen"
    return "wrong", "Unsolved: no solution is right"


def filter_counts(examples: Sequence[WorkedExample]) -> dict[str, int]:
    """By filter, how many of `examples` it shows."""
    kinds = [outcome(example)[0].split() for example in examples]
    counts = {key: sum(key in kind for kind in kinds) for key in FILTERS}
    return counts | {"all": len(examples)}


def card(example: WorkedExample, index: int) -> Card:
    """What the page shows of `example`, the one at place `index` from 1."""
    kinds, sentence = outcome(example)
    draft = example.get("draft") or ()
    refined = [
        Refined(_solution(example, name, other["correct"]), _marked(other["steps"], draft))
        for name, other in example.get("others", {}).items()
    ]
    return Card(
        name=example.get("question_id", str(index)),
        kinds=kinds,
        outcome=sentence,
        question=example.get("question", ""),
        gold=example.get("gold", NONE),
        draft=_solution(example, "draft", example.get("draft_correct")),
        steps=tuple(_step(example, i, text) for i, text in enumerate(draft)),
        knows_truth=example.get("truth") is not None,
        flagged=example.get("bad") is not None,
        refined=tuple(refined),
    )


def _marked(steps: Sequence[str], draft: Sequence[str]) -> tuple[tuple[str, bool], ...]:
    """(step, whether the draft has it at the same place) for each of `steps`."""
    return tuple((step, i < len(draft) and draft[i] == step) for i, step in enumerate(steps))


def _solution(example: WorkedExample, kind: str, right: bool | None) -> Solution:
    score = _finite((example.get("scores") or {}).get(kind))
    percent = "" if score is None else f"{100 * min(max(score, 0), 1):.0f}"
    return Solution(
        name=_NAMES.get(kind, kind.replace("_", " ").capitalize()),
        verdict="" if right is None else _word(right),
        chosen=example.get("choice") == kind,
        orm=_two(score),
        percent=percent,
    )


def _step(example: WorkedExample, i: int, text: str) -> Step:
    """Step `i` of the draft in the colour of its SORM score."""
    sorm = _entry(example.get("sorm"), i)
    orm = _entry(example.get("orm"), i)
    truth = example.get("truth")
    known = truth[i] if truth is not None and i < len(truth) else None
    tip = f"Step {i + 1}: SORM {_two(sorm)}, ORM {_two(orm)}"
    if known is not None:
        tip += f", truly {_word(known)}"
    word = NONE if known is None else _word(known)
    return Step(
        text=text,
        sorm=_two(sorm),
        orm=_two(orm),
        truth="" if truth is None else word,
        tip=tip,
        style="" if sorm is None else _colours(sorm),
        flagged=example.get("bad") == i,
    )


def _colours(score: float) -> str:
    """The CSS variables of a step with `score`: a tint behind its text and a stronger edge."""
    hue = LOW if score < 0.5 else HIGH
    weight = abs(2 * score - 1)  # 0 at one half, where the score says nothing; 1 at either end
    tint = f"rgba({hue},{0.34 * weight:.3f})"
    edge = f"rgba({hue},{0.15 + 0.85 * weight:.3f})"
    return f"--tint:{tint};--edge:{edge}"


def _word(right: object) -> str:
    return "right" if right else "wrong"


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _entry(scores: Sequence[float] | None, i: int) -> float | None:
    """Entry `i` of `scores`, None where there is none."""
    return _finite(scores[i]) if scores is not None and i < len(scores) else None


def _two(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f}"
