"""What the system makes of a question, and how a terminal shows it."""

import dataclasses

_WIDTH = 10  # least characters of the left column


@dataclasses.dataclass(frozen=True)
class Solved:
    """What the system makes of a question.

    Attributes:
      question: its text.
      sorm: the SORM's probability of each step of the draft.
      bad: the step of the draft that is flagged, from 0; -1 if none is.
      texts: the steps of each candidate: "draft", "global", "local" and what the config adds.
      scores: the ORM's probability of each of these.
      choice: the name of the best.
      answer: the final answer of that one, None if it has none.
    """

    question: str
    sorm: list[float]
    bad: int
    texts: dict[str, list[str]]
    scores: dict[str, float]
    choice: str
    answer: str | None


def show(solved: Solved) -> str:
    """What the terminal shows: each text with its scores, and the answer."""
    lines = [f"question  {solved.question}", ""]
    width = max(_WIDTH, *(len(name) + 1 for name in solved.texts))
    for name in solved.texts:
        lines += _show_text(solved, name, width)
    answer = "none" if solved.answer is None else solved.answer
    return "\n".join([*lines, f"answer    {answer}"])


def _show_text(solved: Solved, name: str, width: int) -> list[str]:
    heading = f"{name:<{width}}ORM {solved.scores[name]:.2f}"
    if name == solved.choice:
        heading += " <- chosen"
    if name == "local" and solved.bad < 0:
        return [heading + " (no step is flagged: the draft itself)"]
    lines = [heading]
    for i, step in enumerate(solved.texts[name]):
        # Only the steps of the draft have scores of their own, and a flag.
        score = f"{solved.sorm[i]:.2f}" if name == "draft" else "    "
        flag = "[BAD] " if name == "draft" and i == solved.bad else ""
        lines.append(f"    {score}  {flag}{step}")
    return [*lines, ""]
