"""The table of stages agrees with the stages, with the config and with the order of the data."""

import pathlib

import pytest

from configs import tiny
from glore_jax import stages
from glore_jax.config import Field
from glore_jax.config.fields import Section, find
from glore_jax.config.schema import ALL
from glore_jax.config.tasks import SPLITS

NAMES = list(stages.STAGES)


@pytest.mark.parametrize("name", NAMES)
def test_a_stage_reads_earlier_ones(name):
    assert set(stages.STAGES[name].needs) <= set(NAMES[: NAMES.index(name)])
    assert callable(stages.load(name).run)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_stage_declares_is_there(name):
    declared = stages.STAGES[name].config
    assert all(isinstance(find(ALL, field), Field | Section) for field in declared)
    assert len(set(declared)) == len(declared)


@pytest.mark.parametrize("name", NAMES)
def test_the_room_after_a_question_is_declared(name):
    """Else the questions that are left out would change and the stage would not be stale."""
    declared = stages.STAGES[name].config
    for split, fields in stages.STAGES[name].asks.items():
        assert split in (*SPLITS["chains"], stages.EVALUATED)
        for field in fields:
            assert any(field == d or field.startswith(f"{d}.") for d in declared), field
        assert "task" in declared


def test_evaluated_splits_come_from_the_config():
    config = tiny.get_config()
    fields = ("sample.max_new", "evaluate.max_new")
    asked = {split: fields for split in ("dev", "test", "test_templates")}
    assert stages.asked("evaluate", config) == asked
    assert set(stages.asked("student", config)) == {"train", "dev"}
    assert stages.asked("report", config) == {}


def test_a_stage_declares_itself_nowhere_else():
    folder = pathlib.Path(stages.__file__).parent
    for name in NAMES:
        text = (folder / f"{name}.py").read_text()
        assert "\nNEEDS = " not in text and "\nCONFIG = " not in text
