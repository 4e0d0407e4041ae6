"""Bounds and choices of config fields."""

import math

import pytest

from configs import tiny
from glore_jax.config import default, validate
from glore_jax.errors import UserError


@pytest.mark.parametrize(
    "config", [default(), *(tiny.get_config(arg) for arg in ("", "smoke", "base"))]
)
def test_shipped_configs_are_valid(config):
    validate(config)


@pytest.mark.parametrize(
    "field, value, rule",
    [
        ("rollout.k", 0, "must be at least 1"),
        ("evaluate.label_k", -1, "must be at least 1"),
        ("sample.max_new", 0, "must be at least 1"),
        ("student.sft.epochs", 0, "must be at least 1"),
        ("orm.train.batch_size", 0, "must be at least 1"),
        ("refiner.train.row_length", 0, "must be at least 1"),
        ("student.ei.rounds", -1, "must be at least 0"),
        ("rollout.temperature", 0.0, "must be greater than 0"),
        ("student.sft.lr", math.nan, "must be greater than 0"),
        ("sample.top_p", 1.5, "must be from 0 to 1"),
        ("evaluate.threshold", -0.1, "must be from 0 to 1"),
        ("rollout.schedule", "forward", "choose one of backward, full, bisect"),
        ("refiner.attention", "both", "choose one of causal, prefix"),
        ("sorm.train.optimizer", "sgd", "choose one of adamw, muon"),
        ("model.remat", "some", "choose one of none, full, dots"),
        ("model.kernel", "flash", "choose one of auto, xla, splash, cudnn"),
    ],
)
def test_field_out_of_bounds_is_named(field, value, rule):
    config = default()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as e:
        validate(config)
    assert str(e.value) == f"config.{field} is {value!r}: {rule}"


def test_kept_steps_and_a_bidirectional_draft_exclude_each_other():
    config = default()
    config.evaluate.keep_prefix = True
    validate(config)
    config.refiner.attention = "prefix"
    with pytest.raises(
        UserError, match="config.evaluate.keep_prefix is True, but with refiner.attention=prefix"
    ):
        validate(config)


def test_the_ends_of_the_bounds_are_inside():
    config = default()
    config.update_from_flattened_dict(
        {"rollout.k": 1, "evaluate.threshold": 1.0, "student.ei.rounds": 0, "sample.top_p": 1.0}
    )
    validate(config)
