"""`glore status` says from the files alone how far a run is: alive, ended, killed, half copied."""

import json
import os
import signal
import subprocess
import sys
import time

import fake_stages
import pytest

from glore_jax import status, storage
from glore_jax.errors import UserError
from glore_jax.progress.record import FILE, PieceRecord, Record, machine
from glore_jax.status.found import Verdict, look

CONFIG = f"--config={fake_stages.__file__}"
WAITS = """
    ctx.warn("few drafts")
    with ctx.piece("sample/records", "write", "jobs", 400) as piece:
        piece.begin(100)
        piece.reach(120, tokens_per_second=470.0)
        print("waiting", flush=True)
        import time
        time.sleep(600)
"""


@pytest.fixture
def start(tmp_path):
    """start(body of stage `sample`) -> a run under way in `tmp_path / "work"`, waiting in it."""
    running = []

    def begin(body):
        fake_stages.write(tmp_path / "stages", sample=body)
        process = fake_stages.start(
            tmp_path / "stages", CONFIG, f"--workdir={tmp_path / 'work'}", cwd=tmp_path
        )
        running.append(process)
        assert any(line == "waiting\n" for line in process.stdout), process.stderr.read()
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def ask(workdir, capsys):
    """(exit code, lines)."""
    code = status.main([f"--workdir={workdir}"])
    return code, capsys.readouterr().out.splitlines()


def ask_until(workdir, capsys, text):
    """What `ask` gives once a line has `text`: the file is written every few seconds."""
    end = time.monotonic() + 60
    while True:
        code, lines = ask(workdir, capsys)
        if any(text in line for line in lines):
            return code, lines
        assert time.monotonic() < end, lines
        time.sleep(0.1)


def test_a_run_that_lives_is_killed_goes_on_and_ends(start, tmp_path, capsys):
    workdir = tmp_path / "work"
    process = start(WAITS)
    code, lines = ask_until(workdir, capsys, "120 of 400")
    assert code == 10 and lines[0] == f"{workdir}: runs"
    assert lines[1].endswith(f"process {process.pid} on {os.uname().nodename}")
    assert lines[2].startswith("  student  done in ")
    assert lines[3].startswith("  sample   records 120 of 400 jobs, ")
    assert lines[4:6] == ["  rollout  to do", "  report   to do"]
    assert "warning: sample: few drafts" in lines

    process.kill()
    process.wait()
    code, lines = ask(workdir, capsys)
    assert code == 13 and lines[0].startswith(f"{workdir}: seems dead")
    assert lines[3].startswith("  sample   as of its last record: records 120 of 400 jobs")

    process = start(WAITS)
    process.send_signal(signal.SIGTERM)
    process.wait()
    code, lines = ask(workdir, capsys)
    assert code == 11 and "its last words: interrupted; the same command goes on" in lines[2]
    assert lines[4] == "  sample   begun"

    start("print('waiting', flush=True); return {}").wait()
    code, lines = ask(workdir, capsys)
    assert code == 0 and lines[0] == f"{workdir}: done"
    assert [line.split()[1] for line in lines[2:6]] == ["done"] * 4


def test_an_error_has_to_be_mended(start, tmp_path, capsys):
    process = start("print('waiting', flush=True); raise ValueError('no such row')")
    process.wait()
    code, lines = ask(tmp_path / "work", capsys)
    assert code == 12 and lines[2] == "its last words: ValueError: no such row"


NOW = 1_700_000_000.0


def write(workdir, **changes):
    """A record of a run that has done `student` and is in `orm`, on another machine."""
    piece = PieceRecord("orm/plain", "train", "updates", 400, 100, 0.5, 600.0)
    fields = dict(started=NOW - 5000, written=NOW - 5, moved=NOW - 20, every=30.0)
    left = dict(stage_left=600.0, run_left=4000.0)
    names = ("student", "orm", "report")
    record = Record(
        "there", 7, "m", stages=names, todo=names, stage="orm", piece=piece, **left, **fields
    )
    record = record.__class__(**vars(record) | changes)
    storage.write_json(f"{workdir}/{FILE}", record.to_json())
    storage.write_json(f"{workdir}/student/manifest.json", {"done": True, "seconds": 90.0})
    storage.write_json(f"{workdir}/orm/manifest.json", {"done": False, "seconds": 10.0})
    return record


@pytest.fixture(params=["disk", "bucket"])
def workdir(request, tmp_path):
    if request.param == "disk":
        return str(tmp_path / "run")
    return request.getfixturevalue("bucket").url + "/run"


def test_another_machine_reads_the_same(workdir):
    write(workdir)
    found = look(workdir, NOW)
    assert (found.verdict, found.age, found.still) == (Verdict.RUNS, 5.0, 20.0)
    assert status.show(found).splitlines() == [
        f"{workdir}: runs",
        "last written 5 s ago by process 7 on there",
        "  student  done in 90.0 s",
        "  orm      plain 100 of 400 updates, 30/min",
        "  report   to do",
        "left: stage 10 min, run 67 min",
    ]
    assert look(workdir, NOW + 250).verdict == Verdict.RUNS
    assert look(workdir, NOW + 300).verdict == Verdict.DEAD


@pytest.mark.parametrize(
    "code, verdict",
    [
        (0, "STOPPED"),
        (1, "FAILED"),
        (2, "FAILED"),
        (3, "STOPPED"),
        (4, "STOPPED"),
        (130, "STOPPED"),
    ],
)
def test_how_it_ended(tmp_path, code, verdict):
    write(tmp_path, code=code, piece=None)
    assert look(tmp_path, NOW + 9999).verdict == Verdict[verdict]


def test_all_done_is_done_even_if_nobody_could_say_so(tmp_path):
    write(tmp_path, stage="report", piece=None)
    for stage in ("orm", "report"):
        storage.write_json(tmp_path / stage / "manifest.json", {"done": True})
    assert look(tmp_path, NOW).verdict == Verdict.RUNS
    assert look(tmp_path, NOW + 9999).verdict == Verdict.DONE


def test_a_stage_whose_turn_comes_again_is_not_done(tmp_path):
    write(tmp_path)
    storage.write_json(tmp_path / "report" / "manifest.json", {"done": True})  # of another config
    found = look(tmp_path, NOW)
    assert [found.is_done(name) for name in ("student", "orm", "report")] == [True, False, False]


def test_a_clock_that_is_ahead_is_no_age(tmp_path):
    write(tmp_path)
    found = look(tmp_path, NOW - 500)
    assert (found.verdict, found.age, found.still) == (Verdict.RUNS, 0.0, 0.0)


def test_a_process_that_counts_nothing_for_long_is_told(tmp_path):
    write(tmp_path, moved=NOW - 3600)
    assert look(tmp_path, NOW).warnings == ("nothing has been counted for 60 min",)


def test_a_process_of_this_machine_is_looked_for(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for process, verdict in ((os.getpid(), Verdict.RUNS), (ended.pid, Verdict.DEAD)):
        write(tmp_path, machine=machine(), process=process)
        assert look(tmp_path, NOW).verdict == verdict


@pytest.mark.parametrize("file", [FILE, "student/manifest.json", "orm/manifest.json"])
def test_a_half_written_file_is_said_and_counts_as_missing(workdir, file):
    write(workdir)
    whole = storage.read_bytes(f"{workdir}/{file}")
    for size in (0, 1, len(whole) // 2, len(whole) - 3):
        storage.write_bytes(f"{workdir}/{file}", whole[:size])
        found = look(workdir, NOW)
        (warning,) = found.warnings
        assert file in warning and "not valid JSON" in warning
        assert found.verdict == (Verdict.DEAD if file == FILE else Verdict.RUNS)
        assert found.is_done("student") == (file != "student/manifest.json")
        assert "warning: " in status.show(found) and json.dumps(found.to_json())


@pytest.mark.parametrize("content", [[], 7, None, {}, {"stages": 3}, {"started": "noon"}])
def test_so_is_one_that_holds_something_else(tmp_path, content):
    write(tmp_path)
    storage.write_json(tmp_path / FILE, content)
    found = look(tmp_path, NOW)
    assert found.verdict == Verdict.DEAD and found.is_done("student")
    assert len(found.warnings) == (content is not None)


def test_a_run_that_nobody_kept_a_record_of_is_judged_by_its_report(tmp_path):
    storage.write_json(tmp_path / "report" / "manifest.json", {"done": True, "seconds": 1.0})
    found = look(tmp_path, NOW)
    assert found.verdict == Verdict.DONE
    assert "no record of its progress" in status.show(found)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--workdir=WORK"], "WORK holds no run: it has no config.json"),
        ([], "the following arguments are required: --workdir"),
        (["--workdir=WORK", "--stage=orm"], "unrecognized arguments: --stage=orm"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, tmp_path, capsys):
    arguments = [argument.replace("WORK", str(tmp_path)) for argument in arguments]
    assert status.main(arguments) == 2
    expected = message.replace("WORK", str(tmp_path))
    assert capsys.readouterr() == ("", f"glore: error: {expected}\n")


def test_a_folder_that_cannot_be_reached_is_no_run(bucket):
    bucket.door.always = "403"
    with pytest.raises(UserError, match="cannot look for"):
        look(f"{bucket.url}/run", NOW)


def test_the_command_takes_it_and_no_jax(tmp_path):
    write(tmp_path, code=130)
    program = (
        "import sys; sys.argv = ['glore', 'status', '--json', sys.argv[1]]\n"
        "from glore_jax.main import cli\n"
        "try:\n    cli()\n"
        "finally:\n    print('jax' in sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", program, f"--workdir={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=fake_stages.ROOT)
    assert (done.returncode, done.stderr) == (11, "False\n")
    found = json.loads(done.stdout)
    assert found["status"] == "stopped" and found["stages"]["student"]["done"] is True
