"""A synthetic run for the report: results and examples of the contracted shape, with figures made by a formula."""

import copy
import math
import random

import pytest

MODELS = ("orm", "balanced_orm", "sorm")


def make_results() -> dict:
    """Results with every part; figures that tests look for are distinct to three decimals."""
    step = {
        "orm": {"acc": 0.731, "f1": 0.742, "first_error_acc": 0.413, "auc": 0.801, "n": 2051},
        "balanced_orm": {
            "acc": 0.722,
            "f1": 0.733,
            "first_error_acc": 0.402,
            "auc": 0.792,
            "n": 2051,
        },
        "sorm": {"acc": 0.824, "f1": 0.835, "first_error_acc": 0.586, "auc": 0.897, "n": 2051},
    }
    truth = {m: {k: v - 0.031 if k != "n" else 2049 for k, v in f.items()} for m, f in step.items()}
    ks = [1, 2, 4, 8]

    def band(start: float, gain: float) -> dict:
        mean = [start + gain * math.log2(k) / 3 for k in ks]
        return {"mean": mean, "low": [m - 0.02 for m in mean], "high": [m + 0.02 for m in mean]}

    bins = [(i + 0.5) / 10 for i in range(10)]
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
            "loglikK": 0.603,
            "rounds": [
                {"round": 0, "acc": 0.445, "n": 200, "examples": 1500},
                {"round": 1, "acc": 0.525, "n": 200, "examples": 6184},
                {"round": 2, "acc": 0.545, "n": 200, "examples": 9377},
            ],
        },
        "step": step,
        "step_truth": truth,
        "label_truth": {"acc": 0.953, "n": 2049, "false_positive": 0.037, "false_negative": 0.061},
        "label_truth_test": {
            "acc": 0.912,
            "n": 1733,
            "false_positive": 0.048,
            "false_negative": 0.102,
        },
        "final": {m: {"acc": 0.846 - 0.017 * i, "n": 500} for i, m in enumerate(MODELS)},
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
            "rerank": {"acc": 0.638, "n": 500},
            "oracle": {"acc": 0.716, "n": 500},
            "bo3": {"acc": 0.608, "n": 500},
            "bo3_oracle": {"acc": 0.694, "n": 500},
            "rerank_loglik": {"acc": 0.588, "n": 500},
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
        "curves": {
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
        },
    }


def make_examples(n: int = 12) -> list[dict]:
    """Worked examples of every outcome, with text that would break a page that does not escape it."""
    draw, rows = random.Random(0), []
    for i in range(n):
        a, b, c = 11 + i, 5 + i, 2 + i % 3
        good = [
            f"Rosa has <<{a}+{b}={a + b}>>{a + b} pies.",
            f"Ben has <<{a + b}*{c}={(a + b) * c}>>{(a + b) * c} pies.",
        ]
        answer = f"#### {(a + b) * c}"
        wrong = [
            good[0],
            f"Ben has <<{a + b}*{c}={(a + b) * c + 3}>>{(a + b) * c + 3} pies.",
            f"#### {(a + b) * c + 3}",
        ]
        drafted, flagged, refined_global, refined_local, choice = [
            (False, True, True, True, "local"),  # fixed
            (False, True, True, False, "draft"),  # a right candidate was there, and was not chosen
            (True, True, True, False, "local"),  # broken, after a false alarm
            (True, False, True, True, "draft"),
            (False, True, False, False, "global"),
        ][i % 5]
        right = {"draft": drafted, "global": refined_global, "local": refined_local}
        scores = {name: 0.9 if name == choice else 0.3 + draw.random() / 3 for name in right}
        rows.append(
            {
                "question_id": f"chains-test-{i:05d}",
                "question": f'Rosa has {a} pies & bakes {b} <b>more</b>. Ben has {c} times as many as "Rosa". '
                f"How many pies has Ben? ({i})",
                "gold": str((a + b) * c),
                "draft": [*good, answer] if drafted else wrong,
                "draft_correct": drafted,
                "truth": [True, drafted, drafted],
                "orm": [0.81, 0.44 if flagged else 0.62, scores["draft"]],
                "sorm": [0.97, 0.23 if flagged else 0.88, 0.06 if flagged else 0.91],
                "bad": 1 if flagged else None,
                "global": [*good, answer] if refined_global else wrong[::-1],
                "global_correct": refined_global,
                "local": [*good, answer] if refined_local else wrong,
                "local_correct": refined_local,
                "scores": scores,
                "choice": choice,
                "choice_correct": right[choice],
            }
        )
    return rows


@pytest.fixture
def results() -> dict:
    return copy.deepcopy(make_results())


@pytest.fixture
def examples() -> list[dict]:
    return make_examples()


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> tuple:
    """(path of the page, folder) of one whole report; drawing it is slow, so all tests read the same one."""
    from glore_jax.report.write import write

    folder = tmp_path_factory.mktemp("report")
    return write(make_results(), make_examples(), folder), folder
