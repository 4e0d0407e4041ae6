"""The command as a shell sees it: one clear line and an exit code."""

import signal
import subprocess
import sys

import fake_stages
import pytest

CONFIG = f"--config={fake_stages.__file__}"


@pytest.fixture
def glore(tmp_path):
    """glore(*arguments) -> (exit code, stdout, stderr).

    `glore.start` gives the running process, `glore.workdir` its folder.
    """

    def start(*arguments):
        return fake_stages.start(
            tmp_path / "stages", *arguments, f"--workdir={go.workdir}", cwd=tmp_path
        )

    def go(*arguments):
        with start(*arguments) as process:
            out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def write(**bodies):
        fake_stages.write(tmp_path / "stages", **bodies)

    go.workdir = tmp_path / "work"
    go.start = start
    go.write = write
    write()
    return go


MISTAKES = [
    (
        (CONFIG, "--config.rollout.kk=3"),
        "--config.rollout.kk=3: the config has no field 'kk'.",
    ),
    (
        (CONFIG, "--config.rollot.k=3"),
        "--config.rollot.k=3: the config has no field 'rollot'. "
        'Did you mean "rollout" instead of "rollot"?',
    ),
    (
        (CONFIG, "--config.rollout.k=x"),
        "flag --config.rollout.k=x: invalid literal for int() with base 10: 'x'",
    ),
    (
        (CONFIG, "--config.rollout.k=0"),
        "config.rollout.k is 0: must be at least 1",
    ),
    (
        (CONFIG, "--config.evaluate.splits=test,tests"),
        "config.evaluate.splits has 'tests', but the task chains has no such test split: "
        "choose from test, test_templates",
    ),
    (
        (CONFIG, "--stage=student,nothing"),
        "there is no stage 'nothing': choose from pretrain, student, sample, rollout, report",
    ),
    (
        ("--config=configs/none.py",),
        "[Errno 2] No such file or directory: 'configs/none.py'",
    ),
    (
        (CONFIG, "student"),
        "unexpected argument 'student': flags have the form --name=value",
    ),
]


def test_a_mistake_is_one_line_and_exit_code_2(glore):
    # Side by side: most of their time is Python's start.
    running = [(line, glore.start(*arguments)) for arguments, line in MISTAKES]
    for line, process in running:
        with process:
            out, err = process.communicate(timeout=300)
        assert (process.returncode, out, err) == (2, "", f"glore: error: {line}\n")
    assert not glore.workdir.exists()


def test_second_run_has_nothing_to_do_and_does_not_import_jax(glore, monkeypatch):
    monkeypatch.setenv("SHOW_IMPORTS", "1")
    code, out, err = glore(CONFIG)
    assert (
        (code, err) == (0, "") and "report: done in " in out and out.endswith("\nimported: jax\n")
    )
    glore.write(report="raise RuntimeError")
    code, out, err = glore(CONFIG)
    assert (code, err) == (0, "")
    assert out.endswith(
        f"nothing to do: all that was asked for is done in {glore.workdir}\nfinal 0.5\nimported:\n"
    )


def test_compiled_programs_stay_on_the_machine(glore, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    glore.write(student="import jax; jax.jit(lambda x: x + 1)(1); return {}")
    assert glore(CONFIG, "--stage=student")[0] == 0
    assert list((tmp_path / "caches" / "glore_jax" / "compiled").glob("*-cache"))
    files = {"config.json", "progress.json", "ran.txt", "student"}
    assert {f.name for f in glore.workdir.iterdir()} == files


WAITING = "print('waiting', flush=True); import time; time.sleep(60)"


# Where it comes in a callback of the garbage collector, Python reports the exception and goes on.
SWALLOWED = """
import gc, sys, time
sys.unraisablehook = lambda report: None
def collect(phase, info):
    gc.callbacks.clear()
    print('waiting', flush=True)
    time.sleep(60)
gc.callbacks.append(collect)
gc.collect()
time.sleep(60)
"""


@pytest.mark.parametrize(
    "number, body",
    [
        (signal.SIGINT, WAITING),
        (signal.SIGTERM, WAITING),
        (signal.SIGTERM, f"exec({WAITING!r})"),  # as in the midst of an import
        (signal.SIGTERM, SWALLOWED),
    ],
)
def test_an_interrupted_run_says_how_to_go_on(glore, number, body):
    glore.write(student=body)
    with glore.start(CONFIG) as process:
        assert any(line == "waiting\n" for line in process.stdout), process.stderr.read()
        process.send_signal(number)
        err = process.stderr.read()
    assert (process.returncode, err) == (
        130,
        "glore: interrupted; the same command goes on from here\n",
    )


def test_an_interrupted_run_waits_for_no_thread(glore):
    endless = "import threading; threading.Thread(target=threading.Event().wait).start()"
    glore.write(student=f"{endless}; {WAITING}")
    with glore.start(CONFIG) as process:
        assert any(line == "waiting\n" for line in process.stdout), process.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130


@pytest.mark.parametrize(
    "body, expected, message",
    [
        (
            "raise OSError(28, 'No space left on device', '/full/file')",
            2,
            "no space left on the disk of /full/file",
        ),
        ("raise MemoryError", 2, "out of memory"),
        (
            "from glore_jax.errors import UserError; raise UserError('row 7 is malformed')",
            2,
            "row 7 is malformed",
        ),
        (
            "raise RuntimeError('UNKNOWN: Gloo: DEADLINE_EXCEEDED: timed out')",
            4,
            "the processes of the run did not meet in time: UNKNOWN: Gloo",
        ),
    ],
)
def test_a_stage_that_cannot_go_on(glore, body, expected, message):
    glore.write(student=body)
    code, _, err = glore(CONFIG)
    assert code == expected
    assert err.startswith(f"glore: error: {message}") and err.count("\n") == 1


def test_help_is_no_mistake():
    done = subprocess.run(
        [sys.executable, "-m", "glore_jax.main", "--help"],
        capture_output=True,
        text=True,
        cwd=fake_stages.ROOT,
    )
    assert done.returncode == 0 and "--workdir" in done.stdout
