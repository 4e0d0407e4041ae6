"""What the report says in which order, and its Markdown form. `page.py` gives the same sections as
HTML."""

import dataclasses

from glore_jax.report import (
    about_tables,
    headline,
    judge_tables,
    names,
    paper,
    paper_tables,
    plots,
    run_tables,
)
from glore_jax.report.reading import Results, at, number
from glore_jax.report.table import Table


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


def _student_lead(results: Results) -> str:
    facts = []
    if (steps := number(results, "draft.steps_mean")) is not None:
        facts.append(f"A draft has {steps:.1f} steps on average")
    for what, path, n in (("", "draft", "draft.n"), ("of the samples ", "student", "student.n")):
        if (truncated := number(results, f"{path}.truncated")) is not None:
            total = number(results, n)
            k = number(results, "student.K") if path == "student" else 1
            of = f" of {total * k:,.0f}" if total and k else ""
            facts.append(f"{what}{truncated:,.0f}{of} were cut off at the length limit")
    lead = "The student writes the drafts that the rest works on."
    return f"{lead} {'; '.join(facts)}." if facts else lead


def _refinement_lead(results: Results) -> str:
    """What a local refinement is in this run."""
    keeps = (at(results, "about.settings") or {}).get("evaluate.keep_prefix")
    local = {
        "true": "keeps the steps before E, the first step that is marked as wrong, and goes on",
        "false": "is written anew, told where E is, the first step that is marked as wrong",
    }.get(str(keeps), "is told where E is, the first step that is marked as wrong")
    return (
        f"Global refinement starts again; local refinement {local}. A union counts a draft as "
        "fixed if either does it."
    )


def sections(results: Results) -> list[Section]:
    """The report's sections: the result, then the pipeline in its order, then its conditions."""
    return [
        Section(
            anchor="result",
            title="Result",
            lead=" ".join(headline.sentences(results)),
            plots=("pipeline", "by_steps"),
            tables=(
                run_tables.answers(results),
                about_tables.patterns(results),
                run_tables.by_steps(results),
                paper_tables.figure_6(results),
            ),
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
        _reward_models(results),
        Section(
            anchor="refinement",
            title="Refinement",
            lead=_refinement_lead(results),
            plots=("refinement",),
            tables=(
                paper_tables.table_3(results),
                run_tables.gains(results, "Refinements compared", names.REFINEMENT_GAINS),
                run_tables.breaks(results),
                paper_tables.figure_5(results),
            ),
        ),
        Section("templates", "Unseen templates", "", (), (run_tables.templates(results),)),
        Section("cost", "Cost", "", (), (run_tables.cost(results),)),
        Section(
            anchor="about",
            title="About this run",
            lead="",
            plots=(),
            tables=(
                about_tables.left_out_items(results),
                about_tables.warnings(results),
                about_tables.conditions(results),
                about_tables.config(results),
            ),
        ),
    ]


def _reward_models(results: Results) -> Section:
    return Section(
        anchor="reward-models",
        title="Reward models",
        lead="The ORM judges whole solutions (when to refine, which to choose); "
        "the SORM finds the first wrong step (where to refine).",
        plots=("reliability", "scores", "label_rate"),
        tables=(
            about_tables.looks(results),
            paper_tables.table_1(results),
            paper_tables.table_2(results),
            judge_tables.decisions(results),
            judge_tables.located(results),
            judge_tables.within_pair(results),
            run_tables.gains(results, "Judges compared", names.JUDGE_GAINS),
            judge_tables.label_truth(results),
            judge_tables.labels_by_step(results),
            judge_tables.labels_by_k(results),
        ),
    )


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
    return [f"![{plot.title}](plots/{name}.png)", "", plots.caption(name, results), ""]


def _markdown_table(table: Table, heading: bool) -> list[str]:
    if not table.rows and not table.note:
        return []
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
