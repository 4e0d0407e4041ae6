"""What a table of the report is: plain text cells, and how figures become text.

`document.py` lays tables out in Markdown and the page's templates in HTML. A figure that the run
does not have takes its row with it, and a line under the table says which and why; a table without
any figure is only that line.
"""

import dataclasses
from collections.abc import Sequence

from glore_jax.report.reading import Difference, Results, interval, number, told

NONE = "–"

# Why a part may be missing, by the first word of its path.
_REASONS = {
    "step_truth": "the task does not know which steps are right",
    "label_truth": "the task does not know which steps are right",
    "located_truth": "the task does not know which steps are right",
    "by_steps": "the task has no worked solutions",
    "templates": "the task has no split of unseen templates",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column names the row.

    Attributes:
      title: the heading.
      header: one text a column.
      rows: one text a column, each.
      ours: the columns of this run.
      beside: the column to compare them with (the paper's chosen one).
      our_row: the first row is this run, instead of columns.
      prose: cells are sentences.
      note: stands below, also for a table without rows.
    """

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    ours: tuple[int, ...] = ()
    _: dataclasses.KW_ONLY
    beside: int | None = None
    our_row: bool = False
    prose: bool = False
    note: str = ""


def rate(value: float | None) -> str:
    """A rate in 0..1 with three decimals; a dash if there is none."""
    return NONE if value is None else f"{value:.3f}"


def rate_at(results: Results, path: str) -> str:
    """The rate at dotted `path` as text."""
    return rate(number(results, path))


def count(value: float | None) -> str:
    """A count with thousands separated; a dash if there is none."""
    return NONE if value is None else f"{value:,.0f}"


def count_at(results: Results, path: str) -> str:
    """The count at dotted `path` as text."""
    return count(number(results, path))


def range_text(value: float | None, n: float | None) -> str:
    """Wilson's 95% interval of rate `value` over `n` questions; a dash if either is missing."""
    if value is None or not n:
        return NONE
    low, high = interval(value, n)
    return f"{low:.3f} to {high:.3f}"


def signed(value: float) -> str:
    """A difference of rates with three decimals and its sign."""
    return f"{value:+.3f}"


def gain_range(gain: Difference) -> str:
    """The ends of a gain's interval."""
    return f"{signed(gain.low)} to {signed(gain.high)}"


def gain_text(gain: Difference) -> str:
    """A gain with its interval, for a sentence or a cell."""
    return f"{signed(gain.value)} ({gain_range(gain)})"


def points(gain: Difference) -> str:
    """A gain in per cent points with its interval, for a sentence."""
    low = f"{100 * gain.low:+.1f}"
    high = f"{100 * gain.high:+.1f}"
    return f"{100 * gain.value:+.1f} points (95% interval {low} to {high})"


def side(gain: Difference) -> str:
    """Where the interval lies: above 0, below it, or around it."""
    if gain.low > 0:
        return "above 0"
    return "below 0" if gain.high < 0 else "includes 0"


def dependence(entry: Results | None) -> str:
    """What to say below intervals of single shares; empty where no question has variations.

    `entry`: a group with `n` and `stories` of the questions, or None. Begins with a space.
    """
    stories = told(entry or {})
    if stories is None:
        return ""
    return (
        " Intervals of single shares take questions as independent. These are variations of only "
        f"{count(stories)} stories, so the intervals are too narrow."
    )


def left_out(what: Sequence[str], path: str) -> str:
    """The line that says what is not shown and why."""
    reason = _REASONS.get(path.split(".")[0], f"the results hold no `{path}`")
    return f"Left out: {', '.join(what)} ({reason})."
