"""A split's figures all together: which there are, and that they fit each other."""

import dataclasses

import pytest
from known_records import RIGHT, WRONG, context, make_records, make_sampled

from glore_jax.report.figures import SplitFigures
from glore_jax.stages.evaluation.measures import measure
from glore_jax.tasks.base import Problem


def measured(**changes) -> dict:
    records = dataclasses.replace(make_records(), **changes)
    return measure(context(), records).figures.to_json()


def labelled(question: str, steps: list[str], labels: list[int], tries: int) -> dict:
    hits = tries * labels[0]
    return {
        "question_id": question,
        "sample_id": 0,
        "completions": steps,
        "labels": labels,
        "hits": [hits, 0],
        "tries": [tries, 0],
        "first_error": labels.index(0) if 0 in labels else -1,
        "correct": steps == RIGHT,
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
        "stories": 5,
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
    # Of ten steps six are wrong; of its three wrong calls one is a false alarm.
    assert step["majority"] == 6 / 10
    assert step["missed"] == pytest.approx(2 / 6) and step["false_alarm"] == pytest.approx(1 / 4)
    assert figures["gains"]["truth_sorm_over_majority"]["value"] == pytest.approx(1 / 10)
    assert figures["gains"]["truth_sorm_alarms_over_half"]["value"] == pytest.approx(1 / 3 - 1 / 2)
    # The marks stand where the refinements were begun: before the second step.
    assert figures["located_truth"]["sorm"] == {
        "found": 0.0,
        "early": 0.0,
        "late": 1.0,
        "missed": 0.0,
        "offset": 1.0,
        "n_wrong": 3,
        "false_alarm": 1.0,
        "n_right": 2,
    }


def test_labels():
    figures = measured(labelled=LABELLED)
    truth = figures["label_truth"]
    assert (truth["acc"], truth["n"], truth["strict_acc"]) == (3 / 4, 4, 3 / 4)
    assert (truth["false_positive"], truth["false_negative"]) == (1 / 2, 0.0)
    assert (truth["wrong_acc"], truth["wrong_n"], truth["errors"]) == (1 / 2, 2, 2)
    assert (truth["first_error_acc"], truth["offset"]) == (1 / 2, 1 / 2)
    assert [row["k"] for row in truth["by_k"]] == [1, 2, 4]
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


def test_intervals_are_of_stories():
    """Questions are a, b, c, d, e; all of one story but e."""
    problems = [
        dataclasses.replace(p, variation_of="" if p.id == "e" else "a")
        for p in make_records().problems
    ]
    figures = measured(problems=problems)
    alone = measured()
    assert figures["draft"]["stories"] == 2
    gain, of_questions = (f["gains"]["oracle_over_rerank"] for f in (figures, alone))
    assert (gain["n"], gain["stories"]) == (5, 2)
    assert (of_questions["n"], of_questions["stories"]) == (5, 5)
    assert gain["value"] == of_questions["value"]
    assert (gain["low"], gain["high"]) != (of_questions["low"], of_questions["high"])


def test_gains_are_differences_of_the_figures_beside_them():
    records = dataclasses.replace(make_sampled(), labelled=LABELLED[:2])
    figures = measure(context(), records).figures.to_json()
    gains = figures["gains"]
    pipeline = figures["pipeline"]
    for name in ("draft", "bo3", "bo3_oracle"):
        difference = pipeline["rerank"]["acc"] - pipeline[name]["acc"]
        assert gains[f"rerank_over_{name}"]["value"] == pytest.approx(difference)
    scorer = figures["scorer"]
    pairs = gains["pairs_orm_over_loglik"]
    assert pairs["value"] == scorer["orm"]["within_pair"] - scorer["loglik"]["within_pair"]
    assert pairs["n"] == 2
    refine = figures["refine"]
    fixed = refine["local_sorm"]["fix_rate"] - refine["local_orm"]["fix_rate"]
    assert gains["fix_local_sorm_over_local_orm"]["value"] == pytest.approx(fixed)
    step = figures["step"]
    for model in ("orm", "sorm"):
        over = step[model]["acc"] - step[model]["majority"]
        assert gains[f"steps_{model}_over_majority"]["value"] == pytest.approx(over)
    final = figures["final"]
    assert gains["final_orm_over_sorm"]["value"] == final["orm"]["acc"] - final["sorm"]["acc"]
    student = figures["student"]
    best = student["rerankK"] - student["rerankK_sorm"]
    assert gains["best_of_k_orm_over_sorm"]["value"] == best
    # a is solved by the system, b only by the oracle.
    assert gains["gap_closed"]["value"] == 1 / 2 and gains["gap_closed"]["n"] == 2
    assert all(gain["low"] <= gain["value"] <= gain["high"] for gain in gains.values())


def test_an_interval_needs_no_question_order():
    records = make_sampled()
    gains = measure(context(), records).figures.gains
    turned = dataclasses.replace(
        records,
        drafts=records.drafts[::-1],
        refined=records.refined[::-1],
        finals={scorer: rows[::-1] for scorer, rows in records.finals.items()},
        scored=records.scored
        | {"drafts": {m: rows[::-1] for m, rows in records.scored["drafts"].items()}},
    )
    assert measure(context(), turned).figures.gains == gains


def test_the_system_by_length_of_the_worked_solution():
    problems = [
        dataclasses.replace(p, solution=("2+3=5", "#### 5")) for p in make_records().problems
    ]
    (row,) = measured(problems=problems)["by_steps"]
    assert row == {"steps": 1, "n": 5, "draft": 2 / 5, "rerank": 2 / 5, "oracle": 4 / 5}
    assert "by_steps" not in measured()


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
