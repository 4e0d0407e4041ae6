"""A run of two processes, one of which is killed, ends with the files of a run of one process that was left alone."""

import json
import signal
import time

import finished_run
import pytest
import several
from finished_run import figures, same

from glore_jax import storage
from glore_jax.parallel import processes

MOMENT = "orm/plain/checkpoints"  # appears when a training is about to begin, in the middle of the run


@pytest.fixture(scope="module")
def pair(finished, tmp_path_factory):
    """The work directory of the run of two; what they printed is in `0.txt` and `1.txt` beside it."""
    folder = tmp_path_factory.mktemp("pair")
    flags = ["--config=configs/tiny.py:smoke", f"--workdir={folder / 'work'}", *finished_run.FLAGS]
    cache = finished_run.keeping(finished.parent / "compiled")

    def arguments(address, index):
        joining = (f"--coordinator={address}", "--num_processes=2", f"--process_id={index}")
        return "-m", "glore_jax.main", *flags, *joining

    with several.together(2, arguments, log=folder, **cache) as run:
        while all(p.poll() is None for p in run) and not (folder / "work" / MOMENT).exists():
            time.sleep(0.002)
        run[1].kill()
        codes = [p.wait() for p in run]
    text = (folder / "0.txt").read_text()
    assert codes == [processes.LOST, -signal.SIGKILL] and "Traceback" not in text, text
    line = "glore: process 1 is gone: killed, or its machine is down; this process ends too. "
    assert text.splitlines()[-1].startswith(line), text
    with several.together(2, arguments, log=folder, **cache) as run:
        codes = [p.wait() for p in run]
    assert codes == [0, 0], (folder / "0.txt").read_text() + (folder / "1.txt").read_text()
    return folder / "work"


def test_records_are_those_of_one_process(finished, pair):
    finished_run.assert_same_records(finished, pair)


def losses(workdir):
    counts = {
        s: json.loads((workdir / s / "manifest.json").read_text())["counts"]
        for s in ("student", "orm", "sorm", "refiner")
    }
    trained = [*counts["student"]["rounds"], *counts["orm"].values(), counts["sorm"], counts["refiner"]]
    return [t["loss"] for t in trained]


def test_losses_and_figures_are_those_of_one_process(finished, pair):
    assert len(losses(pair)) == 5 and same(losses(pair), losses(finished))
    assert same(figures(pair), figures(finished))


def test_both_processes_generated(pair):
    """Half of the parts each; process 0 says how many questions it had."""
    work = storage.read_json(pair / "evaluate" / "test" / "samples" / "work.json")
    assert work["items"] == 4  # of 6, in parts of 4
