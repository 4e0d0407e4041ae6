"""The table of docs/reliability.md, from the outcomes of the campaign."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.fault_kinds import Kind
    from benchmarks.faults import Outcome

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "reliability.md"
MARKS = ("<!-- table -->", "<!-- end -->")
COLUMNS = ("fault", "where", "times", "survived", "lost", "doubled", "changed", "hung")


def markdown(kinds: Sequence[Kind], outcomes: Sequence[Outcome]) -> str:
    """The table; a run with several kinds of faults counts for each of them."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("jax", "gcsfs"))
    lines = [
        "| " + " | ".join(COLUMNS) + " |",
        "|---" * len(COLUMNS) + "|",
        *(_row(kind, outcomes) for kind in kinds),
        "",
        f"{len(outcomes)} runs, {sum(o.turns for o in outcomes)} starts of the command, "
        f"{sum(o.seconds for o in outcomes) / 60:.0f} minutes; {versions}.",
    ]
    return "\n".join(lines)


def _row(kind: Kind, outcomes: Sequence[Outcome]) -> str:
    struck = [outcome for outcome in outcomes if outcome.faults.get(kind.name)]
    times = sum(outcome.faults[kind.name] for outcome in struck)
    survived = sum(outcome.faults[kind.name] for outcome in struck if outcome.clean)
    sums = [
        sum(getattr(o, field) for o in struck) for field in ("lost", "doubled", "changed", "hung")
    ]
    cells = [kind.name, str(kind.setting), times, survived, *sums]
    return "| " + " | ".join(map(str, cells)) + " |"


def write(table: str) -> None:
    """Puts `table` between the marks of the page."""
    before, rest = PAGE.read_text().split(MARKS[0])
    _, after = rest.split(MARKS[1])
    PAGE.write_text(f"{before}{MARKS[0]}\n{table}\n{MARKS[1]}{after}")
