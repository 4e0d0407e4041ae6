"""A run of two processes in a bucket, both killed twice, ends as a run of one on a disk does."""

import functools
import time

import bucket as buckets
import finished_run
import pytest
import several
from finished_run import figures, same

from benchmarks.miniature import CONFIG, FLAGS, keeping
from glore_jax import storage


@pytest.fixture
def workdir(bucket, finished, tmp_path):
    """The work directory of the run, fetched to a disk; what process N printed is in `N.txt`."""
    flags = [f"--config={CONFIG}", f"--workdir={bucket.url}/run", *FLAGS]
    variables = keeping(finished.parent / "compiled") | buckets.variables(bucket.server)

    def arguments(address, index):
        joining = (f"--coordinator={address}", "--num_processes=2", f"--process_id={index}")
        return "-c", several.TALKATIVE, *flags, *joining

    start = functools.partial(several.together, 2, arguments, log=tmp_path, **variables)

    def printed():
        return "".join((tmp_path / f"{i}.txt").read_text() for i in range(2))

    def killed_in(training):
        """Both are killed once the second shows updates of `training`."""
        with start() as run:
            while not several.is_under_way(training, tmp_path / "1.txt"):
                assert all(p.poll() is None for p in run), printed()
                time.sleep(0.002)
            for process in run:
                process.kill()

    killed_in("student/round-0")
    killed_in("student/round-1")
    with start() as run:
        codes = [p.wait(timeout=900) for p in run]
    assert codes == [0, 0], printed()
    fetched = tmp_path / "fetched"
    for name in bucket.objects():
        storage.write_bytes(fetched / name, storage.read_bytes(f"{bucket.url}/{name}"))
    return fetched / "run"


def test_it_ends_as_a_run_of_one_process_on_a_disk(finished, workdir):
    finished_run.assert_same_records(finished, workdir)
    assert same(figures(workdir), figures(finished))
    for stage in ("orm", "sorm", "refiner", "student"):
        counts = [
            storage.read_json(w / stage / "manifest.json")["counts"] for w in (finished, workdir)
        ]
        assert same(*map(without_times, counts)), stage


def without_times(counts):
    """`counts` without what no two runs share."""
    if isinstance(counts, dict):
        return {k: without_times(v) for k, v in counts.items() if "seconds" not in k}
    return [without_times(v) for v in counts] if isinstance(counts, list) else counts
