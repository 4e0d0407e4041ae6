"""The file is written again and again, and nothing that happens to it holds up or ends a run."""

import threading
import time

import pytest

from glore_jax import storage
from glore_jax.progress import WRITE, Progress, keeper
from glore_jax.progress.keeper import Keeper
from glore_jax.progress.record import FILE, Record

PATIENCE = 60.0  # seconds that a test waits for a thread, at most


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def kept(workdir) -> Record:
    return Record.of(storage.read_json(f"{workdir}/{FILE}"))


@pytest.fixture
def progress():
    made = Progress()
    yield made
    made.end(0)


def test_a_record_comes_back_as_it_was(tmp_path, progress):
    progress.keep(storage.path(tmp_path), ["student", "orm"], ["orm"])
    progress.stage("orm")
    with progress.piece("orm/plain look", WRITE, "solutions", 4) as piece:
        piece.reach(1, right=0.5)
        record = progress.record()
        again = Record.of(record.to_json())
    whole = {name: int(getattr(record, name)) for name in ("started", "written", "moved")}
    assert again == record.__class__(**vars(record) | whole)
    assert (again.piece.done, again.piece.total, again.piece.figures) == (1, 4, {"right": 0.5})


@pytest.mark.parametrize("workdir", ["disk", "bucket"])
def test_the_file_says_how_far_it_is_and_how_it_ended(workdir, request, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "LOCAL_SECONDS", 0.01)
    monkeypatch.setattr(keeper, "REMOTE_SECONDS", 0.01)
    if workdir == "bucket":
        tmp_path = request.getfixturevalue("bucket").url + "/run"
    progress = Progress()
    progress.keep(storage.path(tmp_path), ["student", "orm"], ["orm"])
    progress.stage("orm")
    with progress.piece("orm/plain look", WRITE, "solutions", 4) as piece:
        piece.reach(3)
        until(lambda: storage.exists(f"{tmp_path}/{FILE}") and kept(tmp_path).piece)
        found = kept(tmp_path)
        assert (found.stages, found.todo, found.stage) == (("student", "orm"), ("orm",), "orm")
        assert (found.piece.done, found.code) == (3, None)
    progress.end(130, "interrupted")
    found = kept(tmp_path)
    assert (found.code, found.reason, found.piece) == (130, "interrupted", None)
    assert list(found.taken) == ["orm/plain look"]


def test_a_refusal_is_a_line_in_the_log_and_no_more(bucket, caplog):
    bucket.door.always = "403"
    progress = Progress()
    progress.keep(storage.path(f"{bucket.url}/run"), ["orm"], ["orm"])
    progress.end(0)
    lines = [entry.getMessage() for entry in caplog.records]
    assert len(lines) == 1 and lines[0].startswith("progress is not written: cannot write")


def test_nobody_waits_for_a_store_that_does_not_answer(tmp_path, monkeypatch):
    """The run counts on, and ends, while a write hangs."""
    hangs = threading.Event()
    answered = threading.Event()

    def write(file, content):
        hangs.set()
        assert answered.wait(PATIENCE)

    monkeypatch.setattr(storage, "write_json", write)
    monkeypatch.setattr(keeper, "_LAST_SECONDS", 0.05)
    progress = Progress()
    progress.keep(storage.path(tmp_path), ["orm"], ["orm"])
    assert hangs.wait(PATIENCE)
    progress.stage("orm")
    with progress.piece("orm/plain look", WRITE, "solutions", 400) as piece:
        for done in range(400):
            piece.reach(done)
    progress.end(0)  # returns
    answered.set()


def test_its_thread_keeps_no_process_from_ending(tmp_path):
    made = Keeper(tmp_path / FILE, Progress().record)
    assert made._thread.daemon
    made.close()
