"""The report's tables, shaped like the paper's with its numbers beside ours, and the summary for a terminal.

A `Table` is plain text cells; `document.py` lays tables out in Markdown and `page.py` in HTML. A figure that the run
does not have takes its row with it, and a line under the table says which and why; a table without any figure is
only that line.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from glore_jax.report import paper
from glore_jax.report.figures import at, interval, number

NONE = "–"

MODELS = {"orm": "ORM", "balanced_orm": "Balanced ORM", "sorm": "SORM"}
SCORERS = MODELS | {"loglik": "log-likelihood"}
REFINEMENTS = {
    "global": "Global",
    "local_orm": "Local, E from ORM",
    "local_sorm": "Local, E from SORM",
    "union_orm": "Global ∪ Local (ORM)",
    "union_sorm": "Global ∪ Local (SORM)",
}

# Why a part may be missing, by the first words of its path that match.
_REASONS = {
    "step_truth": "the task does not know which steps are right",
    "label_truth": "the task does not know which steps are right",
    "templates": "the task has no split of unseen templates",
}


@dataclasses.dataclass(frozen=True)
class Table:
    """`rows` of text under `header`; the first column names the row.

    `ours` are the columns of this run and `beside` the column to compare them with (the paper's chosen one); with
    `our_row` the first row is this run instead. `note` stands below, also for a table without rows.
    """

    title: str
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    ours: tuple[int, ...] = ()
    _: dataclasses.KW_ONLY
    beside: int | None = None
    our_row: bool = False
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure: its name in the table, its path in the results and the path of its count."""

    label: str
    path: str
    n: str


def rate(value: float | None) -> str:
    """A rate in 0..1 with three decimals; a dash if there is none."""
    return NONE if value is None else f"{value:.3f}"


def count(value: float | None) -> str:
    """A count with thousands separated; a dash if there is none."""
    return NONE if value is None else f"{value:,.0f}"


def range_text(value: float, n: float | None) -> str:
    """Wilson's 95% interval of `value` over `n` questions."""
    return NONE if not n else "{:.3f} to {:.3f}".format(*interval(value, n))


def left_out(what: Sequence[str], path: str) -> str:
    """The line that says what is not shown and why."""
    reason = _REASONS.get(path.split(".")[0], f"the results hold no `{path}`")
    return f"Left out: {', '.join(what)} ({reason})."


def comparison(
    results: Mapping,
    title: str,
    rows: Sequence[Row],
    source: paper.PaperTable,
    note: str = "",
    questions: bool = True,
) -> Table:
    """Our figures, one a row, with the four columns of the paper beside them.

    Args:
      questions: the counted things are questions, hence independent: show the 95% interval. Steps of one solution
        are not, and an interval that takes them so would be too narrow.
    """
    column = paper.column(results)
    found = [(row, value) for row in rows if (value := number(results, row.path)) is not None]
    if all(row.path == "draft.acc" for row, _ in found):  # the draft alone compares nothing
        subject = title.partition(". ")[2]
        return Table(
            title, note=left_out([subject[0].lower() + subject[1:]], rows[-1].path.split(".")[0])
        )
    header = ("", "this run", *(("95% interval",) if questions else ()), "n", *paper.COLUMNS)
    cells = []
    for row, value in found:
        n = number(results, row.n)
        middle = (range_text(value, n),) if questions else ()
        theirs = (source.text(row.path, name) for name in paper.COLUMNS)
        cells.append((row.label, rate(value), *middle, count(n), *theirs))
    notes = [note] * bool(note) + [
        left_out([row.label], row.path) for row in rows if number(results, row.path) is None
    ]
    return Table(
        title, header, tuple(cells), (1,), beside=header.index(column), note=" ".join(notes)
    )


# The tables of the paper.


def table_1(results: Mapping) -> Table:
    """Step accuracy against the labels of the rollouts, as in the paper's table 1."""
    rows = [Row(name, f"step.{key}.acc", f"step.{key}.n") for key, name in MODELS.items()]
    note = "Share of steps whose score is on the label's side of 0.5; the label is 1 if some rollout from the step ends right."
    return comparison(
        results, "Table 1. Step accuracy against rollout labels", rows, paper.TABLE_1, note, False
    )


def table_2(results: Mapping) -> Table:
    """Accuracy of the score at the last step as a judge of the final answer, as in the paper's table 2."""
    rows = [Row(name, f"final.{key}.acc", f"final.{key}.n") for key, name in MODELS.items()]
    note = "Share of drafts whose final answer the score at the last step judges rightly (threshold 0.5)."
    return comparison(results, "Table 2. Final-answer accuracy", rows, paper.TABLE_2, note)


def table_3(results: Mapping) -> Table:
    """Share of wrong drafts that a refinement puts right, as in the paper's table 3."""
    rows = [
        Row(name, f"refine.{key}.fix_rate", f"refine.{key}.n_wrong")
        for key, name in REFINEMENTS.items()
    ]
    note = "Share of wrong drafts whose refinement is right; E is the first wrong step according to the named model."
    return comparison(results, "Table 3. Fix rate on wrong drafts", rows, paper.TABLE_3, note)


def table_5(results: Mapping) -> Table:
    """Our student among the paper's, as in the paper's table 5: one student a row."""
    title = "Table 5. Students"
    paths = ("maj1", "majK", "rerankK", "passK", "mean1", "loglikK")
    ours = [number(results, f"student.{path}") for path in paths]
    if all(value is None for value in ours):
        return Table(title, note=left_out(["students"], "student"))
    header = ("", "maj@1", "maj@K", "rerank@K", "pass@K", "one sample", "log-lik.@K", "K", "n")
    k, n = number(results, "student.K"), number(results, "student.n")
    rows = [("this run", *map(rate, ours), count(k), count(n))]
    for name, values in paper.TABLE_5_SFT.items():
        rows.append(
            (f"{name}, SFT", *map(paper.digits, values), NONE, NONE, str(paper.TABLE_5_K), NONE)
        )
    for name in paper.COLUMNS:
        values = [paper.TABLE_5.text(f"student.{path}", name) for path in paths]
        rows.append((f"{name}, EI", *values, str(paper.TABLE_5_K), NONE))
    note = (
        "maj@1 is greedy decoding. Of K samples: maj@K takes the commonest answer, rerank@K the one the ORM scores "
        "highest, log-lik.@K the one the student finds likeliest; pass@K counts a question solved if any is right; "
        "one sample is the mean over them."
    )
    return Table(title, header, tuple(rows), our_row=True, note=note)


def rounds(results: Mapping) -> Table:
    """The rounds of expert iteration (EI)."""
    title = "Rounds of expert iteration"
    entries = at(results, "student.rounds") or []
    if not entries:
        return Table(title, note=left_out(["rounds of expert iteration"], "student.rounds"))
    rows = []
    for entry in entries:
        acc, n = number(entry, "acc"), number(entry, "n")
        cells = (
            rate(acc),
            NONE if acc is None else range_text(acc, n),
            count(n),
            count(number(entry, "examples")),
        )
        rows.append((f"round {entry.get('round')}", *cells))
    header = ("", "maj@1 on dev", "95% interval", "n", "training solutions")
    return Table(
        title, header, tuple(rows), (1,), note="Round 0 is supervised fine-tuning (SFT) alone."
    )


def figure_4(results: Mapping) -> Table:
    """Accuracy of the best of K, as in the paper's figure 4: ours for our K, then the paper's for its own."""
    title = "Figure 4. Accuracy of the best of K samples"
    ks = list(at(results, "curves.rerank.k") or ())
    names = {
        "pass": "pass@K",
        "orm": "ORM",
        "balanced_orm": "Balanced ORM",
        "sorm": "SORM",
        "sorm_balanced": "SORM, balanced only",
        "sorm_raw": "SORM, raw labels",
        "majority": "majority",
        "loglik": "log-likelihood",
    }
    if not ks or not any(at(results, f"curves.rerank.{key}") for key in names):
        return Table(title, note=left_out(["accuracy by K"], "curves.rerank"))
    header = ("", *(f"K={k}" for k in ks), *(f"paper K={k}" for k in paper.FIGURE_4_K))
    rows = []
    for key, name in names.items():
        curve, theirs = at(results, f"curves.rerank.{key}.mean"), paper.FIGURE_4.get(key)
        if curve is None and theirs is None:
            continue
        ours = (
            [NONE] * len(ks)
            if curve is None
            else [rate(number({"x": value}, "x")) for value in curve]
        )
        rows.append(
            (
                name,
                *ours,
                *(f"≈{v:.3f}" for v in theirs or ()),
                *([NONE] * 5 if theirs is None else ()),
            )
        )
    note = "Means over resamples of K. The paper's are GSM8K, 7B after SFT, read off the chart (greedy 0.366)."
    return Table(title, header, tuple(rows), tuple(range(1, 1 + len(ks))), note=note)


def figure_5(results: Mapping) -> Table:
    """Accuracy on the whole test set when every draft, or only every wrong draft, is replaced (figure 5)."""
    rows = [Row("Draft", "draft.acc", "draft.n")]
    for when, key in (
        ("every draft refined", "all_acc"),
        ("only wrong drafts refined", "oracle_when_acc"),
    ):
        for kind in ("global", "local_orm", "local_sorm"):
            rows.append(
                Row(f"{REFINEMENTS[kind]}: {when}", f"refine.{kind}.{key}", f"refine.{kind}.n")
            )
    note = "Refining only wrong drafts needs an oracle that says which are wrong. The paper's are read off the chart."
    return comparison(results, "Figure 5. Refining without choosing", rows, paper.FIGURE_5, note)


def figure_6(results: Mapping) -> Table:
    """Draft, best of 3 and the reranked pipeline, with the ORM and with an oracle as the judge (figure 6)."""
    rows = [
        Row("Draft", "draft.acc", "draft.n"),
        Row("Best of 3 samples, ORM", "pipeline.bo3.acc", "pipeline.bo3.n"),
        Row("Draft, global, local: ORM chooses", "pipeline.rerank.acc", "pipeline.rerank.n"),
        Row("Best of 3 samples, oracle", "pipeline.bo3_oracle.acc", "pipeline.bo3_oracle.n"),
        Row("Draft, global, local: oracle chooses", "pipeline.oracle.acc", "pipeline.oracle.n"),
    ]
    extra = Row(
        "Draft, global, local: log-likelihood",
        "pipeline.rerank_loglik.acc",
        "pipeline.rerank_loglik.n",
    )
    if number(results, extra.path) is not None:
        rows.insert(3, extra)
    note = "The paper's are read off the chart."
    return comparison(results, "Figure 6. The reranked pipeline", rows, paper.FIGURE_6, note)


# What the paper does not report.


def step_scores(results: Mapping) -> Table:
    """Everything measured about step scores, against rollout labels and against the truth."""
    title = "Step scores in detail"
    header = ("", "accuracy", "F1", "first error found", "AUC", "steps")
    rows = []
    for group, against in (("step", "rollout labels"), ("step_truth", "truth")):
        for key, name in MODELS.items():
            if number(results, f"{group}.{key}.acc") is None:
                continue
            figures = [
                number(results, f"{group}.{key}.{f}")
                for f in ("acc", "f1", "first_error_acc", "auc")
            ]
            rows.append(
                (
                    f"{name}, against {against}",
                    *map(rate, figures),
                    count(number(results, f"{group}.{key}.n")),
                )
            )
    notes = [
        "First error found: share of drafts for which the first step at or below 0.5 is the first wrong step."
    ]
    if not any("against truth" in row[0] for row in rows):
        notes.append(left_out(["figures against the truth"], "step_truth"))
    if not rows:
        return Table(title, note=left_out(["step scores"], "step"))
    return Table(title, header, tuple(rows), (1, 2, 3, 4), note=" ".join(notes))


def within_pair(results: Mapping) -> Table:
    """How often a scorer puts a right solution above a wrong one of the same question."""
    title = "Telling right from wrong solutions"
    header = ("", "within pair", "pairs", "AUC", "solutions")
    rows = []
    for key, name in SCORERS.items():
        base = f"scorer.{key}"
        if number(results, f"{base}.within_pair") is not None:
            cells = [
                rate(number(results, f"{base}.within_pair")),
                count(number(results, f"{base}.n")),
            ]
            cells += [rate(number(results, f"{base}.auc")), count(number(results, f"{base}.n_auc"))]
            rows.append((name, *cells))
    if not rows:
        return Table(title, note=left_out(["pairs of solutions"], "scorer"))
    note = (
        "Within pair: how often a right sample scores above a wrong one of the same question (0.5 is chance). "
        "AUC compares across questions."
    )
    return Table(title, header, tuple(rows), (1, 3), note=note)


def label_truth(results: Mapping) -> Table:
    """Rollout labels against the truth, which the paper could only estimate by hand."""
    title = "Rollout labels against the truth"
    if number(results, "label_truth.acc") is None:
        return Table(title, note=left_out(["rollout labels against the truth"], "label_truth"))
    kinds = (
        ("Labels that agree", "acc", f"{paper.LABEL_AGREEMENT:.2f}"),
        ("Wrong prefixes labelled good", "false_positive", NONE),
        ("Right prefixes labelled bad", "false_negative", NONE),
    )
    rows = []
    for label, key, theirs in kinds:
        row = [label]
        for part in ("label_truth", "label_truth_test"):
            row += [rate(number(results, f"{part}.{key}")), count(number(results, f"{part}.n"))]
        rows.append((*row, theirs))
    note = (
        "Training: the labels that the SORM and the refiner learn from, of questions that some sample solves (rollout.solved_only). "
        "Test: those of the greedy drafts, of all questions. "
        "Wrong prefixes labelled good: share of the truly wrong ones; right prefixes labelled bad: of the truly right "
        "ones. The paper's figure: 257 GSM8K steps labelled by hand (appendix G)."
    )
    header = ("", "training", "labels", "test", "labels", "paper")
    return Table(title, header, tuple(rows), (1, 3), beside=5, note=note)


def breaks(results: Mapping) -> Table:
    """Share of right drafts that a refinement makes wrong."""
    title = "Break rate on right drafts"
    rows = []
    for key, name in REFINEMENTS.items():
        value, n = (
            number(results, f"refine.{key}.break_rate"),
            number(results, f"refine.{key}.n_right"),
        )
        if value is not None:
            rows.append((name, rate(value), range_text(value, n), count(n)))
    if not rows:
        return Table(title, note=left_out(["break rates"], "refine"))
    note = "Share of right drafts whose refinement is wrong. The paper reports none."
    return Table(title, ("", "this run", "95% interval", "n"), tuple(rows), (1,), note=note)


def templates(results: Mapping) -> Table:
    """The pipeline on questions of templates that were never trained on."""
    title = "Unseen templates"
    if number(results, "templates.draft") is None:
        return Table(title, note=left_out(["unseen templates"], "templates"))
    n = number(results, "templates.n")
    rows = []
    for name, key, test in (
        ("Draft", "draft", "draft.acc"),
        ("Draft, global, local: ORM chooses", "rerank", "pipeline.rerank.acc"),
        ("Draft, global, local: oracle chooses", "oracle", "pipeline.oracle.acc"),
    ):
        value = number(results, f"templates.{key}")
        if value is not None:
            rows.append(
                (name, rate(value), range_text(value, n), count(n), rate(number(results, test)))
            )
    note = "Question templates held out of all training, beside the test set."
    return Table(
        title,
        ("", "unseen templates", "95% interval", "n", "test set"),
        tuple(rows),
        (1,),
        beside=4,
        note=note,
    )


def cost(results: Mapping) -> Table:
    """What the step labels cost and how long each stage took."""
    title = "Cost"
    rows: list[tuple[str, str]] = []
    rollouts, full = number(results, "cost.rollouts"), number(results, "cost.rollouts_full")
    if rollouts is not None:
        rows.append(("Rollouts for step labels", count(rollouts)))
    if full is not None:
        rows.append(("The same with K rollouts at every step", count(full)))
    if (tokens := number(results, "cost.tokens")) is not None:
        rows.append(("Tokens generated for them", count(tokens)))
    if (seconds := number(results, "cost.seconds")) is not None:
        rows.append(("Seconds for them", f"{seconds:,.1f}"))
    stages = {
        k: v
        for k in at(results, "seconds") or {}
        if (v := number(results["seconds"], k)) is not None
    }
    rows += [(f"Stage {name}, seconds", f"{value:,.1f}") for name, value in stages.items()]
    if stages:
        rows.append(("All stages, seconds", f"{sum(stages.values()):,.1f}"))
    if not rows:
        return Table(title, note=left_out(["cost"], "cost"))
    return Table(title, ("", "this run"), tuple(rows), (1,))


# The summary for a terminal.


def summary(results: Mapping) -> str:
    """A dozen aligned lines for a terminal: what came out, with the paper's column beside it. No final newline."""
    column = paper.column(results)

    def line(
        label: str, paths: Sequence[str], n: str, source: paper.PaperTable | None = None
    ) -> list[str] | None:
        values = [number(results, path) for path in paths]
        if all(value is None for value in values):
            return None
        theirs = [source.text(path, column) for path in paths] if source else []
        beside = " / ".join(theirs) if any(text != NONE for text in theirs) else ""
        return [
            label,
            " / ".join(map(rate, values)),
            count(number(results, n)) if n else "",
            beside,
        ]

    both, kinds = ("orm", "sorm"), ("global", "local_sorm", "union_sorm")
    truth, tested = (
        [f"{part}.{key}" for key in ("acc", "false_positive", "false_negative")]
        for part in ("label_truth", "label_truth_test")
    )
    lines = [
        ["", "this run", "n", f"paper, {column}"],
        line("Draft (greedy)", ["draft.acc"], "draft.n", paper.TABLE_5),
        line(
            "Reranked: draft, global, local",
            ["pipeline.rerank.acc"],
            "pipeline.rerank.n",
            paper.FIGURE_6,
        ),
        line("Best of 3 samples", ["pipeline.bo3.acc"], "pipeline.bo3.n", paper.FIGURE_6),
        line(
            "Oracle choice of the three",
            ["pipeline.oracle.acc"],
            "pipeline.oracle.n",
            paper.FIGURE_6,
        ),
        line(
            "Fix rate: global / local / union",
            [f"refine.{k}.fix_rate" for k in kinds],
            "refine.global.n_wrong",
            paper.TABLE_3,
        ),
        line(
            "Break rate: global / local",
            [f"refine.{k}.break_rate" for k in kinds[:2]],
            "refine.global.n_right",
        ),
        line(
            "Step accuracy: ORM / SORM",
            [f"step.{m}.acc" for m in both],
            "step.sorm.n",
            paper.TABLE_1,
        ),
        line("  against the truth", [f"step_truth.{m}.acc" for m in both], "step_truth.sorm.n"),
        line(
            "Final answer: ORM / SORM",
            [f"final.{m}.acc" for m in both],
            "final.orm.n",
            paper.TABLE_2,
        ),
        line(
            "Within pair: ORM / SORM / log-lik.",
            [f"scorer.{m}.within_pair" for m in (*both, "loglik")],
            "scorer.orm.n",
        ),
        line("Labels: right / false + / false -", truth, "label_truth.n"),
        line("  of the test drafts", tested, "label_truth_test.n"),
        line(
            "Unseen templates: draft / reranked",
            ["templates.draft", "templates.rerank"],
            "templates.n",
        ),
    ]
    shown = [cells for cells in lines if cells]
    widths = [max(len(cells[i]) for cells in shown) for i in range(3)]
    text = [
        f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip()
        for a, b, c, d in shown
    ]
    stages = {
        k: v
        for k in at(results, "seconds") or {}
        if (v := number(results["seconds"], k)) is not None
    }
    if stages:
        parts = [f"{name} {value:,.0f}" for name, value in stages.items()]
        text.append(f"Seconds: {', '.join(parts)}; in all {sum(stages.values()):,.0f}")
    return "\n".join(text)
