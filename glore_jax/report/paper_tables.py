"""The tables and charts of the paper: our figures in their shape, with the paper's beside them."""

import dataclasses
from collections.abc import Sequence

from glore_jax.report import paper, system
from glore_jax.report.names import MODELS, REFINEMENTS
from glore_jax.report.reading import Results, at, finite, in_force, number
from glore_jax.report.table import (
    NONE,
    Table,
    count,
    dependence,
    left_out,
    range_text,
    rate,
    rate_at,
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: its name in the table, its path in the results and the path of its count.

    `majority`: path of what calling all items the commoner class reaches; empty: no such figure.
    """

    label: str
    path: str
    n: str
    majority: str = ""


def comparison(
    results: Results,
    title: str,
    rows: Sequence[Row],
    source: paper.PaperTable,
    note: str = "",
    questions: bool = True,
) -> Table:
    """Our figures, one a row, with the four columns of the paper beside them.

    Args:
      results: the run's figures.
      title: `Table 1. What it shows`.
      rows: what to show; those that the results lack are named in the note.
      source: the paper's figures for the same paths.
      note: stands below the table.
      questions: the counted things are questions: show the 95% interval, which takes them as
        independent. Steps of one solution are not, and questions of one story are not either, as
        the note then says.
    """
    found = [row for row in rows if number(results, row.path) is not None]
    if all(row.path == "draft.acc" for row in found):  # the draft alone compares nothing
        subject = title.partition(". ")[2]
        uncapitalized = subject[0].lower() + subject[1:]
        return Table(title, note=left_out([uncapitalized], rows[-1].path.split(".")[0]))

    interval_header = ("95% interval",) if questions else ()
    majority_header = ("majority class",) if any(row.majority for row in rows) else ()
    header = ("", "this run", *interval_header, *majority_header, "n", *paper.COLUMNS)
    cells = [_comparison_cells(results, row, source, questions) for row in found]
    notes = [note] if note else []
    notes += [left_out([row.label], row.path) for row in rows if row not in found]
    text = " ".join(notes)
    if questions:
        text = (text + dependence(at(results, "draft"))).lstrip()
    beside = header.index(paper.column(results))
    return Table(title, header, tuple(cells), (1,), beside=beside, note=text)


def _comparison_cells(
    results: Results, row: Row, source: paper.PaperTable, questions: bool
) -> tuple[str, ...]:
    value = number(results, row.path)
    n = number(results, row.n)
    interval_cell = (range_text(value, n),) if questions else ()
    majority_cell = (rate_at(results, row.majority),) if row.majority else ()
    theirs = [source.text(row.path, name) for name in paper.COLUMNS]
    return (row.label, rate(value), *interval_cell, *majority_cell, count(n), *theirs)


def _judges(group: str) -> list[Row]:
    """One row a reward model, with the majority class beside its accuracy."""
    return [
        Row(name, f"{group}.{key}.acc", f"{group}.{key}.n", f"{group}.{key}.majority")
        for key, name in MODELS.items()
    ]


def threshold_text(results: Results, what: str) -> str:
    """The threshold in force, as `0.5`, or which one is meant where it is not known."""
    return in_force(results, what) or "the threshold in force"


def table_1(results: Results) -> Table:
    """Step accuracy against the labels of the rollouts, as in the paper's table 1."""
    title = "Table 1. Step accuracy against rollout labels"
    note = (
        "Share of steps whose score is on the label's side of "
        f"{threshold_text(results, 'step_threshold')}; the label is 1 if some rollout from the "
        "step ends right. Majority class: calling all steps what most of them are."
    )
    return comparison(results, title, _judges("step"), paper.TABLE_1, note, questions=False)


def table_2(results: Results) -> Table:
    """The score at the last step as a judge of the final answer, as in the paper's table 2."""
    title = "Table 2. Final-answer accuracy"
    note = (
        "Share of drafts whose final answer the score at the last step judges rightly "
        f"(threshold {threshold_text(results, 'final_threshold')}). Majority class: calling all "
        "drafts what most of them are."
    )
    return comparison(results, title, _judges("final"), paper.TABLE_2, note)


def table_3(results: Results) -> Table:
    """Share of wrong drafts that a refinement puts right, as in the paper's table 3."""
    title = "Table 3. Fix rate on wrong drafts"
    rows = [
        Row(name, f"refine.{key}.fix_rate", f"refine.{key}.n_wrong")
        for key, name in REFINEMENTS.items()
    ]
    note = (
        "Share of wrong drafts whose refinement is right; "
        "E is the first wrong step according to the named model. The untrained base is asked with "
        "the same prompt but for [BAD]: from the start, and behind the steps before E."
    )
    return comparison(results, title, rows, paper.TABLE_3, note)


# Our figures of a student in the order of table 5's columns; the paper has the first four.
_STUDENT_COLUMNS = {
    "maj1": "maj@1",
    "majK": "maj@K",
    "rerankK": "rerank@K",
    "passK": "pass@K",
    "rerankK_sorm": "SORM@K",
    "mean1": "one sample",
    "loglikK": "log-lik.@K",
}


def table_5(results: Results) -> Table:
    """Our student among the paper's, as in the paper's table 5: one student a row."""
    title = "Table 5. Students"
    ours = [number(results, f"student.{key}") for key in _STUDENT_COLUMNS]
    if all(value is None for value in ours):
        return Table(title, note=left_out(["students"], "student"))
    k = count(number(results, "student.K"))
    n = count(number(results, "student.n"))
    rows = [("this run", *map(rate, ours), k, n), *_papers_students()]
    header = ("", *_STUDENT_COLUMNS.values(), "K", "n")
    note = (
        "maj@1 is greedy decoding. Of K samples: maj@K takes the commonest answer, rerank@K the "
        "one the ORM scores highest, SORM@K the SORM, log-lik.@K the one the student finds "
        "likeliest; pass@K counts a question solved if any is right; one sample is the mean over "
        f"them.{_drawn_at(results)}"
    )
    return Table(title, header, tuple(rows), our_row=True, note=note)


def _drawn_at(results: Results) -> str:
    """The sentence that says at which temperature K samples are drawn, behind others."""
    temperature = number(results, "marks.temperature")
    if temperature is None:
        return ""
    items = at(results, "marks.dev_items") or {}
    chosen = ", chosen on dev for a draft and two samples, not for K"
    origin = chosen if items.get("temperature") else ""
    return f" Samples are drawn at temperature {temperature:g}{origin}."


def _papers_students() -> list[tuple[str, ...]]:
    """The paper's students after supervised fine-tuning (SFT) and after expert iteration (EI)."""
    k = str(paper.TABLE_5_K)
    rows: list[tuple[str, ...]] = []
    for name, values in paper.TABLE_5_SFT.items():
        theirs = [paper.digits(value) for value in values]
        nothing = [NONE] * (len(_STUDENT_COLUMNS) - len(theirs))
        rows.append((f"{name}, SFT", *theirs, *nothing, k, NONE))
    for name in paper.COLUMNS:
        theirs = [paper.TABLE_5.text(f"student.{key}", name) for key in _STUDENT_COLUMNS]
        rows.append((f"{name}, EI", *theirs, k, NONE))
    return rows


# Who chooses among K samples: our curves and the paper's.
_CHOOSERS = {
    "pass": "pass@K",
    "orm": "ORM",
    "balanced_orm": "Balanced ORM",
    "sorm": "SORM",
    "sorm_balanced": "SORM, balanced only",
    "sorm_raw": "SORM, raw labels",
    "majority": "majority",
    "loglik": "log-likelihood",
}


def figure_4(results: Results) -> Table:
    """Accuracy of the best of K, as in figure 4: ours for our K, then the paper's for its own."""
    title = "Figure 4. Accuracy of the best of K samples"
    ks = list(at(results, "curves.rerank.k") or ())
    if not ks or not any(at(results, f"curves.rerank.{key}") for key in _CHOOSERS):
        return Table(title, note=left_out(["accuracy by K"], "curves.rerank"))
    header = ("", *(f"K={k}" for k in ks), *(f"paper K={k}" for k in paper.FIGURE_4_K))
    rows = []
    for key, name in _CHOOSERS.items():
        curve = at(results, f"curves.rerank.{key}.mean")
        theirs = paper.FIGURE_4.get(key)
        if curve is None and theirs is None:
            continue
        our_cells = [NONE] * len(ks)
        if curve is not None:
            our_cells = [rate(finite(value)) for value in curve]
        their_cells = [NONE] * len(paper.FIGURE_4_K)
        if theirs is not None:
            their_cells = [f"≈{value:.3f}" for value in theirs]
        rows.append((name, *our_cells, *their_cells))
    note = (
        "Means over resamples of K. "
        "The paper's are GSM8K, 7B after SFT, read off the chart (greedy 0.366)."
        f"{_drawn_at(results)}"
    )
    our_columns = tuple(range(1, 1 + len(ks)))
    return Table(title, header, tuple(rows), our_columns, note=note)


def figure_5(results: Results) -> Table:
    """Accuracy when every draft, or only every wrong draft, is replaced (figure 5)."""
    whens = {"every draft refined": "all_acc", "only wrong drafts refined": "oracle_when_acc"}
    rows = [Row("Draft", "draft.acc", "draft.n")]
    for when, key in whens.items():
        for kind in ("global", "local_orm", "local_sorm", "base_global", "base_local"):
            label = f"{REFINEMENTS[kind]}: {when}"
            rows.append(Row(label, f"refine.{kind}.{key}", f"refine.{kind}.n"))
    note = (
        "Refining only wrong drafts needs an oracle that says which are wrong. "
        "The paper's are read off the chart."
    )
    return comparison(results, "Figure 5. Refining without choosing", rows, paper.FIGURE_5, note)


def figure_6(results: Results) -> Table:
    """Draft, best of 3 and the reranked pipeline, the ORM or an oracle as the judge (figure 6)."""
    choices = {
        "bo3": "Best of 3 samples, ORM",
        "rerank": system.row(results),
        "bo3_oracle": "Best of 3 samples, oracle",
        "oracle": system.oracle_row(results),
    }
    rows = [Row("Draft", "draft.acc", "draft.n")]
    rows += [Row(name, f"pipeline.{key}.acc", f"pipeline.{key}.n") for key, name in choices.items()]
    note = "The paper's are read off the chart."
    return comparison(results, "Figure 6. The reranked pipeline", rows, paper.FIGURE_6, note)
