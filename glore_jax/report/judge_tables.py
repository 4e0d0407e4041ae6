"""Tables of judgements: what reward models say of steps and solutions, what rollout labels do."""

from collections.abc import Callable, Mapping
from typing import Any

from glore_jax.report import paper
from glore_jax.report.names import LOCATORS, MODELS, SCORERS
from glore_jax.report.reading import Results, at, finite, in_force, number
from glore_jax.report.table import NONE, Table, count, count_at, left_out, rate, rate_at

# Groups of figures, and what they are measured against.
_STEPS = {"step": "rollout labels", "step_truth": "truth"}
_MARKS = {"located": "rollout labels", "located_truth": "truth"}

# Rollout labels: of training, and of the test drafts.
_LABELS = {"label_truth": "labels of training", "label_truth_test": "labels of the test drafts"}


def decisions(results: Results) -> Table:
    """Everything measured about scores as judges of steps, and of final answers."""
    title = "Judgements in detail"
    keys = ("acc", "majority", "f1", "false_alarm", "missed", "first_error_acc", "auc")
    groups = {group: f"steps against {against}" for group, against in _STEPS.items()}
    rows = []
    for group, what in (groups | {"final": "final answers"}).items():
        for model, name in MODELS.items():
            base = f"{group}.{model}"
            if number(results, f"{base}.acc") is None:
                continue
            figures = [rate_at(results, f"{base}.{key}") for key in keys]
            rows.append((f"{name}, {what}", *figures, count_at(results, f"{base}.n")))
    if not rows:
        return Table(title, note=left_out(["step scores"], "step"))
    header = (
        *("", "accuracy", "majority class", "F1", "false alarms", "missed"),
        *("first error, all drafts", "AUC", "n"),
    )
    note = (
        "Majority class: calling all what most of them are. False alarms: share of right ones "
        "called wrong; missed: of wrong ones called right. First error, all drafts: the first step "
        "no higher than the mark is the first wrong one, or there is neither; right drafts make "
        "this easy."
    )
    if not any("against truth" in row[0] for row in rows):
        note += " " + left_out(["figures against the truth"], "step_truth")
    return Table(title, header, tuple(rows), (1,), note=note)


def located(results: Results) -> Table:
    """Where the marks stand, on wrong drafts and on right ones."""
    title = "Where [BAD] stands"
    keys = ("found", "early", "late", "missed")
    rows = []
    for group, against in _MARKS.items():
        for model, name in MODELS.items():
            base = f"{group}.{model}"
            if number(results, f"{base}.n_wrong") is None:
                continue
            figures = [rate_at(results, f"{base}.{key}") for key in keys]
            offset = _steps(number(results, f"{base}.offset"))
            wrong = count_at(results, f"{base}.n_wrong")
            alarms = rate_at(results, f"{base}.false_alarm")
            right = count_at(results, f"{base}.n_right")
            rows.append((f"{name}, against {against}", *figures, offset, wrong, alarms, right))
    if not rows:
        return Table(title, note=left_out(["places of [BAD]"], "located"))
    header = (
        *("", "at the first error", "before it", "behind it", "no mark", "offset"),
        *("wrong drafts", "false alarms", "right drafts"),
    )
    mark = in_force(results, "mark", LOCATORS)
    note = (
        f"Before the first step that scores no higher than the mark{f' ({mark})' if mark else ''}. "
        "The first columns are shares of wrong drafts; offset: mean of the marked step minus the "
        "first wrong one, in steps, over wrong drafts with a mark. False alarms: share of right "
        "drafts with a mark."
    )
    return Table(title, header, tuple(rows), (1,), note=note)


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


# Rollout labels against the truth.


def label_truth(results: Results) -> Table:
    """Rollout labels against the truth, which the paper could only estimate by hand."""
    title = "Rollout labels against the truth"
    absent = [name for name in _LABELS if number(results, f"{name}.acc") is None]
    if len(absent) == len(_LABELS):
        return Table(title, note=left_out(["rollout labels against the truth"], "label_truth"))
    kinds: tuple[tuple[str, str, str, Callable[[float | None], str]], ...] = (
        ("Labels that agree", "acc", "n", rate),
        ("Labels that agree with the strict truth", "strict_acc", "n", rate),
        ("Wrong prefixes labelled good", "false_positive", "n", rate),
        ("Right prefixes labelled bad", "false_negative", "n", rate),
        ("Wrong drafts: labels that agree", "wrong_acc", "wrong_n", rate),
        ("Wrong drafts: first error exact", "first_error_acc", "errors", rate),
        ("Wrong drafts: offset of the first error, steps", "offset", "errors", _steps),
    )
    rows = []
    for name, key, n, shown in kinds:
        cells = [name]
        for part in _LABELS:
            cells += [shown(number(results, f"{part}.{key}")), count_at(results, f"{part}.{n}")]
        rows.append((*cells, f"{paper.LABEL_AGREEMENT:.2f}" if key == "acc" else NONE))
    header = ("", "training", "n", "test", "n", "paper")
    solved = at(results, "about.settings") or {}
    which = {
        "true": "of questions that some sample solves",
        "false": "of all questions sampled",
    }.get(solved.get("rollout.solved_only", ""), "of the questions labelled")
    note = (
        f"Training: the labels that the SORM and the refiner learn from, {which}. Test: those of "
        "the greedy drafts, of all questions. Right drafts are labelled right for nothing, so the "
        "rows of wrong drafts say what rollouts are worth; n counts labels, and of the last two "
        "rows drafts that have a wrong step. The strict truth also counts slips which can still "
        "come out right. The paper's figure: 257 GSM8K steps labelled by hand (appendix G)."
    )
    if absent:
        note += " " + left_out([_LABELS[name] for name in absent], "label_truth")
    return Table(title, header, tuple(rows), (1, 3), beside=5, note=note)


def labels_by_step(results: Results) -> Table:
    """Agreement of the labels of wrong drafts, step by step."""
    title = "Rollout labels of wrong drafts by step"

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        return (rate(finite(row.get("acc"))), count(finite(row.get("n"))))

    rows = _of_both(results, "by_step", "step", cells, 2)
    if not rows:
        return Table(title, note=left_out(["labels by step"], "label_truth"))
    header = ("step", "training", "labels", "test", "labels")
    note = "Share of labels that agree with the truth. The last step has a grade, no rollouts."
    return Table(title, header, rows, (1, 3), note=note)


def labels_by_k(results: Results) -> Table:
    """What fewer rollouts of each prefix would have said."""
    title = "Rollout labels of wrong drafts by K"

    def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
        low, high = (rate(finite(row.get(f"first_error_{end}"))) for end in ("low", "high"))
        exact = low if low == high else f"{low} to {high}"
        return (rate(finite(row.get("settled"))), exact, count(finite(row.get("n"))))

    rows = _of_both(results, "by_k", "k", cells, 3)
    if not rows:
        return Table(title, note=left_out(["labels by K"], "label_truth"))
    header = (
        *("K", "training: same labels", "first error exact", "drafts"),
        *("test: same labels", "first error exact", "drafts"),
    )
    note = (
        "Labels had K rollouts of each prefix been made instead of all, counted from the rollouts "
        "that were. Where fewer would have missed the first hit, earlier prefixes would have been "
        "tried, which nobody did: two bounds."
    )
    return Table(title, header, rows, (2, 5), note=note)


def _of_both(
    results: Results,
    key: str,
    name: str,
    cells: Callable[[Mapping[str, Any]], tuple[str, ...]],
    width: int,
) -> tuple[tuple[str, ...], ...]:
    """The rows `key` of training and of test labels side by side, by their entry `name`.

    `cells`: of one row, as many as `width`.
    """
    sides = []
    for part in _LABELS:
        entries = at(results, f"{part}.{key}") or []
        sides.append({entry[name]: cells(entry) for entry in entries})
    places = sorted({place for of_side in sides for place in of_side})
    nothing = (NONE,) * width
    return tuple(
        (str(place), *(text for of_side in sides for text in of_side.get(place, nothing)))
        for place in places
    )


def _steps(value: float | None) -> str:
    """A signed number of steps."""
    return NONE if value is None else f"{value:+.3f}"
