"""TFDS builders as ArrayRecord files, prepared once."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from glore_jax.errors import UserError
from glore_jax.tasks import tfds_source

ROWS = [{"text": f"row {i} — naïve", "number": i} for i in range(50)]


class Made(tfds.core.GeneratorBasedBuilder):
    """A builder whose rows come from `before`, a function that tests set."""

    name = "glore_test_rows"
    VERSION = tfds.core.Version("1.0.0")
    before = staticmethod(lambda: ROWS)

    def _info(self):
        features = {"text": tfds.features.Text(), "number": tfds.features.Scalar(np.int64)}
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(), "test": enumerate(ROWS[:3])}

    def _generate_examples(self):
        yield from enumerate(type(self).before())


@pytest.fixture
def make(tmp_path):
    return lambda: Made(data_dir=tmp_path / "data", file_format=tfds_source.FILE_FORMAT)


def read(make, split="train"):
    return tfds_source.read(make, split, "pass a folder")


def test_rows_come_back_in_order_as_str(make):
    assert read(make) == ROWS
    assert read(make, "test") == ROWS[:3]


def test_data_are_prepared_once(make, monkeypatch):
    read(make)
    monkeypatch.setattr(Made, "before", lambda: pytest.fail("prepared again"))
    assert read(make) == ROWS


def test_files_are_array_records(make):
    folder = tfds_source.prepare(make, "").data_path
    # Such as glore_test_rows-train.array_record-00000-of-00001.
    kinds = {f.name.split(".")[1].split("-")[0] for f in folder.glob("glore_test_rows-*")}
    assert kinds == {"array_record"}


def test_failure_is_one_line_with_advice_and_leaves_nothing_prepared(make, monkeypatch):
    def fail():
        raise OSError("no\nnetwork")

    with monkeypatch.context() as patch:
        patch.setattr(Made, "before", fail)
        with pytest.raises(UserError) as e:
            read(make)
    message = "cannot prepare the TFDS data set glore_test_rows: no network; pass a folder"
    assert str(e.value) == message
    assert read(make) == ROWS  # the next run starts afresh


def test_user_error_of_the_builder_comes_through(make, monkeypatch):
    def fail():
        raise UserError("row 7 is malformed")

    monkeypatch.setattr(Made, "before", fail)
    with pytest.raises(UserError, match=r"^row 7 is malformed$"):
        read(make)


def test_two_processes_may_prepare_the_same_data(make, monkeypatch):
    def other_is_faster():
        monkeypatch.setattr(Made, "before", lambda: ROWS)
        assert read(make) == ROWS
        return ROWS

    monkeypatch.setattr(Made, "before", other_is_faster)
    assert read(make) == ROWS


def test_unknown_split(make):
    with pytest.raises(UserError, match="glore_test_rows has no split 'dev'"):
        read(make, "dev")
