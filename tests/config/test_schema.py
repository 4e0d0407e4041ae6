"""The tree of fields: each is described, and what stands elsewhere too agrees with it."""

import json

import ml_collections
import pytest

from configs import gsm8k_llama2_7b, svamp_llama2_13b, tiny
from glore_jax.config import Effect, Field, Section, default, effect_of, fields_of, task, training
from glore_jax.config.fields import find, leaves
from glore_jax.config.schema import ALL
from glore_jax.config.tasks import SPLITS, TASKS
from glore_jax.report import paper
from glore_jax.tasks import registry


def declared(tree: Section, prefix: str = ""):
    """(dotted name, field) of all that is declared."""
    children = dict(tree.children)
    if tree.each is not None:
        children["NAME"] = tree.each
    for name, child in children.items():
        if isinstance(child, Section):
            yield from declared(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def test_fields_say_what_they_mean():
    for name, field in declared(ALL):
        assert field.meaning[0].isupper() or field.meaning[0] in "([", name
        assert field.meaning.endswith(".") and "\n" not in field.meaning, name


@pytest.mark.parametrize(
    "config",
    [
        default(),
        tiny.get_config("base"),
        gsm8k_llama2_7b.get_config("smoke"),
        svamp_llama2_13b.get_config(),
    ],
)
def test_every_leaf_of_a_shipped_config_is_declared(config):
    for name, _ in leaves(config):
        assert isinstance(find(ALL, name), Field), name


def test_trainings_share_their_fields():
    c = default()
    sections = [c.student.sft, c.orm.train, c.sorm.train, c.refiner.train, training(1, 1, 1, 1)]
    names = [list(s) for s in sections]
    assert names == [names[0]] * 5
    own = ("lr", "min_lr", "batch_size", "epochs")
    shared = [{k: v for k, v in s.to_dict().items() if k not in own} for s in sections]
    assert shared == [shared[0]] * 5


def test_defaults_are_made_anew_each_time():
    default().task.limit.train = 3
    training(1, 1, 1, 1).lr = 2
    assert default().task.limit.train == 0
    json.dumps(default().to_dict())


@pytest.mark.parametrize("name", registry.TASK_NAMES)
def test_tasks_have_the_splits_that_are_declared(name):
    assert set(TASKS) == set(SPLITS) == set(registry.TASK_NAMES)
    made = registry.make_task(ml_collections.ConfigDict({"name": name}))
    assert made.splits == SPLITS[name]
    assert task(name).name == name


def test_columns_of_the_paper():
    assert find(ALL, "report.paper_column").choices == ("", *paper.COLUMNS)


def test_effects():
    assert fields_of(Effect.IDENTITY) == ["name", "task.name", "model.base"]
    assert fields_of(Effect.PARTS) == ["engine.part_questions"]
    free = {"mesh.tensor", "engine.round_steps", "student.sft.save_seconds", "model.kernel"}
    free |= {"orm.train.profile_steps", "model.remat", "model.unroll_layers"}
    assert free <= set(fields_of(Effect.SPEED))
    assert effect_of("task.tfds_dir") is effect_of("pretrain.any.save_seconds") is Effect.SPEED
    for name in ("student.sft.microbatches", "model.vocab_multiple", "task.limit.train", "other"):
        assert effect_of(name) is Effect.RESULT
