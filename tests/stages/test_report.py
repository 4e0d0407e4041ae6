"""The report of a finished run has every figure of the contract; its examples tell something."""

import json
import pathlib

import jsonschema
import pytest

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.report import figures
from glore_jax.stages.report import measured_splits, telling, total_cost, unseen_templates

DOCS = pathlib.Path(__file__).parents[2] / "docs"


def example(name, draft, choice, refined=False):
    return {
        "name": name,
        "draft_correct": draft,
        "choice_correct": choice,
        "others": {"global": {"steps": [], "correct": refined}},
    }


FIXED = example("fixed", False, True, True)
BROKEN = example("broken", True, False)
MISSED = example("missed", False, False, True)
LOST = example("lost", False, False)
KEPT = example("kept", True, True, True)


def names(examples, count):
    return [e["name"] for e in telling(examples, count)]


def test_examples_in_which_something_happens_come_first():
    assert names([KEPT, LOST, MISSED, BROKEN, FIXED], 5) == [
        "fixed",
        "broken",
        "missed",
        "lost",
        "kept",
    ]
    assert names([KEPT, LOST, MISSED, BROKEN, FIXED], 2) == ["fixed", "broken"]


def test_no_kind_of_example_crowds_out_the_others():
    many = [example(f"kept {i}", True, True) for i in range(20)]
    many += [example(f"fixed {i}", False, True) for i in range(20)]
    assert names([*many, LOST], 7) == [
        "fixed 0",
        "lost",
        "kept 0",
        "fixed 1",
        "kept 1",
        "fixed 2",
        "kept 2",
    ]
    assert len(names(many, 100)) == 40 and names([], 5) == []


def test_cost_is_that_of_the_training_labels():
    manifests = {
        "student": {"seconds": 10.0, "counts": {}},
        "sample": {"seconds": 2.5, "counts": {"tokens": 900}},
        "rollout": {
            "seconds": 4.0,
            "counts": {"rollouts": 30, "rollouts_full": 80, "tokens": 700, "drafts": 5},
        },
    }
    assert total_cost(manifests).to_json() == {
        "rollouts": 30,
        "rollouts_full": 80,
        "tokens": 700,
        "seconds": 4.0,
    }


def test_templates_are_shown_by_few_figures_of_their_split():
    gain = figures.Gain(value=0.25, low=0.1, high=0.4, n=8, stories=8)
    split = figures.SplitFigures(
        draft=figures.Draft(acc=0.25, n=8),
        pipeline=figures.Pipeline(
            rerank=figures.Choice(acc=0.5, n=8), oracle=figures.Choice(acc=0.75, n=8)
        ),
        gains={"rerank_over_draft": gain},
    )
    assert unseen_templates(split).to_json() == {
        "n": 8,
        "draft": 0.25,
        "rerank": 0.5,
        "oracle": 0.75,
        "rerank_over_draft": {"value": 0.25, "low": 0.1, "high": 0.4, "n": 8, "stories": 8},
    }


def test_figures_that_another_version_wrote_are_a_clear_error(ctx):
    file = ctx.folder("evaluate", "results.json")
    storage.write_json(file, {"test": {"draft": {"accuracy": 0.5}}})
    with pytest.raises(UserError, match=r"results.json: .*draft.accuracy is not declared"):
        measured_splits(ctx)


@pytest.fixture(scope="module")
def report(finished):
    return json.loads((finished / "report" / "report.json").read_text())


RATES = [
    "draft.acc",
    "scorer.orm.within_pair",
    "scorer.sorm.within_pair",
    "scorer.loglik.within_pair",
    "student.maj1",
    "student.majK",
    "student.passK",
    "student.rerankK",
    *(
        f"{truth}.{model}.{figure}"
        for truth in ("step", "step_truth")
        for model in ("orm", "sorm")
        for figure in ("acc", "f1", "first_error_acc")
    ),
    "label_truth.acc",
    "label_truth_test.acc",
    "final.orm.acc",
    "final.sorm.acc",
    *(
        f"refine.{kind}.{rate}"
        for kind in ("global", "local_orm", "local_sorm", "union_orm", "union_sorm", "base_global")
        for rate in ("fix_rate", "break_rate")
    ),
    *(
        f"pipeline.{name}.acc"
        for name in (
            "draft",
            "rerank",
            "oracle",
            "rerank_loglik",
            "base_judge",
            "base_refiner",
            "greedy2_orm",
            "greedy2_loglik",
            "majority3",
            "weighted3",
            "bo3",
            "bo3_oracle",
        )
    ),
]
STAGES = ("student", "sample", "rollout", "orm", "sorm", "refiner", "evaluate")


@pytest.mark.parametrize("figure", RATES)
def test_every_rate_of_the_contract(report, figure):
    *where, last = figure.split(".")
    part = report
    for key in where:
        part = part[key]
    assert part[last] is None or 0 <= part[last] <= 1  # None: there was nothing to measure
    assert "n" in part or any(key.startswith("n_") for key in part)


def test_cost_and_seconds_of_the_contract(report):
    cost = report["cost"]
    assert 0 < cost["rollouts"] <= cost["rollouts_full"] and cost["tokens"] > 0
    assert set(report["seconds"]) >= set(STAGES) and all(report["seconds"][s] > 0 for s in STAGES)
    assert cost["seconds"] == report["seconds"]["rollout"]


def test_marks_in_force_are_those_that_were_chosen(finished, report):
    chosen = json.loads((finished / "evaluate" / "choices.json").read_text())
    for name in ("mark", "step_threshold", "final_threshold"):
        assert report["marks"][name] == {of: one["value"] for of, one in chosen[name].items()}
    assert report["marks"]["dev_items"]["temperature"] == 4  # questions
    assert all(report["pipeline"][name]["tokens"] > 0 for name in report["pipeline"])


def test_the_report_keeps_to_its_schema(report):
    schema = json.loads((DOCS / "report.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(report)


def test_the_page_and_its_text_lie_beside_the_figures(finished, report):
    folder = finished / "report"
    page = (folder / "report.html").read_text()
    text = (folder / "report.md").read_text()
    assert report["draft"]["n"] == 6 and report["model"]["parameters"] > 1e5
    assert "</html>" in page and text.startswith("#")
    assert len(list(folder.glob("**/*.png"))) > 3
    assert (folder / "summary.txt").read_text().rstrip().endswith(str(folder / "report.html"))
