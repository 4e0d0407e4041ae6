"""What the report says in which order, and its Markdown form. `page.py` gives the same sections as
HTML."""

import dataclasses

from glore_jax.report import paper, paper_tables, plots, run_tables
from glore_jax.report.reading import Results, at, number
from glore_jax.report.table import Table, count_at, left_out


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading with a few words, then plots (by their name in `plots.PLOTS`) and tables."""

    anchor: str
    title: str
    lead: str
    plots: tuple[str, ...]
    tables: tuple[Table, ...]


def title(results: Results) -> str:
    """The report's heading."""
    return f"GLoRe report: {results.get('name') or 'unnamed run'}"


def about(results: Results) -> str:
    """What was run, and what stands beside it."""
    parts = [f"Task {results['task']}"] if results.get("task") else []
    if base := at(results, "model.base"):
        parameters = number(results, "model.parameters")
        size = f" ({parameters:,.0f} parameters)" if parameters else ""
        parts.append(f"base {base}{size}")
    text = ", ".join(parts) + ". " if parts else ""
    text += (
        "Columns named after GSM8K and SVAMP are the paper's (arXiv 2402.10963): "
        "≈ marks what was read off its charts, a dash that there is no such number. "
    )
    column = paper.column(results)
    if results.get("paper_column"):
        return text + f"This run compares with {column}."
    return text + f"None of them is this task; {column} stands beside for orientation."


def headline(results: Results) -> str:
    """The result in a few sentences; a line that says why if there is none."""
    draft = number(results, "draft.acc")
    if draft is None:
        return left_out(["result"], "draft")
    n = number(results, "draft.n")
    over = f"{n:,.0f} test questions" if n else "the test questions"
    text = f"Of {over}, the student's greedy draft solves {draft:.1%}."
    rerank = number(results, "pipeline.rerank.acc")
    if rerank is None:
        return text
    gain = f"{100 * (rerank - draft):+.1f} points"
    text += (
        " Choosing among draft, global and local refinement by ORM score solves "
        f"{rerank:.1%} ({gain})."
    )
    if (bo3 := number(results, "pipeline.bo3.acc")) is not None:
        text += f" The best of three samples by ORM score solves {bo3:.1%}."
    if (oracle := number(results, "pipeline.oracle.acc")) is not None:
        text += f" An oracle choice among the three would solve {oracle:.1%}."
    return text


def _student_lead(results: Results) -> str:
    facts = []
    if (steps := number(results, "draft.steps_mean")) is not None:
        facts.append(f"A draft has {steps:.1f} steps on average")
    if (truncated := number(results, "draft.truncated")) is not None:
        n = count_at(results, "draft.n")
        facts.append(f"{truncated:,.0f} of {n} were cut off at the length limit")
    lead = "The student writes the drafts that the rest works on."
    return f"{lead} {'; '.join(facts)}." if facts else lead


def sections(results: Results) -> list[Section]:
    """The report's sections in the order of the pipeline, after the result."""
    return [
        Section(
            anchor="result",
            title="Result",
            lead=headline(results),
            plots=("pipeline",),
            tables=(paper_tables.figure_6(results),),
        ),
        Section(
            anchor="student",
            title="Student",
            lead=_student_lead(results),
            plots=("rerank", "first_error"),
            tables=(
                paper_tables.table_5(results),
                run_tables.rounds(results),
                paper_tables.figure_4(results),
            ),
        ),
        Section(
            anchor="reward-models",
            title="Reward models",
            lead="The ORM judges whole solutions (when to refine, which to choose); "
            "the SORM finds the first wrong step (where to refine).",
            plots=("reliability", "scores", "label_rate"),
            tables=(
                paper_tables.table_1(results),
                run_tables.step_scores(results),
                run_tables.label_truth(results),
                paper_tables.table_2(results),
                run_tables.within_pair(results),
            ),
        ),
        Section(
            anchor="refinement",
            title="Refinement",
            lead="Global refinement starts again; local refinement keeps the steps before E, "
            "the first wrong step. A union counts a draft as fixed if either does it.",
            plots=("refinement",),
            tables=(
                paper_tables.table_3(results),
                run_tables.breaks(results),
                paper_tables.figure_5(results),
            ),
        ),
        Section("templates", "Unseen templates", "", (), (run_tables.templates(results),)),
        Section("cost", "Cost", "", (), (run_tables.cost(results),)),
    ]


# Markdown.


def markdown(results: Results) -> str:
    """The report as Markdown. Plots are linked as `plots/NAME.png` beside it."""
    lines = [f"# {title(results)}", "", about(results), ""]
    for section in sections(results):
        lines += [f"## {section.title}", ""]
        if section.lead:
            lines += [section.lead, ""]
        for name in section.plots:
            lines += _markdown_plot(name, results)
        for table in section.tables:
            lines += _markdown_table(table, heading=table.title != section.title)
    return "\n".join(lines)


def _markdown_plot(name: str, results: Results) -> list[str]:
    """The plot's link and caption, or the reason why it is left out."""
    if reason := plots.missing(name, results):
        return [reason, ""]
    plot = plots.PLOTS[name]
    return [f"![{plot.title}](plots/{name}.png)", "", plot.caption, ""]


def _markdown_table(table: Table, heading: bool) -> list[str]:
    lines = [f"### {table.title}", ""] if heading else []
    if table.rows:
        lines += [*_markdown_rows(table), ""]
    if table.note:
        lines += [table.note, ""]
    return lines


def _markdown_rows(table: Table) -> list[str]:
    """Header, rule and rows, aligned for whoever reads the raw text."""
    cells = [list(table.header), *map(list, table.rows)]
    if table.beside is not None:  # the column to compare with stands out
        for row in cells:
            row[table.beside] = f"**{row[table.beside]}**"
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    # Three dashes are the shortest rule that Markdown takes.
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0]]
    rule += ["-" * (width - 1) + ":" for width in widths[1:]]  # the colon aligns to the right
    lines = []
    for name, *figures in (cells[0], rule, *cells[1:]):
        padded = [name.ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(figures, widths[1:], strict=True)]
        lines.append(f"| {' | '.join(padded)} |")
    return lines
