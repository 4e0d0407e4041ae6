"""A synthetic run for the report: results and examples of the contracted shape."""

import copy
import math
import random
from collections.abc import Callable

import matplotlib
import pytest

MODELS = ("orm", "balanced_orm", "sorm")


def decisions(acc: float, f1: float, n: int) -> dict:
    return {
        "acc": acc,
        "f1": f1,
        "balanced_acc": acc - 0.021,
        "false_alarm": 0.143,
        "missed": 0.217,
        "n": n,
    }


def step_decisions(acc: float, first_error: float, auc: float, n: int) -> dict:
    return decisions(acc, acc + 0.011, n) | {
        "first_error_acc": first_error,
        "first_error_f1": first_error - 0.013,
        "auc": auc,
        "positive": 0.681,
    }


def make_round(number: int, acc: float, examples: int) -> dict:
    return {
        "round": number,
        "acc": acc,
        "n": 200,
        "examples": examples,
        "too_long": 0,
        "truncated": 5,
        "fill": 0.87,
        "gradient_norm": 0.31,
        "loss": 0.052,
        "token_accuracy": 0.981,
    }


def make_results() -> dict:
    """Results with every part; figures that tests look for are distinct to three decimals."""
    step = {
        "orm": step_decisions(0.731, 0.413, 0.801, 2051),
        "balanced_orm": step_decisions(0.722, 0.402, 0.792, 2051),
        "sorm": step_decisions(0.824, 0.586, 0.897, 2051),
    }
    truth = {
        "orm": step_decisions(0.700, 0.382, 0.770, 2049),
        "balanced_orm": step_decisions(0.691, 0.371, 0.761, 2049),
        "sorm": step_decisions(0.793, 0.555, 0.866, 2049),
    }
    refine = {
        "global": (0.257, 0.118, 0.541, 0.664),
        "local_orm": (0.193, 0.067, 0.556, 0.638),
        "local_sorm": (0.231, 0.059, 0.573, 0.655),
        "union_orm": (0.328, 0.021, None, None),
        "union_sorm": (0.366, 0.019, None, None),
    }
    return {
        "name": "tiny",
        "task": "chains",
        "model": {"parameters": 1568480, "base": "tiny"},
        "paper_column": "",
        "draft": {
            "acc": 0.552,
            "n": 500,
            "truncated": 3,
            "steps_mean": 4.1,
            "first_error_histogram": [[1, 61], [2, 84], [3, 47], [4, 22], [5, 10]],
        },
        "scorer": {
            "orm": {"within_pair": 0.783, "n": 1234, "auc": 0.816, "n_auc": 4000},
            "balanced_orm": {"within_pair": 0.776, "n": 1234, "auc": 0.807, "n_auc": 4000},
            "sorm": {"within_pair": 0.768, "n": 1234, "auc": 0.795, "n_auc": 4000},
            "loglik": {"within_pair": 0.634, "n": 1234, "auc": 0.671, "n_auc": 4000},
        },
        "student": {
            "K": 8,
            "n": 500,
            "maj1": 0.552,
            "mean1": 0.471,
            "majK": 0.594,
            "passK": 0.843,
            "rerankK": 0.657,
            "rerankK_sorm": 0.648,
            "loglikK": 0.603,
            "truncated": 41,
            "rounds": [
                make_round(0, 0.445, 1500),
                make_round(1, 0.525, 6184),
                make_round(2, 0.545, 9377),
            ],
        },
        "step": step,
        "step_truth": truth,
        "label_truth": {
            "acc": 0.953,
            "n": 2049,
            "false_positive": 0.037,
            "false_negative": 0.061,
            "strict_acc": 0.934,
        },
        "label_truth_test": {
            "acc": 0.912,
            "n": 1733,
            "false_positive": 0.048,
            "false_negative": 0.102,
            "strict_acc": 0.899,
        },
        "final": {m: decisions(0.846 - 0.017 * i, 0.803, 500) for i, m in enumerate(MODELS)},
        "refine": {
            key: {
                "fix_rate": fix,
                "n_wrong": 224,
                "break_rate": broken,
                "n_right": 276,
                "all_acc": every,
                "oracle_when_acc": only,
                "n": 500,
            }
            for key, (fix, broken, every, only) in refine.items()
        },
        "pipeline": {
            "rerank": {"acc": 0.638, "n": 500, "tokens": 210.5},
            "oracle": {"acc": 0.716, "n": 500, "tokens": 210.5},
            "bo3": {"acc": 0.608, "n": 500, "tokens": 210.5},
            "bo3_oracle": {"acc": 0.694, "n": 500, "tokens": 210.5},
            "rerank_loglik": {"acc": 0.588, "n": 500, "tokens": 210.5},
        },
        "templates": {"n": 200, "draft": 0.475, "rerank": 0.565, "oracle": 0.655},
        "cost": {"rollouts": 15234, "rollouts_full": 60416, "tokens": 912345, "seconds": 187.4},
        "seconds": {
            "student": 312.6,
            "sample": 98.2,
            "rollout": 187.4,
            "orm": 41.3,
            "sorm": 39.8,
            "refiner": 66.1,
            "evaluate": 121.7,
        },
        "curves": make_curves(),
    }


def make_curves() -> dict:
    ks = [1, 2, 4, 8]

    def band(start: float, gain: float) -> dict:
        mean = [start + gain * math.log2(k) / 3 for k in ks]
        return {"mean": mean, "low": [m - 0.02 for m in mean], "high": [m + 0.02 for m in mean]}

    bins = [(i + 0.5) / 10 for i in range(10)]
    return {
        "rerank": {
            "k": ks,
            "pass": band(0.471, 0.372),
            "majority": band(0.471, 0.123),
            "orm": band(0.471, 0.186),
            "sorm": band(0.471, 0.171),
            "loglik": band(0.471, 0.132),
        },
        "label_rate": {
            "length": [1, 2, 3, 4, 5, 6],
            "rate": [0.93, 0.81, 0.66, 0.48, 0.31, 0.22],
            "n": [1800, 1800, 1650, 1104, 520, 96],
        },
        "reliability": {
            "orm": {
                "p": bins,
                "rate": [b**0.6 for b in bins],
                "n": [300 - 20 * i for i in range(10)],
            },
            "sorm": {
                "p": bins,
                "rate": [b**1.1 for b in bins],
                "n": [260, 140, 90, 70, 60, 60, 80, 110, 190, 420],
            },
        },
        "scores": {
            "orm": {
                "right": [4 + i * i // 2 for i in range(20)],
                "wrong": [60 - 2 * i for i in range(20)],
            },
            "sorm": {
                "right": [2 + i**3 // 20 for i in range(20)],
                "wrong": [(20 - i) ** 2 // 2 for i in range(20)],
            },
        },
    }


def make_example(i: int, draw: random.Random) -> dict:
    a = 11 + i
    b = 5 + i
    c = 2 + i % 3
    whole = a + b
    answer = whole * c
    first = f"Rosa has <<{a}+{b}={whole}>>{whole} pies."
    right = [first, f"Ben has <<{whole}*{c}={answer}>>{answer} pies.", f"#### {answer}"]
    slip = answer + 3
    wrong = [first, f"Ben has <<{whole}*{c}={slip}>>{slip} pies.", f"#### {slip}"]
    draft_right, flagged, global_right, local_right, choice = [
        (False, True, True, True, "local"),  # fixed
        (False, True, True, False, "draft"),  # a right candidate was there, and was not chosen
        (True, True, True, False, "local"),  # broken, after a false alarm
        (True, False, True, True, "draft"),
        (False, True, False, False, "global"),
    ][i % 5]
    correct = {"draft": draft_right, "global": global_right, "local": local_right}
    scores = {name: 0.9 if name == choice else 0.3 + draw.random() / 3 for name in correct}
    return {
        "question_id": f"chains-test-{i:05d}",
        "question": f"Rosa has {a} pies & bakes {b} <b>more</b>. "
        f'Ben has {c} times as many as "Rosa". How many pies has Ben? ({i})',
        "gold": str(answer),
        "draft": right if draft_right else wrong,
        "draft_correct": draft_right,
        "truth": [True, draft_right, draft_right],
        "orm": [0.81, 0.44 if flagged else 0.62, scores["draft"]],
        "sorm": [0.97, 0.23 if flagged else 0.88, 0.06 if flagged else 0.91],
        "bad": 1 if flagged else None,
        "others": {
            "global": {"steps": right if global_right else wrong[::-1], "correct": global_right},
            "local": {"steps": right if local_right else wrong, "correct": local_right},
        },
        "scores": scores,
        "choice": choice,
        "choice_correct": correct[choice],
    }


def make_examples(n: int = 12) -> list[dict]:
    """Worked examples of every outcome, with text that breaks a page that does not escape it."""
    draw = random.Random(0)
    return [make_example(i, draw) for i in range(n)]


@pytest.fixture
def results() -> dict:
    return copy.deepcopy(make_results())


@pytest.fixture
def examples() -> list[dict]:
    return make_examples()


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple:
    """(path of the page, folder) of one whole report; drawing is slow, so all tests read it."""
    from glore_jax.report.figures import Report
    from glore_jax.report.write import write

    folder = tmp_path_factory.mktemp("report")
    report = Report.from_json(make_results())
    return write(report, make_examples(), folder), folder


@pytest.fixture
def cell() -> Callable[..., str]:
    """cell(table, row, column): the text in the row and the column of those names."""

    def find(table, row: str, column: str) -> str:
        found = [cells for cells in table.rows if cells[0] == row]
        assert len(found) == 1, f"{row!r} in {[cells[0] for cells in table.rows]}"
        return found[0][table.header.index(column)]

    return find


@pytest.fixture
def axes_of() -> Callable[..., list]:
    """axes_of(name, results): the axes of a plot as they were drawn, in the light version."""
    from glore_jax.report import plots
    from glore_jax.report.plot_style import LIGHT, style

    def draw(name: str, results: dict) -> list:
        with matplotlib.rc_context(style(LIGHT)):
            return plots.PLOTS[name].draw(results, LIGHT).axes

    return draw
