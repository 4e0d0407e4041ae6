"""Records made by hand, with figures known beforehand."""

from types import SimpleNamespace

import pytest

from glore_jax.stages.measures import measure
from glore_jax.tasks.base import Problem, Task


class Known(Task):
    """Knows the truth of every step from the problem's facts."""

    name, splits = "known", ()

    def load(self, split):
        raise AssertionError

    def step_truth(self, problem, steps, strict=False):
        if problem.facts is None:
            return None
        right = problem.facts["right"] - strict  # strictly, one step fewer is right
        return [right > i for i in range(len(steps))]


RIGHT, WRONG = ["2+3=5", "#### 5"], ["2+3=6", "#### 6"]
# Each question: is the draft, the global, the ORM's and the SORM's local refinement right; scores of draft, global, local.
QUESTIONS = {
    "a": (False, True, False, True, (0.2, 0.9, 0.8)),  # fixed globally, and chosen
    "b": (
        False,
        False,
        True,
        True,
        (0.5, 0.5, 0.5),
    ),  # a tie: the draft stays, though the local one is right
    "c": (True, False, True, True, (0.3, 0.7, 0.6)),  # broken globally, and chosen
    "d": (True, True, False, True, (0.9, 0.9, 0.1)),  # a tie: the draft
    "e": (False, False, False, False, (0.1, 0.2, 0.4)),  # lost
}


def refinement(right, bad):
    return {"correct": right, "steps": RIGHT if right else WRONG, "bad": bad, "ended": True}


@pytest.fixture
def records():
    problems = [
        Problem(q, f"question {q}", "5", facts={"right": 2 if row[0] else 0})
        for q, row in QUESTIONS.items()
    ]
    drafts, refined, finals, orm = [], [], [], []
    for q, (draft, whole, local_orm, local_sorm, scores) in QUESTIONS.items():
        drafts.append(
            {
                "question_id": q,
                "sample_id": 0,
                "question": f"question {q}",
                "gold": "5",
                "correct": draft,
                "steps": RIGHT if draft else WRONG,
                "ended": q != "e",
            }
        )
        refined.append(
            {
                "global": refinement(whole, 0),
                "local_orm": refinement(local_orm, 0),
                "local_sorm": refinement(local_sorm, 1),
            }
        )
        finals.append(
            {"global": scores[1], "local_orm": 0.99, "local_sorm": scores[2]}
        )  # the ORM's own local one takes no part
        orm.append([0.6, scores[0]])
    sorm = [[0.1, 0.2], [0.9, 0.5], [0.9, 0.8], [0.4, 0.7], [0.3, 0.6]]
    return {
        "problems": problems,
        "drafts": drafts,
        "samples": [],
        "labelled": [],
        "refined": refined,
        "finals": finals,
        "scored": {"drafts": {"orm": orm, "sorm": sorm}, "samples": {"orm": [], "sorm": []}},
    }


def context(k=4):
    evaluate = SimpleNamespace(threshold=0.5, k=k, label_k=4)
    return SimpleNamespace(task=Known({}), config=SimpleNamespace(evaluate=evaluate, seed=0))


@pytest.fixture
def figures(records):
    return measure(context(), **records)["figures"]


def test_draft(figures):
    assert figures["draft"] == {
        "acc": 2 / 5,
        "n": 5,
        "truncated": 1,
        "steps_mean": 1.0,
        "first_error_histogram": [[1, 3]],
    }


@pytest.mark.parametrize(
    "kind, fixed, broken, every, only",
    [
        ("global", 1 / 3, 1 / 2, 2 / 5, 3 / 5),
        ("local_orm", 1 / 3, 1 / 2, 2 / 5, 3 / 5),
        ("local_sorm", 2 / 3, 0.0, 4 / 5, 4 / 5),
        ("union_orm", 2 / 3, 0.0, 4 / 5, 4 / 5),
        ("union_sorm", 2 / 3, 0.0, 4 / 5, 4 / 5),
    ],
)
def test_fix_and_break_rates(figures, kind, fixed, broken, every, only):
    row = figures["refine"][kind]
    assert (row["n_wrong"], row["n_right"], row["n"]) == (3, 2, 5)
    found = [row[name] for name in ("fix_rate", "break_rate", "all_acc", "oracle_when_acc")]
    assert found == pytest.approx([fixed, broken, every, only])


def test_rates_without_a_side(records):
    kept = [i for i, d in enumerate(records["drafts"]) if d["correct"]]
    few = records | {
        k: [records[k][i] for i in kept] for k in ("problems", "drafts", "refined", "finals")
    }
    few["scored"] = {
        "drafts": {m: [v[i] for i in kept] for m, v in records["scored"]["drafts"].items()},
        "samples": {},
    }
    row = measure(context(), **few)["figures"]["refine"]["global"]
    assert row["fix_rate"] is None and row["n_wrong"] == 0 and row["break_rate"] == 1 / 2


def test_rerank(records, figures):
    # Chosen: a global (right), b draft (wrong), c global (wrong), d draft (right), e local (wrong).
    assert figures["pipeline"]["rerank"] == {"acc": 2 / 5, "n": 5}
    assert figures["pipeline"]["oracle"] == {"acc": 4 / 5, "n": 5}
    examples = measure(context(), **records)["examples"]
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


def test_steps_against_the_truth(figures):
    # Bad is p <= threshold, so 0.5 is bad. SORM calls: a BB, b GB, c GG, d BG, e BG; truth: a BB, b BB, c GG, d GG, e BB.
    step = figures["step_truth"]["sorm"]
    assert step["n"] == 10 and step["acc"] == pytest.approx(7 / 10)
    assert step["f1"] == pytest.approx(2 * 4 / (5 + 6))
    assert step["first_error_acc"] == pytest.approx(
        3 / 5
    )  # a, c and e; b one too late, d a false alarm
    assert figures["final"]["sorm"]["acc"] == pytest.approx(4 / 5)  # e is called right
    assert figures["final"]["orm"]["acc"] == pytest.approx(4 / 5)  # c is called wrong
    assert "step" not in figures and "cost" not in figures  # nothing was labelled
    assert "label_truth" not in figures
    # Strictly only the first steps of c and d are right: then SORM also misses both last steps.
    assert figures["step_truth_strict"]["sorm"]["acc"] == pytest.approx(5 / 10)


def test_labels(records):
    labelled = [
        {
            "question_id": "a",
            "sample_id": 0,
            "completions": WRONG,
            "labels": [0, 0],
            "tries": [4, 0],
            "tokens": 20,
        },
        {
            "question_id": "b",
            "sample_id": 0,
            "completions": WRONG,
            "labels": [1, 0],
            "tries": [4, 0],
            "tokens": 20,
        },
        {
            "question_id": "c",
            "sample_id": 0,
            "completions": RIGHT,
            "labels": [1, 1],
            "tries": [0, 0],
            "tokens": 0,
        },
        {
            "question_id": "d",
            "sample_id": 0,
            "completions": RIGHT,
            "labels": [1, 1],
            "tries": [0, 0],
            "tokens": 0,
        },
    ]  # e has none: it wrote no step
    figures = measure(context(), **records | {"labelled": labelled})["figures"]
    assert figures["label_truth"] == {
        "acc": 3 / 4,
        "n": 4,
        "false_positive": 1 / 2,
        "false_negative": 0.0,
        "strict_acc": 3 / 4,
    }
    assert figures["cost"] == {"rollouts": 8, "rollouts_full": 16, "tokens": 40}
    step = figures["step"]["sorm"]  # against labels: a BB, b GB, c GG, d GG
    assert (
        step["n"] == 8
        and step["acc"] == pytest.approx(7 / 8)
        and step["first_error_acc"] == pytest.approx(3 / 4)
    )
    assert figures["curves"]["label_rate"] == {
        "length": [1, 2],
        "rate": [3 / 4, 2 / 4],
        "n": [4, 4],
    }


def test_unknown_truth(records):
    records["problems"] = [Problem(p.id, p.question, p.gold) for p in records["problems"]]
    figures = measure(context(), **records)["figures"]
    assert "step_truth" not in figures and "label_truth" not in figures
    assert figures["draft"]["first_error_histogram"] == []


def test_samples(records):
    # Two questions of four samples. a: right 5 once; 6 twice. b: all right but one that has no answer.
    rows = {
        "a": [
            ("6", False, -1.0, 0.3),
            ("5", True, -2.0, 0.8),
            ("6.0", False, -3.0, 0.2),
            ("7", False, -4.0, 0.9),
        ],
        "b": [
            ("5", True, -1.0, 0.9),
            (None, False, -9.0, 0.1),
            ("5", True, -3.0, 0.5),
            ("5.0", True, -2.0, 0.5),
        ],
    }
    samples = [
        {
            "question_id": q,
            "sample_id": i,
            "gold": "5",
            "answer": answer,
            "correct": correct,
            "logprob": logprob,
            "ended": True,
            "steps": [f"#### {answer}"],
        }
        for q, group in rows.items()
        for i, (answer, correct, logprob, _) in enumerate(group)
    ]
    scores = [[score] for group in rows.values() for *_, score in group]
    shuffled = samples[::-1]  # the order of records means nothing
    records["scored"]["samples"] = {"orm": scores[::-1], "sorm": [[1 - s] for (s,) in scores[::-1]]}
    figures = measure(context(), **records | {"samples": shuffled})["figures"]
    student = figures["student"]
    assert (
        student["K"] == 4
        and student["n"] == 2
        and student["maj1"] == 2 / 5
        and student["mean1"] == pytest.approx(1 / 2)
    )
    assert student["majK"] == 1 / 2  # a votes 6
    assert student["passK"] == 1.0
    assert student["rerankK"] == 1 / 2  # a picks 7
    assert student["rerankK_sorm"] == 0.0  # a picks 6.0, b the empty one
    assert student["loglikK"] == 1 / 2  # a picks 6
    # Pairs of a right and a wrong sample: a has 3 (two won), b has 3 (all won).
    assert (
        figures["scorer"]["orm"]["within_pair"] == pytest.approx(5 / 6)
        and figures["scorer"]["orm"]["n"] == 6
    )
    assert figures["scorer"]["sorm"]["within_pair"] == pytest.approx(1 / 6)
    assert figures["scorer"]["loglik"]["within_pair"] == pytest.approx((2 + 3) / 6)
    # Best of three of a: of four triples one lacks 7 and picks 5, the rest pick 7; b always picks a right one.
    assert figures["pipeline"]["bo3"]["acc"] == pytest.approx((1 / 4 + 1) / 2, abs=0.05)
    assert figures["pipeline"]["bo3_oracle"]["acc"] == pytest.approx((3 / 4 + 1) / 2, abs=0.05)
    assert figures["pipeline"]["rerank"]["n"] == 5  # the drafts' own figures stay
    curve = figures["curves"]["rerank"]
    assert curve["k"] == [1, 2, 4]
    assert (
        curve["pass"]["mean"][-1] == 1.0
        and curve["orm"]["mean"][-1] == 1 / 2
        and curve["majority"]["mean"][-1] == 1 / 2
    )
