"""Time left: the plan, set right by what was measured."""

import pytest

from glore_jax.progress.estimate import Estimate, Planned

PLAN = (
    Planned("student", "student/round-0", "train", 600.0),
    Planned("student", "student/dev-0", "write", 20.0),
    Planned("sample", "sample/records", "write", 900.0),
    Planned("orm", "orm/plain", "train", 300.0),
)
STAGES = ("student", "sample", "orm", "report")


def test_before_anything_is_done_it_is_the_plan():
    assert Estimate(PLAN).left(STAGES, "", None) == (620.0, 1820.0)
    assert Estimate(PLAN).left(STAGES[2:], "", None) == (300.0, 300.0)
    assert Estimate(PLAN).left((), "", None) == (None, 0.0)


def test_what_is_under_way_goes_by_its_own_rate():
    estimate = Estimate(PLAN)
    estimate.begin("student/round-0")
    assert estimate.left(STAGES, "student/round-0", None) == (620.0, 1820.0)
    assert estimate.left(STAGES, "student/round-0", 50.0) == (70.0, 1270.0)


def test_work_of_a_kind_takes_as_much_longer_as_it_did():
    estimate = Estimate(PLAN)
    estimate.begin("student/round-0")
    estimate.measured("student/round-0", 0.5, 600.0)  # twice as long as planned
    estimate.begin("student/dev-0")
    estimate.measured("student/dev-0", 1.0, 60.0)  # three times
    assert estimate.left(STAGES[1:], "", None) == (2700.0, 2700.0 + 600.0)


def test_a_kind_that_nobody_has_measured_goes_by_the_others():
    estimate = Estimate(PLAN)
    estimate.measured("student/round-0", 1.0, 1200.0)
    estimate.measured("student/dev-0", 1.0, 5.0)  # too little to say anything
    assert estimate.left(("sample",), "", None)[0] == pytest.approx(900 * 1205 / 620)


def test_what_stands_before_is_done_after_a_restart():
    estimate = Estimate(PLAN)
    estimate.begin("student/dev-0")  # round 0 was found trained
    assert estimate.left(STAGES, "student/dev-0", 7.0) == (7.0, 1207.0)


def test_what_is_not_planned_adds_to_what_is():
    estimate = Estimate(PLAN)
    estimate.begin("student/round-0")
    estimate.begin("student/look")
    assert estimate.left(STAGES, "student/look", 5.0) == (25.0, 1225.0)


def test_without_a_plan_only_the_piece_is_known():
    assert Estimate().left(("pretrain",), "pretrain/read", 5.0) == (5.0, 5.0)
    assert Estimate().left(("pretrain", "report"), "pretrain/read", 5.0) == (5.0, None)
    assert Estimate().left(("pretrain",), "", None) == (None, None)
    assert Estimate(PLAN).left(("report",), "", None) == (None, 0.0)
