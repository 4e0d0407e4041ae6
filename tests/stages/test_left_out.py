"""What stages did not use is counted, from what their manifests say."""

from glore_jax.report.figures import Student
from glore_jax.stages.left_out import left_out

COUNTS = {
    "student": {
        "rounds": [{"round": 0, "too_long": 3, "examples": 40}],
        "left_out": {"train": 2},
    },
    "sample": {"truncated": 27, "samples": 50},
    "rollout": {"unsolved": 5},
    "orm": {
        "plain": {"too_long": 9, "solutions": 400, "cut": 4},
        "balanced": {"too_long": 0, "solutions": 200},
        "work": {"items": 10},
    },
    "sorm": {"too_long": 1, "solutions": 28},
    "refiner": {"too_long": 6, "pairs": {"global": 22, "local": 18}},
}


def test_each_count_stands_with_what_it_is_of():
    rows = left_out(COUNTS, Student(K=4, n=6, truncated=7))
    found = {(row.stage, row.what): (row.n, row.of) for row in rows}
    too_long = "longer than a training row"
    assert found == {
        ("student", "questions of train, too long to be asked"): (2, None),
        ("student", f"solutions of round 0, {too_long}"): (3, 40),
        ("sample", "samples cut off at the length limit"): (27, 50),
        ("rollout", "questions that no sample solves"): (5, None),
        ("orm", f"solutions (plain), {too_long}"): (9, 400),
        ("orm", "solutions (plain), cut to a training row"): (4, 400),
        ("orm", f"solutions (balanced), {too_long}"): (0, 200),
        ("sorm", f"solutions, {too_long}"): (1, 28),
        ("refiner", f"pairs, {too_long}"): (6, 40),
        ("evaluate", "samples cut off at the length limit"): (7, 24),
    }


def test_a_split_that_was_not_sampled_has_no_cut_off_samples():
    rows = left_out({"rollout": {"unsolved": 0}}, Student())
    assert [(row.stage, row.n) for row in rows] == [("rollout", 0)]
