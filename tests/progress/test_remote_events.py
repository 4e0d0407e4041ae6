"""Events in a bucket: all are there in the end, and a bucket in trouble holds up nobody."""

import time

import pytest
from etils import epath
from tensorboard_files import read_events

from glore_jax.progress.tensorboard import Board, Writer

MANY = 50  # more than tensorboardX's queue holds


def write(bucket, count=MANY):
    """A board on which so many scalars were drawn."""
    board = Board(f"{bucket.url}/tb/run", "orm")
    draw(board, range(count))
    return board


def draw(board, steps):
    for step in steps:
        Writer(board, "orm").scalars({"loss": 0.5}, step)


def written(bucket):
    """The steps of the events in the bucket."""
    events = read_events(epath.Path(f"{bucket.url}/tb/run"))
    return [event.step for event in events if event.summary.value]


@pytest.mark.parametrize("jam", ["half", "drop", "503"])
def test_no_event_is_lost_with_an_answer(bucket, jam):
    bucket.door.jams.extend([jam] * 2)  # "half": the upload arrives, its answer does not
    write(bucket).close()
    assert not bucket.door.jams and written(bucket) == list(range(MANY))


def test_what_was_refused_goes_out_later(bucket, caplog):
    bucket.door.always = "403"
    board = write(bucket)
    until = time.monotonic() + 60
    while not caplog.records and time.monotonic() < until:
        time.sleep(0.01)
    draw(board, [MANY])
    bucket.door.always = ""
    board.close()
    assert written(bucket) == list(range(MANY + 1))


def test_a_refusal_is_a_line_in_the_log_and_no_more(bucket, caplog):
    bucket.door.always = "403"
    write(bucket).close()
    bucket.door.always = ""
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and lines[0].startswith("TensorBoard's events are not written: cannot")
    assert bucket.objects() == {}


def test_nobody_waits_for_a_store_that_does_not_answer(bucket):
    bucket.door.always = "503"
    board = write(bucket)  # returns, though the first flush is not through
    assert bucket.objects() == {}
    bucket.door.always = ""
    board.close()
    assert written(bucket) == list(range(MANY))


def test_files_are_sent_whole_and_no_oftener_than_they_change(bucket):
    write(bucket).close()
    uploads = [r for r in bucket.door.requests if r.method == "POST"]
    assert 1 <= len(uploads) <= 3 and len(bucket.objects()) == 1
    assert uploads[-1].sent > MANY * 20
