"""A terminal shows one line that changes; a log gets whole lines, ever more rarely."""

import io
import sys

import pytest

from glore_jax.progress import SCORE, TRAIN, WRITE
from glore_jax.progress.record import PieceRecord, Record
from glore_jax.progress.screen import Screen, line
from glore_jax.progress.words import about, duration, rate

SAMPLES = PieceRecord(
    "evaluate/test/samples",
    WRITE,
    "jobs",
    total=480,
    done=320,
    rate=1.25,
    left=128.0,
    figures={"tokens_per_second": 455.2, "occupancy": 0.88, "right": 0.43, "truncated": 0.0},
)


def record(piece=SAMPLES, stage_left=840.0, run_left=8000.0):
    stage = piece.name.split("/")[0] if piece else "report"
    names = ("student", stage)
    times = dict(started=0.0, written=0.0, moved=0.0, every=10.0)
    how = dict(piece=piece, stage_left=stage_left, run_left=run_left)
    return Record("host", 7, "machine", stages=names, todo=names, stage=stage, **times, **how)


def test_a_line_has_what_is_done_how_fast_and_what_is_left():
    assert line(record()) == (
        "evaluate: test/samples 320 of 480 jobs, 1.2/s, 455 tok/s, slots 88% busy, 43% right, "
        "0% truncated; left 2.1 min, stage 14 min, run 2.2 h"
    )


def test_what_is_not_known_is_left_out():
    trained = PieceRecord("orm/plain", TRAIN, "updates", 400)
    assert line(record(trained, None, None)) == "orm: plain begins, 400 updates"
    scored = PieceRecord("orm/plain look", SCORE, "solutions", 64, done=16)
    assert line(record(scored, None, 90.0)) == "orm: plain look 16 of 64 solutions; left run 90 s"
    assert line(record(None, None, None)) == "report: begins"


def test_the_only_piece_of_a_stage_has_one_time():
    piece = PieceRecord("orm/plain", TRAIN, "updates", 400, done=100, rate=0.02, left=60.0)
    assert line(record(piece, 60.0, 300.0)) == (
        "orm: plain 100 of 400 updates, 1.2/min; left stage 60 s, run 5 min"
    )


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def shown(self):
        """The line as it stands, by the rules of a terminal."""
        columns = {}
        at = 0
        for character in self.getvalue():
            if character == "\r":
                at = 0
            else:
                columns[at] = character
                at += 1
        return "".join(columns[i] for i in sorted(columns)).rstrip()


def test_a_terminal_has_one_line_and_what_is_said_above_it(clock, monkeypatch, capsys):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    screen = Screen(clock)
    clock.now = 1.0
    screen.show(lambda: record(stage_left=None, run_left=None))
    long = terminal.shown
    assert long.startswith("evaluate: test/samples 320 of 480") and len(long) == 79
    screen.show(lambda: 1 / 0)  # it is not time yet
    clock.now = 2.0
    screen.show(lambda: record(None, None, None))
    assert terminal.shown == "report: begins"
    screen.say("a line")
    assert terminal.shown == "" and capsys.readouterr().out == "a line\n"
    assert "\n" not in terminal.getvalue()


def test_a_log_gets_whole_lines_ever_more_rarely(clock, capsys):
    screen = Screen(clock)
    said = []
    for second in range(4000):
        clock.now = float(second)
        screen.show(record)
        if capsys.readouterr().out:
            said.append(second)
    assert said == [60, 180, 420, 900, 1500, 2100, 2700, 3300, 3900]
    screen.begin_stage()
    clock.now += 60.0
    screen.show(record)
    out, err = capsys.readouterr()
    assert out[5:] == f" {line(record())}\n" and err == ""


@pytest.mark.parametrize(
    "seconds, guessed, measured",
    [
        (0.4, "0 s", "0.4 s"),
        (119.0, "119 s", "119.0 s"),
        (150.0, "2.5 min", "2.5 min"),
        (7190.0, "120 min", "119.8 min"),
        (9000.0, "2.5 h", "2.5 h"),
        (90000.0, "25 h", "25.0 h"),
    ],
)
def test_times(seconds, guessed, measured):
    assert (about(seconds), duration(seconds)) == (guessed, measured)


@pytest.mark.parametrize(
    "per_second, text", [(455.0, "455/s"), (1.25, "1.2/s"), (0.5, "30/min"), (0.001, "3.6/h")]
)
def test_rates(per_second, text):
    assert rate(per_second) == text
