"""Chain problems kept as a TFDS dataset."""

import pytest

from configs import tiny
from glore_jax.errors import UserError
from glore_jax.tasks.chains import splits, tfds_builder
from glore_jax.tasks.chains.task import ChainsTask


def make_config(folder="", **changes):
    config = tiny.get_config().task
    config.data_dir = str(folder)
    config.size.update(dict(train=30, dev=12, test=8, test_templates=8))
    config.update(changes)
    return config


def test_prepared_problems_equal_drawn_ones(tmp_path):
    drawn, prepared = ChainsTask(make_config()), ChainsTask(make_config(tmp_path))
    for split in splits.SPLITS:
        assert prepared.load(split) == drawn.load(split)


def test_data_are_drawn_once(tmp_path, monkeypatch):
    first = tfds_builder.load(make_config(tmp_path), "dev")
    monkeypatch.setattr(splits, "draw_split", lambda *_: pytest.fail("drawn again"))
    assert tfds_builder.load(make_config(tmp_path), "dev") == first
    # A limit is no other dataset.
    limited = ChainsTask(make_config(tmp_path, limit=dict(dev=5)))
    assert len(limited.load("dev")) == 5


@pytest.mark.parametrize(
    "change", [dict(seed=2), dict(steps=(2, 3)), dict(distractors=0.0), dict(size=dict(dev=9))]
)
def test_other_knobs_are_another_dataset_beside_the_first(tmp_path, change):
    first = tfds_builder.load(make_config(tmp_path), "dev")
    other = tfds_builder.load(make_config(tmp_path, **change), "dev")
    assert other == ChainsTask(make_config(**change)).load("dev") != first
    assert len(list((tmp_path / "chains_glore").iterdir())) == 2


def test_empty_split_is_left_out(tmp_path):
    config = make_config(tmp_path, size=dict(test=0))
    assert len(tfds_builder.load(config, "dev")) == 12
    with pytest.raises(UserError, match="split 'test' is empty"):
        ChainsTask(config).load("test")


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    message = "cannot prepare the TFDS data set chains_glore: .*leave --config.task.data_dir empty"
    with pytest.raises(UserError, match=message):
        tfds_builder.load(make_config(tmp_path / "file"), "dev")
