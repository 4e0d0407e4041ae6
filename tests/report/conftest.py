"""A synthetic run for the report: results and examples of the contracted shape."""

import copy
import math
import random
from collections.abc import Callable

import matplotlib
import pytest

from glore_jax.report import patterns

MODELS = ("orm", "balanced_orm", "sorm")


def decisions(acc: float, f1: float, n: int) -> dict:
    return {
        "acc": acc,
        "f1": f1,
        "majority": acc - 0.093,
        "false_alarm": 0.143,
        "missed": 0.217,
        "n": n,
    }


def step_decisions(acc: float, first_error: float, auc: float, n: int) -> dict:
    return decisions(acc, acc + 0.011, n) | {
        "first_error_acc": first_error,
        "auc": auc,
    }


def located(found: float, missed: float) -> dict:
    return {
        "found": found,
        "early": 0.127,
        "late": 0.961 - found - missed,
        "missed": missed,
        "offset": -0.384,
        "n_wrong": 231,
        "false_alarm": found - 0.219,
        "n_right": 269,
    }


def label_truth(acc: float, n: int) -> dict:
    return {
        "acc": acc,
        "n": n,
        "strict_acc": acc - 0.019,
        "false_positive": 0.037,
        "false_negative": 0.061,
        "wrong_acc": acc - 0.045,
        "wrong_n": n - 811,
        "by_step": [
            {"step": 1, "acc": acc + 0.011, "n": 317},
            {"step": 2, "acc": acc - 0.102, "n": 316},
        ],
        "errors": 229,
        "first_error_acc": acc - 0.295,
        "offset": -0.211,
        "by_k": [
            {
                "k": 1,
                "settled": acc - 0.511,
                "first_error_low": acc - 0.411,
                "first_error_high": acc - 0.398,
                "n": 229,
            },
            {
                "k": 8,
                "settled": 1.0,
                "first_error_low": acc - 0.295,
                "first_error_high": acc - 0.295,
                "n": 229,
            },
        ],
    }


def gain(value: float, half: float = 0.031, n: int = 500) -> dict:
    return {"value": value, "low": value - half, "high": value + half, "n": n, "stories": n}


def make_gains() -> dict:
    answers = {
        "rerank_over_draft": gain(0.086),
        "rerank_over_bo3": gain(0.030),
        "rerank_over_greedy2_orm": gain(0.024),
        "rerank_over_bo3_oracle": gain(-0.056),
        "oracle_over_rerank": gain(0.078),
        "gap_closed": gain(0.524, 0.122, 189),
    }
    judges = {
        "final_orm_over_sorm": gain(0.034),
        "final_orm_over_majority": gain(0.093),
        "pairs_orm_over_loglik": gain(0.149),
        "best_of_k_orm_over_sorm": gain(0.009),
    }
    for name in ("steps", "truth"):
        judges |= {
            f"{name}_sorm_over_orm": gain(0.093),
            f"{name}_sorm_over_majority": gain(0.079),
            f"{name}_orm_over_majority": gain(-0.014),
            f"{name}_orm_alarms_over_half": gain(0.251),
            f"{name}_sorm_alarms_over_half": gain(0.043),
            f"{name}_orm_alarms_over_sorm": gain(0.208),
            f"{name}_found_sorm_over_orm": gain(0.173, n=231),
        }
    refinements = {
        "fix_local_sorm_over_local_orm": gain(0.038, n=224),
        "fix_global_over_local_sorm": gain(0.026, 0.07, 224),
        "fix_union_sorm_over_global": gain(0.109, n=224),
        "fix_union_sorm_over_local_sorm": gain(0.135, n=224),
        "fix_global_over_base_global": gain(0.186, n=224),
        "fix_local_sorm_over_base_local": gain(0.148, n=224),
        "every_global_over_draft": gain(-0.011),
        "every_local_sorm_over_draft": gain(0.021),
        "only_wrong_global_over_draft": gain(0.112),
        "only_wrong_local_sorm_over_draft": gain(0.103),
    }
    return answers | judges | refinements


def make_about() -> dict:
    return {
        "config": "tiny",
        "changed": {"student.worked": "400", "task.name": '"chains"'},
        "settings": {"evaluate.keep_prefix": "true", "rollout.solved_only": "true"},
        "seeds": {"seed": 7, "task.seed": 1},
        "samples": {"sample.k": 3, "evaluate.k": 8},
        "temperatures": {"sample.temperature": 0.7},
        "commit": "0123abcd",
        "versions": {"python": "3.12.1", "jax": "0.10.2"},
        "devices": {"student": "8 x cpu"},
        "base": "It has read stories, next-token loss alone.",
    }


def make_round(number: int, acc: float, examples: int) -> dict:
    return {
        "round": number,
        "acc": acc,
        "n": 200,
        "stories": 200,
        "examples": examples,
        "too_long": 0,
        "truncated": 5,
        "fill": 0.87,
        "gradient_norm": 0.31,
        "loss": 0.052,
        "token_accuracy": 0.981,
    }


def make_results() -> dict:
    return with_patterns(make_measured())


def make_measured() -> dict:
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
        "base_global": (0.071, 0.431, 0.353, 0.584),
        "base_local": (0.083, 0.402, 0.367, 0.589),
    }
    return {
        "name": "tiny",
        "task": "chains",
        "model": {"parameters": 1568480, "base": "tiny"},
        "paper_column": "",
        "marks": {
            "mark": {"orm": 0.412, "sorm": 0.287},
            "step_threshold": {"orm": 0.55, "sorm": 0.45},
            "final_threshold": {"orm": 0.5, "sorm": 0.5},
            "temperature": 0.65,
            "choose": "combination",
            "combination": {"orm": 1.25, "loglik": 0.31},
            "dev_items": {"mark.orm": 83, "mark.sorm": 84, "temperature": 201, "combination": 77},
        },
        "draft": {
            "acc": 0.552,
            "n": 500,
            "stories": 500,
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
        "label_truth": label_truth(0.953, 2049),
        "label_truth_test": label_truth(0.912, 1733),
        "located": {"orm": located(0.311, 0.083), "sorm": located(0.484, 0.174)},
        "located_truth": {"orm": located(0.302, 0.082), "sorm": located(0.475, 0.175)},
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
            "draft": {"acc": 0.552, "n": 500, "tokens": 81.0},
            "rerank": {"acc": 0.638, "n": 500, "tokens": 243.0},
            "oracle": {"acc": 0.716, "n": 500, "tokens": 243.0},
            "greedy2_orm": {"acc": 0.614, "n": 500, "tokens": 239.0},
            "bo3": {"acc": 0.608, "n": 500, "tokens": 238.0},
            "bo3_oracle": {"acc": 0.694, "n": 500, "tokens": 238.0},
        },
        "by_steps": [
            {"steps": 2, "n": 187, "draft": 0.807, "rerank": 0.855, "oracle": 0.909},
            {"steps": 5, "n": 313, "draft": 0.399, "rerank": 0.508, "oracle": 0.601},
        ],
        "gains": make_gains(),
        "templates": {"n": 200, "draft": 0.475, "rerank": 0.565, "oracle": 0.655}
        | {"rerank_over_draft": gain(0.09, 0.047, 200)},
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
        "left_out": [
            {"stage": "orm", "what": "solutions (plain), longer than a row", "n": 92, "of": 4000},
            {"stage": "rollout", "what": "questions that no sample solves", "n": 57, "of": None},
        ],
        "looks": {
            "orm": make_look(True, "", 0.761),
            "sorm": make_look(False, "its scores spread by 0.0042, less than 0.02", 0.503),
        },
        "warnings": ["orm: 92 of 4000 solutions are cut"],
        "about": make_about(),
    }


def make_look(learned: bool, why: str, within_pair: float) -> dict:
    return {
        "learned": learned,
        "why": why,
        "n": 331,
        "spread": within_pair - 0.439,
        "acc": within_pair + 0.033,
        "majority": 0.621,
        "within_pair": within_pair,
        "low": within_pair - 0.027,
        "high": within_pair + 0.025,
        "within_pair_loglik": 0.649,
        "pairs": 803,
    }


def with_patterns(results: dict) -> dict:
    """The results with the verdicts on the paper's patterns, as a report has them."""
    judged = [pattern.to_json() for pattern in patterns.judge(results)]
    return results | {"patterns": judged}


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
        "label_rate_training": {
            "length": [1, 2, 3],
            "rate": [0.95, 0.88, 0.71],
            "n": [2100, 2100, 1950],
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
    from glore_jax.report.run_figures import Report
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
