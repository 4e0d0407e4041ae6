"""What stages say of their work reaches the record and the curves."""

import contextlib

import pytest

from glore_jax import storage
from glore_jax.errors import TransientError, UserError
from glore_jax.parallel import processes
from glore_jax.progress import TRAIN, WRITE, Piece, Progress, run
from glore_jax.progress.estimate import Planned
from glore_jax.progress.record import FILE, Record


class Curves:
    def __init__(self):
        self.points = []

    def scalars(self, values, step):
        self.points.append((step, values))


def test_a_piece_inside_another_is_part_of_it():
    progress = Progress()
    with progress.piece("orm/scores", WRITE, "solutions", 9) as outer:
        outer.begin(3)
        with progress.piece("orm/scores", WRITE, "solutions", 2) as inner:
            inner.reach(2)
        assert progress.record().piece.done == 3
        outer.reach(5)
        assert (progress.record().piece.done, progress.record().piece.total) == (5, 9)
    assert progress.record().piece is None
    assert list(progress.record().taken) == ["orm/scores"]


def test_figures_become_curves_now_and_then_and_at_the_end(monkeypatch):
    curves = Curves()
    with Progress().piece("sample/records", WRITE, "jobs", 9, curves) as piece:
        piece.begin(2)
        piece.reach(3, right=0.5)
        assert curves.points == []
        monkeypatch.setattr(run, "_CURVE_SECONDS", 0.0)
        piece.reach(4, right=0.75)
        monkeypatch.undo()
        piece.reach(5, right=0.6)
    assert curves.points == [(4, {"right": 0.75}), (5, {"right": 0.6})]


def test_a_piece_that_has_no_figures_draws_nothing():
    curves = Curves()
    with Progress().piece("orm/scores", WRITE, "solutions", 9, curves) as piece:
        piece.reach(9)
    assert curves.points == []


def test_an_error_ends_a_piece():
    progress = Progress()
    with pytest.raises(KeyboardInterrupt), progress.piece("a/b", WRITE, "jobs", 2):
        raise KeyboardInterrupt
    with progress.piece("a/c", WRITE, "jobs", 2):
        assert progress.record().piece.name == "a/c"


def test_what_is_left_is_of_the_plan_and_the_stages_to_come(tmp_path):
    progress = Progress()
    progress.keep(tmp_path, ["student", "orm", "report"], ["student", "orm", "report"])
    progress.plan(
        [
            Planned("student", "student/round-0", TRAIN, 60.0),
            Planned("orm", "orm/plain", TRAIN, 30.0),
        ]
    )
    assert progress.record().run_left == 90.0
    progress.stage("student")
    assert (progress.record().stage_left, progress.record().run_left) == (60.0, 90.0)
    progress.stage("orm")
    assert (progress.record().stage_left, progress.record().run_left) == (30.0, 30.0)
    progress.stage("report")
    assert progress.record().run_left == 0.0
    progress.end(0)


def test_time_before_the_work_begins_is_no_slowness():
    piece = Piece("orm/plain", TRAIN, "updates", 8)
    assert piece.record.done is None and piece.measured == (0.0, 0.0)
    piece.begin(2)
    piece.reach(4)
    share, seconds = piece.measured
    assert share == 0.25 and seconds >= 0.0 and piece.record.done == 4


@pytest.mark.parametrize(
    "error, code, reason",
    [
        (None, 0, ""),
        (UserError("row 7 is malformed"), 2, "row 7 is malformed"),
        (TransientError("no answer"), 4, "no answer"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("x\ny"), 1, "ValueError: x"),
    ],
)
def test_it_ends_with_its_block(tmp_path, error, code, reason):
    with contextlib.suppress(BaseException), Progress() as progress:
        progress.keep(tmp_path, ["orm"], ["orm"])
        if error:
            raise error
    found = Record.of(storage.read_json(tmp_path / FILE))
    assert (found.code, found.reason) == (code, reason)
    before = (tmp_path / FILE).read_bytes()
    progress.end(3)  # once is enough
    assert (tmp_path / FILE).read_bytes() == before


def test_other_processes_show_and_keep_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(processes, "is_main", lambda: False)
    progress = Progress()
    progress.keep(tmp_path, ["orm"], ["orm"])
    progress.say("a line")
    with progress.piece("orm/plain look", WRITE, "solutions", 4) as piece:
        piece.reach(4)
    progress.end(0)
    assert capsys.readouterr() == ("", "") and list(tmp_path.iterdir()) == []
