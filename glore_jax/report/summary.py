"""The result for a terminal: in words, then aligned lines with the paper's column beside ours."""

import dataclasses

from glore_jax.report import headline, paper
from glore_jax.report.reading import Results, difference_at, number, stage_seconds
from glore_jax.report.table import NONE, count, count_at, gain_text, rate


@dataclasses.dataclass(frozen=True)
class Line:
    """Figures that stand on one line: the paths of one or more rates and of their common count.

    `source` has the paper's figures for the same paths, where it has any. `gain`: the only path is
    that of a difference with its interval.
    """

    label: str
    paths: tuple[str, ...]
    n: str
    source: paper.PaperTable | None = None
    gain: bool = False


def _rates(group: str, *keys: str) -> tuple[str, ...]:
    return tuple(f"{group}.{key}" for key in keys)


_WIDTH = 98  # of a line

_LINES = (
    Line("Draft (greedy)", ("draft.acc",), "draft.n", paper.TABLE_5),
    Line("System", ("pipeline.rerank.acc",), "pipeline.rerank.n", paper.FIGURE_6),
    Line("Best of 3 samples", ("pipeline.bo3.acc",), "pipeline.bo3.n", paper.FIGURE_6),
    Line("Oracle choice", ("pipeline.oracle.acc",), "pipeline.oracle.n", paper.FIGURE_6),
    Line(
        "Fix rate: global / local / union",
        _rates("refine", "global.fix_rate", "local_sorm.fix_rate", "union_sorm.fix_rate"),
        "refine.global.n_wrong",
        paper.TABLE_3,
    ),
    Line(
        "  of the untrained base: global / local",
        _rates("refine", "base_global.fix_rate", "base_local.fix_rate"),
        "refine.base_global.n_wrong",
    ),
    Line(
        "Break rate: global / local",
        _rates("refine", "global.break_rate", "local_sorm.break_rate"),
        "refine.global.n_right",
    ),
    Line(
        "Steps: ORM / SORM / majority",
        _rates("step", "orm.acc", "sorm.acc", "sorm.majority"),
        "step.sorm.n",
        paper.TABLE_1,
    ),
    Line(
        "  against the truth",
        _rates("step_truth", "orm.acc", "sorm.acc", "sorm.majority"),
        "step_truth.sorm.n",
    ),
    Line(
        "First error found: ORM / SORM",
        _rates("located_truth", "orm.found", "sorm.found"),
        "located_truth.sorm.n_wrong",
    ),
    Line(
        "Final answers: ORM / SORM / majority",
        _rates("final", "orm.acc", "sorm.acc", "orm.majority"),
        "final.orm.n",
        paper.TABLE_2,
    ),
    Line(
        "Within pair: ORM / SORM / log-lik.",
        _rates("scorer", "orm.within_pair", "sorm.within_pair", "loglik.within_pair"),
        "scorer.orm.n",
    ),
    Line(
        "Labels of wrong drafts / first error",
        _rates("label_truth", "wrong_acc", "first_error_acc"),
        "label_truth.errors",
    ),
    Line(
        "  of the test drafts",
        _rates("label_truth_test", "wrong_acc", "first_error_acc"),
        "label_truth_test.errors",
    ),
    Line(
        "Unseen templates: draft / system",
        _rates("templates", "draft", "rerank"),
        "templates.n",
    ),
    Line(
        "  system − draft, 95% interval",
        ("templates.rerank_over_draft",),
        "templates.rerank_over_draft.n",
        gain=True,
    ),
)


def summary(results: Results) -> str:
    """The result in words, then aligned lines: what came out, its count, the paper's column.

    No final newline.
    """
    column = paper.column(results)
    rows = [("", "this run", "n", f"paper, {column}")]
    for line in _LINES:
        if line.gain and (gain := difference_at(results, line.paths[0])):
            rows.append((line.label, gain_text(gain), count(gain.n), ""))
        elif any(number(results, path) is not None for path in line.paths):
            rows.append(_cells(results, line, column))
    # Names to the left; figures end, and counts end, in one column each.
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = [headline.text(results, _WIDTH), ""]
    for name, ours, n, theirs in rows:
        text = f"{name:<{widths[0]}}  {ours:>{widths[1]}}  {n:>{widths[2]}}  {theirs}"
        lines.append(text.rstrip())
    if stages := stage_seconds(results):
        parts = [f"{name} {value:,.0f}" for name, value in stages.items()]
        lines.append(f"Seconds: {', '.join(parts)}; in all {sum(stages.values()):,.0f}")
    return "\n".join(lines)


def _cells(results: Results, line: Line, column: str) -> tuple[str, str, str, str]:
    """(name, our figures, their count, the paper's figures or nothing)."""
    ours = " / ".join(rate(number(results, path)) for path in line.paths)
    theirs = [line.source.text(path, column) for path in line.paths] if line.source else []
    beside = " / ".join(theirs) if any(text != NONE for text in theirs) else ""
    return line.label, ours, count_at(results, line.n), beside
