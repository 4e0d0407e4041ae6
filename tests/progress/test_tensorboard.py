"""What is written is what TensorBoard reads: one run, tags by stage, a tab of hyperparameters."""

import time

import pytest
from tensorboard_files import read_events, read_file
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

from configs import tiny
from glore_jax.parallel import processes
from glore_jax.progress.tensorboard import Board, Writer, hyperparameters, is_of_stage


def test_scalars_are_read_back_with_their_steps(tmp_path):
    board = Board(tmp_path / "run", "orm")
    for step in (0, 7):
        Writer(board, "orm/plain").scalars({"loss": 0.5 + step, "learning_rate": 2e-4}, step)
    board.close()
    events = read_events(tmp_path / "run")
    found = {(v.tag, e.step): v.simple_value for e in events for v in e.summary.value}
    expected = {
        ("orm/plain/loss", 0): 0.5,
        ("orm/plain/loss", 7): 7.5,
        ("orm/plain/learning_rate", 0): 2e-4,
        ("orm/plain/learning_rate", 7): 2e-4,
    }
    assert found == pytest.approx(expected)


def test_texts_are_read_back(tmp_path):
    board = Board(tmp_path / "run", "student")
    Writer(board, "student").text("chains-dev-00003", "2+3=5 ✓", 4)
    board.close()
    (value,) = [v for e in read_events(tmp_path / "run") for v in e.summary.value]
    assert value.tag == "student/chains-dev-00003/text_summary"
    assert value.tensor.string_val[0].decode() == "2+3=5 ✓"


def test_a_file_says_whose_events_it_holds(tmp_path):
    board = Board(tmp_path / "run", "orm")
    Writer(board, "orm/plain").scalars({"loss": 0.5}, 0)
    board.close()
    (file,) = (tmp_path / "run").iterdir()
    assert is_of_stage(file.name, "orm") and not is_of_stage(file.name, "sorm")
    assert not is_of_stage("profile.orm", "orm")


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_hyperparameters_have_their_own_file_once(place, tmp_path, request):
    folder = tmp_path
    if place == "bucket":
        bucket = request.getfixturevalue("bucket")
        folder = f"{bucket.url}/tb"
    config = tiny.get_config("smoke")
    for lr in (1e-3, 2e-3):
        config.student.sft.lr = lr
        board = Board(folder, "student", lambda: hyperparameters(config))
        Writer(board, "student").scalars({"loss": 0.5}, 0)
        board.close()
    if place == "bucket":
        end = time.monotonic() + 60
        while "tb/events.out.tfevents.0.config" not in bucket.objects():
            assert time.monotonic() < end
            time.sleep(0.01)
        return
    events = read_file(tmp_path / "events.out.tfevents.0.config")
    content = {
        value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in events
        for value in event.summary.value
    }
    shown = content["_hparams_/session_start_info"].session_start_info.hparams
    assert shown["student.sft.lr"].number_value == 2e-3  # of the last start
    assert shown["task.name"].string_value == "chains"
    assert "mesh.data" not in shown and "student.sft.save_seconds" not in shown
    metrics = content["_hparams_/experiment"].experiment.metric_infos
    assert metrics[0].name.tag == "accuracy/test/rerank"


def test_other_processes_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "is_main", lambda: False)
    board = Board(tmp_path / "run", "orm", lambda: {"lr": 1.0})
    writer = Writer(board, "orm")
    writer.scalars({"loss": 1.0}, 0)
    writer.text("a", "b", 0)
    assert writer.traces is None
    board.close()
    assert not (tmp_path / "run").exists()
