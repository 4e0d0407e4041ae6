"""A run that is killed again and again ends with the files of one that was left alone."""

import json
import signal
import time

import finished_run
import pytest

# A file of the work directory whose appearance is the moment of a kill: in the student, in
# rollouts, in the evaluation.
MOMENTS = (
    "student/solutions-1.json",
    "rollout/records/part-00001.parquet",
    "evaluate/test/samples/part-00000.parquet",
)


@pytest.fixture(scope="module")
def killed(finished, tmp_path_factory):
    """The work directory of the same run, killed at each of the moments and started again."""
    folder = tmp_path_factory.mktemp("killed")
    with open(folder / "log.txt", "w") as log:
        for moment in (*MOMENTS, None):
            process = finished_run.start_run(folder / "work", finished.parent / "compiled", log)
            if moment:
                file = folder / "work" / moment
                while process.poll() is None and not file.exists():
                    time.sleep(0.002)
                process.kill()
            code = process.wait()
            expected = -signal.SIGKILL if moment else 0
            assert code == expected, (folder / "log.txt").read_text()
    return folder / "work"


def test_records_are_those_of_an_undisturbed_run(finished, killed):
    finished_run.assert_same_records(finished, killed)


def test_models_are_those_of_an_undisturbed_run(finished, killed):
    for stage in ("student", "orm", "sorm", "refiner"):
        files = [run / stage / "hf" / "model.safetensors" for run in (finished, killed)]
        assert files[0].read_bytes() == files[1].read_bytes(), stage


def test_report_has_the_figures_of_an_undisturbed_run(finished, killed):
    assert finished_run.same(*map(finished_run.figures, (finished, killed)))


def test_every_stage_says_that_it_is_done(killed):
    manifests = [json.loads(p.read_text()) for p in killed.glob("*/manifest.json")]
    assert len(manifests) == 8 and all(m["done"] for m in manifests)
