"""What the report says in which order, and its Markdown form. `page.py` gives the same sections as HTML."""

import dataclasses
from collections.abc import Mapping

from glore_jax.report import paper, plots, tables
from glore_jax.report.figures import at, number
from glore_jax.report.tables import Table


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with a few words, then plots (by their name in `plots.PLOTS`) and tables."""

    anchor: str
    title: str
    lead: str
    plots: tuple[str, ...]
    tables: tuple[Table, ...]


def title(results: Mapping) -> str:
    """The report's heading."""
    return f"GLoRe report: {results.get('name') or 'unnamed run'}"


def about(results: Mapping) -> str:
    """What was run, and what stands beside it."""
    parts = [f"Task {results['task']}"] if results.get("task") else []
    if base := at(results, "model.base"):
        parameters = number(results, "model.parameters")
        parts.append(f"base {base}" + (f" ({parameters:,.0f} parameters)" if parameters else ""))
    text = ", ".join(parts) + ". " if parts else ""
    text += (
        "Columns named after GSM8K and SVAMP are the paper's (arXiv 2402.10963): ≈ marks what was read off its charts, "
        "a dash that there is no such number. "
    )
    column = paper.column(results)
    if results.get("paper_column"):
        return text + f"This run compares with {column}."
    return text + f"None of them is this task; {column} stands beside for orientation."


def headline(results: Mapping) -> str:
    """The result in one sentence or two; a line that says why if there is none."""
    draft, n = number(results, "draft.acc"), number(results, "draft.n")
    if draft is None:
        return tables.left_out(["result"], "draft")
    over = f"{n:,.0f} test questions" if n else "the test questions"
    text = f"Of {over}, the student's greedy draft solves {draft:.1%}."
    rerank = number(results, "pipeline.rerank.acc")
    if rerank is None:
        return text
    gain = f"{100 * (rerank - draft):+.1f} points"
    text += f" Choosing among draft, global and local refinement by ORM score solves {rerank:.1%} ({gain})."
    if (bo3 := number(results, "pipeline.bo3.acc")) is not None:
        text += f" The best of three samples by ORM score solves {bo3:.1%}."
    if (oracle := number(results, "pipeline.oracle.acc")) is not None:
        text += f" An oracle choice among the three would solve {oracle:.1%}."
    return text


def _draft_facts(results: Mapping) -> str:
    facts = []
    if (steps := number(results, "draft.steps_mean")) is not None:
        facts.append(f"A draft has {steps:.1f} steps on average")
    if (truncated := number(results, "draft.truncated")) is not None:
        facts.append(
            f"{truncated:,.0f} of {tables.count(number(results, 'draft.n'))} were cut off at the length limit"
        )
    return "; ".join(facts) + "." if facts else ""


def sections(results: Mapping) -> list[Section]:
    """The report's sections in the order of the pipeline, after the result."""
    return [
        Section("result", "Result", headline(results), ("pipeline",), (tables.figure_6(results),)),
        Section(
            "student",
            "Student",
            f"The student writes the drafts that the rest works on. {_draft_facts(results)}".strip(),
            ("rerank", "first_error"),
            (tables.table_5(results), tables.rounds(results), tables.figure_4(results)),
        ),
        Section(
            "reward-models",
            "Reward models",
            "The ORM judges whole solutions (when to refine, which to choose); the SORM finds the first wrong step "
            "(where to refine).",
            ("reliability", "scores", "label_rate"),
            (
                tables.table_1(results),
                tables.step_scores(results),
                tables.label_truth(results),
                tables.table_2(results),
                tables.within_pair(results),
            ),
        ),
        Section(
            "refinement",
            "Refinement",
            "Global refinement starts again; local refinement keeps the steps before E, the first wrong step. "
            "A union counts a draft as fixed if either does it.",
            ("refinement",),
            (tables.table_3(results), tables.breaks(results), tables.figure_5(results)),
        ),
        Section("templates", "Unseen templates", "", (), (tables.templates(results),)),
        Section("cost", "Cost", "", (), (tables.cost(results),)),
    ]


def _markdown_table(table: Table, heading: bool) -> list[str]:
    lines = [f"### {table.title}", ""] if heading else []
    if table.rows:
        cells = [list(table.header), *map(list, table.rows)]
        if table.beside is not None:  # the column to compare with stands out
            for row in cells:
                row[table.beside] = f"**{row[table.beside]}**"
        cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
        widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(table.header))]
        rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
        for row in (cells[0], rule, *cells[1:]):
            padded = [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
            lines.append(f"| {' | '.join(padded)} |")
        lines.append("")
    if table.note:
        lines += [table.note, ""]
    return lines


def markdown(results: Mapping) -> str:
    """The report as Markdown. Plots are linked as `plots/NAME.png` beside it."""
    lines = [f"# {title(results)}", "", about(results), ""]
    for section in sections(results):
        lines += [f"## {section.title}", ""]
        lines += [section.lead, ""] if section.lead else []
        for name in section.plots:
            reason = plots.missing(name, results)
            plot = plots.PLOTS[name]
            lines += (
                [reason, ""]
                if reason
                else [f"![{plot.title}](plots/{name}.png)", "", plot.caption, ""]
            )
        for table in section.tables:
            lines += _markdown_table(table, heading=table.title != section.title)
    return "\n".join(lines)
