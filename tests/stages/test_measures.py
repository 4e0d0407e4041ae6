"""A split's figures all together: which there are, and that they fit each other."""

import dataclasses

import pytest
from known_records import RIGHT, WRONG, context, make_records, make_sampled

from glore_jax.report.figures import SplitFigures
from glore_jax.stages.measures import measure
from glore_jax.tasks.base import Problem


def measured(**changes) -> dict:
    records = dataclasses.replace(make_records(), **changes)
    return measure(context(), records).figures.to_json()


def labelled(question: str, steps: list[str], labels: list[int], tries: int) -> dict:
    return {
        "question_id": question,
        "sample_id": 0,
        "completions": steps,
        "labels": labels,
        "tries": [tries, 0],
        "tokens": 5 * tries,
    }


# e has no labels: as if it had written no step.
LABELLED = [
    labelled("a", WRONG, [0, 0], tries=4),
    labelled("b", WRONG, [1, 0], tries=4),
    labelled("c", RIGHT, [1, 1], tries=0),
    labelled("d", RIGHT, [1, 1], tries=0),
]


def test_drafts_are_measured_without_samples_and_labels():
    figures = measured()
    assert figures["draft"] == {
        "acc": 2 / 5,
        "n": 5,
        "truncated": 1,
        "steps_mean": 1.0,
        "first_error_histogram": [[1, 3]],
    }
    for missing in ("step", "cost", "label_truth", "student", "scorer"):  # nothing was labelled
        assert missing not in figures
    assert set(figures["curves"]) == {"reliability", "scores"}


def test_figures_come_back_from_their_file():
    records = dataclasses.replace(make_sampled(), labelled=LABELLED[:2])
    figures = measure(context(), records).figures.to_json()
    assert SplitFigures.from_json(figures).to_json() == figures


def test_steps_against_the_truth():
    figures = measured()
    # Bad is p <= threshold, so 0.5 is bad. B bad, G good, the SORM's calls / the truth:
    # a BB/BB, b GB/BB, c GG/GG, d BG/GG, e BG/BB.
    step = figures["step_truth"]["sorm"]
    assert step["n"] == 10 and step["acc"] == pytest.approx(7 / 10)
    assert step["f1"] == pytest.approx(2 * 4 / (5 + 6))
    # Found in a, c and e; in b one step too late, in d a false alarm.
    assert step["first_error_acc"] == pytest.approx(3 / 5)
    assert figures["final"]["sorm"]["acc"] == pytest.approx(4 / 5)  # e is called right
    assert figures["final"]["orm"]["acc"] == pytest.approx(4 / 5)  # c is called wrong
    # Strictly only the first steps of c and d are right: then SORM also misses both last steps.
    assert figures["step_truth_strict"]["sorm"]["acc"] == pytest.approx(5 / 10)


def test_labels():
    figures = measured(labelled=LABELLED)
    assert figures["label_truth"] == {
        "acc": 3 / 4,
        "n": 4,
        "false_positive": 1 / 2,
        "false_negative": 0.0,
        "strict_acc": 3 / 4,
    }
    assert figures["cost"] == {"rollouts": 8, "rollouts_full": 16, "tokens": 40}
    step = figures["step"]["sorm"]  # calls against labels: a BB/BB, b GB/GB, c GG/GG, d BG/GG
    assert step["n"] == 8 and step["acc"] == pytest.approx(7 / 8)
    assert step["first_error_acc"] == pytest.approx(3 / 4)
    assert figures["curves"]["label_rate"] == {
        "length": [1, 2],
        "rate": [3 / 4, 2 / 4],
        "n": [4, 4],
    }


def test_unknown_truth():
    problems = [Problem(p.id, p.question, p.gold) for p in make_records().problems]
    figures = measured(problems=problems)
    assert "step_truth" not in figures and "label_truth" not in figures
    assert figures["draft"]["first_error_histogram"] == []
    # Labels take the place of the truth: a goes wrong at step 1, b at step 2.
    figures = measured(problems=problems, labelled=LABELLED)
    assert "step_truth" not in figures and "label_truth" not in figures
    assert figures["draft"]["first_error_histogram"] == [[1, 1], [2, 1]]


def test_samples_leave_the_drafts_figures_as_they_are():
    sampled = make_sampled()
    without = measure(context(), dataclasses.replace(sampled, sampled=False)).figures.to_json()
    figures = measure(context(), sampled).figures.to_json()
    assert figures["student"]["maj1"] == figures["draft"]["acc"] == 0.0
    for name in ("draft", "rerank", "oracle"):
        assert figures["pipeline"][name] == without["pipeline"][name]
    assert set(without["pipeline"]) == {"draft", "rerank", "oracle"}
    assert figures["curves"]["reliability"] == without["curves"]["reliability"]
    assert figures["curves"]["rerank"]["k"] == [1, 2, 4]


def test_the_system_and_its_rivals():
    figures = measure(context(), make_sampled()).figures.to_json()["pipeline"]
    # Three texts of ten tokens each, whoever draws them; the ORM takes b's draft in a tie.
    assert figures["rerank"] == {"acc": 1 / 2, "n": 2, "tokens": 30.0}
    assert figures["draft"] == {"acc": 0.0, "n": 2, "tokens": 10.0}
    assert figures["bo3"] == {"acc": 1.0, "n": 2, "tokens": 30.0}


def test_steps_are_called_at_their_threshold_and_first_errors_at_the_mark():
    # Of the SORM's second steps those of a, b are wrong by the truth; at .2 only a's is called so.
    thresholds = {"orm": 0.5, "sorm": 0.2}
    marks = {"orm": 0.5, "sorm": 0.3}
    force = dataclasses.replace(
        make_records().in_force, step_threshold=thresholds, final_threshold=thresholds, mark=marks
    )
    figures = measured(in_force=force)
    step = figures["step_truth"]["sorm"]
    # Calls / truth: a BB/BB, b GG/BB, c GG/GG, d GG/GG, e GG/BB.
    assert step["acc"] == pytest.approx(6 / 10)
    # At .3 the first one is found in a and e, none is called in c and d.
    assert step["first_error_acc"] == pytest.approx(4 / 5)
    assert figures["final"]["sorm"]["acc"] == pytest.approx(3 / 5)  # b and e are called right


def test_examples():
    examples = measure(context(), make_records()).examples
    assert [e["choice"] for e in examples] == ["global", "draft", "global", "draft", "local"]
    assert [e["choice_correct"] for e in examples] == [True, False, False, True, False]
    assert examples[1]["scores"] == {"draft": 0.5, "global": 0.5, "local": 0.5}
    assert [e["truth"] for e in examples] == [
        [False] * 2,
        [False] * 2,
        [True] * 2,
        [True] * 2,
        [False] * 2,
    ]
