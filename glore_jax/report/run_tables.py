"""The tables that the paper does not have: expert iteration, steps in detail, labels, cost."""

from glore_jax.report import paper
from glore_jax.report.names import MODELS, REFINEMENTS, SCORERS
from glore_jax.report.reading import Results, at, number, stage_seconds
from glore_jax.report.table import (
    NONE,
    Table,
    count,
    count_at,
    left_out,
    range_text,
    rate,
    rate_at,
)


def rounds(results: Results) -> Table:
    """The rounds of expert iteration (EI)."""
    title = "Rounds of expert iteration"
    entries = at(results, "student.rounds") or []
    if not entries:
        return Table(title, note=left_out(["rounds of expert iteration"], "student.rounds"))
    rows = []
    for entry in entries:
        acc = number(entry, "acc")
        n = number(entry, "n")
        name = f"round {entry.get('round')}"
        rows.append((name, rate(acc), range_text(acc, n), count(n), count_at(entry, "examples")))
    header = ("", "maj@1 on dev", "95% interval", "n", "training solutions")
    note = "Round 0 is supervised fine-tuning (SFT) alone."
    return Table(title, header, tuple(rows), (1,), note=note)


def step_scores(results: Results) -> Table:
    """Everything measured about step scores, against rollout labels and against the truth."""
    title = "Step scores in detail"
    header = ("", "accuracy", "F1", "first error found", "AUC", "steps")
    keys = ("acc", "f1", "first_error_acc", "auc")
    rows = []
    for group, against in (("step", "rollout labels"), ("step_truth", "truth")):
        for model, name in MODELS.items():
            base = f"{group}.{model}"
            if number(results, f"{base}.acc") is None:
                continue
            figures = [rate_at(results, f"{base}.{key}") for key in keys]
            n = count_at(results, f"{base}.n")
            rows.append((f"{name}, against {against}", *figures, n))
    if not rows:
        return Table(title, note=left_out(["step scores"], "step"))
    note = (
        "First error found: share of drafts for which the first step at or below 0.5 "
        "is the first wrong step."
    )
    if not any("against truth" in row[0] for row in rows):
        note += " " + left_out(["figures against the truth"], "step_truth")
    return Table(title, header, tuple(rows), (1, 2, 3, 4), note=note)


def within_pair(results: Results) -> Table:
    """How often a scorer puts a right solution above a wrong one of the same question."""
    title = "Telling right from wrong solutions"
    rows = []
    for key, name in SCORERS.items():
        base = f"scorer.{key}"
        if number(results, f"{base}.within_pair") is None:
            continue
        pairs = (rate_at(results, f"{base}.within_pair"), count_at(results, f"{base}.n"))
        across = (rate_at(results, f"{base}.auc"), count_at(results, f"{base}.n_auc"))
        rows.append((name, *pairs, *across))
    if not rows:
        return Table(title, note=left_out(["pairs of solutions"], "scorer"))
    header = ("", "within pair", "pairs", "AUC", "solutions")
    note = (
        "Within pair: how often a right sample scores above a wrong one of the same question "
        "(0.5 is chance). AUC compares across questions."
    )
    return Table(title, header, tuple(rows), (1, 3), note=note)


def label_truth(results: Results) -> Table:
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
    for name, key, theirs in kinds:
        cells = [name]
        for part in ("label_truth", "label_truth_test"):
            cells += [rate_at(results, f"{part}.{key}"), count_at(results, f"{part}.n")]
        rows.append((*cells, theirs))
    header = ("", "training", "labels", "test", "labels", "paper")
    note = (
        "Training: the labels that the SORM and the refiner learn from, of questions that some "
        "sample solves (rollout.solved_only). Test: those of the greedy drafts, of all questions. "
        "Wrong prefixes labelled good: share of the truly wrong ones; right prefixes labelled bad: "
        "of the truly right ones. The paper's figure: 257 GSM8K steps labelled by hand "
        "(appendix G)."
    )
    return Table(title, header, tuple(rows), (1, 3), beside=5, note=note)


def breaks(results: Results) -> Table:
    """Share of right drafts that a refinement makes wrong."""
    title = "Break rate on right drafts"
    rows = []
    for key, name in REFINEMENTS.items():
        value = number(results, f"refine.{key}.break_rate")
        n = number(results, f"refine.{key}.n_right")
        if value is not None:
            rows.append((name, rate(value), range_text(value, n), count(n)))
    if not rows:
        return Table(title, note=left_out(["break rates"], "refine"))
    header = ("", "this run", "95% interval", "n")
    note = "Share of right drafts whose refinement is wrong. The paper reports none."
    return Table(title, header, tuple(rows), (1,), note=note)


def templates(results: Results) -> Table:
    """The pipeline on questions of templates that were never trained on."""
    title = "Unseen templates"
    if number(results, "templates.draft") is None:
        return Table(title, note=left_out(["unseen templates"], "templates"))
    n = number(results, "templates.n")
    kinds = (
        ("Draft", "draft", "draft.acc"),
        ("Draft, global, local: ORM chooses", "rerank", "pipeline.rerank.acc"),
        ("Draft, global, local: oracle chooses", "oracle", "pipeline.oracle.acc"),
    )
    rows = []
    for name, key, test_path in kinds:
        value = number(results, f"templates.{key}")
        if value is not None:
            test = rate_at(results, test_path)
            rows.append((name, rate(value), range_text(value, n), count(n), test))
    header = ("", "unseen templates", "95% interval", "n", "test set")
    note = "Question templates held out of all training, beside the test set."
    return Table(title, header, tuple(rows), (1,), beside=4, note=note)


def cost(results: Results) -> Table:
    """What the step labels cost and how long each stage took."""
    title = "Cost"
    kinds = (
        ("Rollouts for step labels", "rollouts"),
        ("The same with K rollouts at every step", "rollouts_full"),
        ("Tokens generated for them", "tokens"),
    )
    rows = []
    for name, key in kinds:
        if (value := number(results, f"cost.{key}")) is not None:
            rows.append((name, count(value)))
    if (seconds := number(results, "cost.seconds")) is not None:
        rows.append(("Seconds for them", f"{seconds:,.1f}"))
    stages = stage_seconds(results)
    rows += [(f"Stage {name}, seconds", f"{value:,.1f}") for name, value in stages.items()]
    if stages:
        rows.append(("All stages, seconds", f"{sum(stages.values()):,.1f}"))
    if not rows:
        return Table(title, note=left_out(["cost"], "cost"))
    return Table(title, ("", "this run"), tuple(rows), (1,))
