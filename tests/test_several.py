"""A run of two processes, one of which is told to end and later killed, goes on with four.

It ends with the files of a run of one process that was left alone.
"""

import functools
import json
import signal
import time

import finished_run
import pytest
import several
from finished_run import figures, same

from glore_jax import parquet, storage
from glore_jax.parallel import processes

# Trainings.
FIRST = "student/round-0"
MIDDLE = "orm/plain"


@pytest.fixture(scope="module")
def several_run(finished, tmp_path_factory):
    """The work directory of the run; what process N printed is in `N.txt` beside it."""
    folder = tmp_path_factory.mktemp("several")
    work = folder / "work"
    flags = ["--config=configs/tiny.py:smoke", f"--workdir={work}", *finished_run.FLAGS]
    cache = finished_run.keeping(finished.parent / "compiled")

    def arguments(count, address, index):
        joining = (f"--coordinator={address}", f"--num_processes={count}", f"--process_id={index}")
        return "-c", several.TALKATIVE, *flags, *joining

    def signalled(training, number):
        """Exit codes and outputs of two processes.

        The second gets the signal once it shows updates of `training`.
        """
        logs = [folder / f"{i}.txt" for i in range(2)]
        with several.together(2, functools.partial(arguments, 2), log=folder, **cache) as run:
            while all(p.poll() is None for p in run):
                if several.is_under_way(training, logs[1]):
                    break
                time.sleep(0.002)
            run[1].send_signal(number)
            return [p.wait() for p in run], [log.read_text() for log in logs]

    codes, texts = signalled(FIRST, signal.SIGTERM)
    assert codes == [130, 130], texts
    assert all("the same command goes on" in text for text in texts), texts
    assert len(list((work / FIRST / "checkpoints").glob("[0-9]*"))) == 1
    codes, (text, _) = signalled(MIDDLE, signal.SIGKILL)
    assert codes == [processes.EXIT_PEER_LOST, -signal.SIGKILL], text
    assert "Traceback" not in text, text
    line = "glore: process 1 is gone: killed, or its machine is down; this process ends too. "
    assert text.splitlines()[-1].startswith(line), text
    with several.together(4, functools.partial(arguments, 4), log=folder, **cache) as run:
        codes = [p.wait() for p in run]
    assert codes == [0] * 4, "".join((folder / f"{i}.txt").read_text() for i in range(4))
    return work


def test_records_are_those_of_one_process(finished, several_run):
    finished_run.assert_same_records(finished, several_run)


def losses(workdir):
    """Of every training, in the order of the stages."""

    def counts(stage):
        return json.loads((workdir / stage / "manifest.json").read_text())["counts"]

    student = counts("student")["rounds"]
    orm = counts("orm").values()
    trained = [*student, *orm, counts("sorm"), counts("refiner")]
    return [t["loss"] for t in trained]


def test_losses_and_figures_are_those_of_one_process(finished, several_run):
    assert len(losses(several_run)) == 5 and same(losses(several_run), losses(finished))
    assert same(figures(several_run), figures(finished))


def test_the_processes_shared_what_was_generated(several_run):
    """Every question is counted once, in whichever process's part it lies."""
    manifest = storage.read_json(several_run / "evaluate" / "manifest.json")
    assert manifest["counts"]["test"]["work"]["samples"]["items"] == 6
    rows = manifest["records"]["evaluate/test/samples"]
    assert rows == [12, 6]  # three samples a question, in parts of 4 questions
    folder = several_run / "evaluate" / "test" / "samples"
    assert [parquet.read_footer(folder, part).rows for part in range(2)] == rows
