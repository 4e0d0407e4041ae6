"""Stage `report`: the figures of all stages together, as report.json, report.md, report.html, plots
and summary.txt."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from glore_jax import stages, storage
from glore_jax.errors import UserError
from glore_jax.models import hf_import
from glore_jax.parallel import processes
from glore_jax.report import figures, patterns, run_figures
from glore_jax.report.contract import BrokenContract
from glore_jax.report.examples import WorkedExample
from glore_jax.report.step_figures import LabelTruth
from glore_jax.report.summary import summary
from glore_jax.report.write import write
from glore_jax.stages.about import about
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import draft_figures, in_force
from glore_jax.stages.left_out import left_out

# The split that shows the system on templates that were never trained on, where a task has it.
TEMPLATES = "test_templates"


def run(ctx: Context) -> dict:
    """Writes the report; returns how many worked examples it shows."""
    return make(ctx) if processes.is_main() else {}


def make(ctx: Context) -> dict:
    """What process 0 does."""
    report = collect(ctx)
    worked: list[Any] = storage.read_jsonl(ctx.folder("evaluate", "examples.jsonl"))
    shown = telling(worked, ctx.config.report.examples)
    page = write(report, shown, ctx.folder("report"))
    text = f"{summary(report.to_json())}\n\nreport: {page}\n"
    storage.write_text(ctx.folder("report", "summary.txt"), text)
    ctx.say(text)
    return {"examples": len(shown)}


def collect(ctx: Context) -> run_figures.Report:
    """The figures of the whole run: of the first split evaluated, and what other stages counted."""
    by_split = measured_splits(ctx)
    main, *others = by_split
    measured = by_split[main]
    needs = stages.STAGES["report"].needs
    manifests = {s: storage.read_json(ctx.folder(s, "manifest.json")) for s in needs}
    counts = {stage: manifest["counts"] for stage, manifest in manifests.items()}
    templates = None
    if TEMPLATES in others:
        templates = unseen_templates(by_split[TEMPLATES])
    model = run_figures.StudentModel(base=ctx.config.model.base, parameters=parameters(ctx))
    replaced = {
        # Training's labels take the place of the split's own, which get a name of their own.
        "label_truth": _label_truth(counts["rollout"]),
        "cost": total_cost(manifests) if measured.cost else None,
        "student": _with_rounds(measured.student, counts["student"]["rounds"]),
        "curves": _with_training(measured.curves, counts["rollout"]["label_rates"]),
    }
    fields = {f.name: getattr(measured, f.name) for f in dataclasses.fields(measured)}
    report = run_figures.Report(
        name=ctx.config.name,
        task=ctx.config.task.name,
        model=model,
        paper_column=ctx.config.report.paper_column,
        marks=marks_in_force(ctx),
        **(fields | replaced),
        label_truth_test=measured.label_truth,
        templates=templates,
        seconds={stage: manifest["seconds"] for stage, manifest in manifests.items()},
        left_out=left_out(counts, measured.student),
        looks=looks(counts),
        warnings=tuple(
            f"{stage}: {text}"
            for stage in manifests
            for text in manifests[stage].get("warnings", ())
        ),
        about=about(ctx, manifests),
    )
    return dataclasses.replace(report, patterns=patterns.judge(report.to_json()))


def measured_splits(ctx: Context) -> dict[str, figures.SplitFigures]:
    """The figures of stage `evaluate` by split, in the order of `evaluate.splits`."""
    file = ctx.folder("evaluate", "results.json")
    try:
        return {
            split: figures.SplitFigures.from_json(values)
            for split, values in storage.read_json(file).items()
        }
    except BrokenContract as e:  # another version of the program wrote it
        raise UserError(f"{file}: {e}; delete the folder of its stage and run again") from e


def marks_in_force(ctx: Context) -> run_figures.Marks:
    """What stage `evaluate` chose on dev, or was given."""
    choices = in_force.read_choices(ctx.workdir)
    found = in_force.InForce.of(choices)
    by_model = ("mark", "step_threshold", "final_threshold")
    counts = {
        f"{name}.{of}": entry["n"] for name in by_model for of, entry in choices[name].items()
    }
    counts["temperature"] = choices["temperature"]["n"]
    if found.combination is None:
        weights = None
    else:
        weights = dict(choices["combination"]["weights"])
        counts["combination"] = choices["combination"]["n"]
    return run_figures.Marks(
        mark=found.mark,
        step_threshold=found.step_threshold,
        final_threshold=found.final_threshold,
        temperature=found.temperature,
        choose=found.choose,
        combination=weights,
        dev_items=counts,
    )


def parameters(ctx: Context) -> int:
    """Number of weights of the student."""
    import jax

    from glore_jax.models import llama

    folder = ctx.folder("student", "hf")
    if not hf_import.is_export(folder):
        raise UserError(f"{folder}: no student; run the stage student")
    _, shapes = llama.abstract(hf_import.read_config(folder))
    return int(sum(leaf.size for leaf in jax.tree.leaves(shapes)))


def unseen_templates(measured: figures.SplitFigures) -> run_figures.Templates:
    """The few figures of the split of unseen templates that the report shows."""
    draft = measured.draft
    pipeline = measured.pipeline
    assert draft and pipeline and pipeline.rerank and pipeline.oracle  # every split has these
    return run_figures.Templates(
        n=draft.n,
        draft=draft.acc,
        rerank=pipeline.rerank.acc,
        oracle=pipeline.oracle.acc,
        rerank_over_draft=(measured.gains or {}).get("rerank_over_draft"),
    )


def total_cost(manifests: Mapping[str, Mapping[str, Any]]) -> run_figures.TotalCost:
    """Cost of the training labels: rollouts made and saved, tokens drawn, seconds of the stage."""
    rollout = manifests["rollout"]
    return run_figures.TotalCost(
        rollouts=rollout["counts"]["rollouts"],
        rollouts_full=rollout["counts"]["rollouts_full"],
        tokens=rollout["counts"]["tokens"],
        seconds=rollout["seconds"],
    )


def _label_truth(counts: Mapping[str, Any]) -> LabelTruth | None:
    """The training labels against the truth; None where the task does not know it."""
    truth = counts["label_truth"]
    return LabelTruth.from_json(truth) if truth else None


def _with_rounds(student: figures.Student | None, rounds: list[dict]) -> figures.Student:
    """The student's figures with its rounds of expert iteration."""
    entries = tuple(figures.Round.from_json(entry) for entry in rounds)
    return dataclasses.replace(student or figures.Student(), rounds=entries)


def _with_training(
    curves: figures.Curves | None, rates: Sequence[Mapping[str, Any]]
) -> figures.Curves:
    """The curves with the rates of the training labels; `rates` as of `balance.label_rates`."""
    training = draft_figures.rate_curve(rates)
    return dataclasses.replace(curves or figures.Curves(), label_rate_training=training)


def looks(counts: Mapping[str, Mapping[str, Any]]) -> dict[str, run_figures.Look] | None:
    """What the stages saw of their reward models, by model; None if they did not look."""
    seen = {
        "orm": counts["orm"].get("plain", {}).get("looks"),
        "balanced_orm": counts["orm"].get("balanced", {}).get("looks"),
        "sorm": counts["sorm"].get("looks"),
    }
    keys = run_figures.Look.specs()
    return {
        model: run_figures.Look.from_json({key: look[key] for key in keys if key in look})
        for model, look in seen.items()
        if look
    } or None


# Worked examples.


def telling(examples: Sequence[WorkedExample], count: int) -> list[WorkedExample]:
    """Up to `count` examples, those first in which something happened: fixed, broken, missed.

    The kinds take turns, so that none crowds out the others.
    """
    kinds: dict[int, list[WorkedExample]] = {}
    for example in examples:
        kinds.setdefault(_rank(example), []).append(example)
    queues = [kinds[rank] for rank in sorted(kinds)]
    longest = max(map(len, queues), default=0)
    in_turn = [queue[i] for i in range(longest) for queue in queues if i < len(queue)]
    return in_turn[:count]


def _rank(example: WorkedExample) -> int:
    """What happened, the most telling first: 0 fixed, 1 broken, 2 missed, 3 lost, 4 kept."""
    if example["choice_correct"]:
        return 4 if example["draft_correct"] else 0
    if example["draft_correct"]:
        return 1
    return 2 if any(other["correct"] for other in example["others"].values()) else 3
