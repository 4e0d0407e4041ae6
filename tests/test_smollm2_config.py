"""The config of SmolLM2-135M: its tasks and variants."""

import itertools

import pytest

from configs import smollm2_135m
from glore_jax.config import validate
from glore_jax.config.fields import leaves

ARGS = ["", *smollm2_135m.TASKS]
WITH_VARIANTS = [
    ",".join(filter(None, (task, *variants)))
    for task in ARGS
    for count in range(4)
    for variants in itertools.combinations(smollm2_135m.VARIANTS, count)
]


@pytest.mark.parametrize("arg", WITH_VARIANTS)
def test_every_variant_is_complete(arg):
    config = smollm2_135m.get_config(arg)
    validate(config)
    assert config.model.base == "smollm2-135m"
    assert ("gpu" in arg) == (config.model.dtype == "bfloat16") or "smoke" in arg
    # A prompt's longest question and a draft of most tokens have room in a row of the refiner.
    assert config.refiner.train.row_length >= 2 * config.refiner.max_new + 300


def test_names_tell_tasks_and_variants_apart():
    names = {smollm2_135m.get_config(arg).name for arg in WITH_VARIANTS}
    assert len(names) == len(WITH_VARIANTS) - 8  # "" is gsm_symbolic
    assert smollm2_135m.get_config() == smollm2_135m.get_config("gsm_symbolic")


def test_the_published_recipe_keeps_sizes():
    default = dict(leaves(smollm2_135m.get_config("svamp")))
    paper = dict(leaves(smollm2_135m.get_config("svamp,paper")))
    assert paper["task.worked"] == "none" and default["task.worked"] == "equation"
    for name in ("student.sft.lr", "orm.train.epochs", "student.ei.k", "evaluate.k"):
        assert paper[name] == default[name]
    assert paper["student.worked"] == 0 and paper["sample.include_greedy"] is False


def test_shown_questions_are_some_of_those_that_are_there():
    for arg in WITH_VARIANTS:
        config = smollm2_135m.get_config(arg)
        if "size" in config.task:
            assert config.student.worked < config.task.size.train


@pytest.mark.parametrize("arg", ["svamp,gsm8k", "tpu", "gpu,papers", "svamp;gpu"])
def test_other_arguments_are_refused(arg):
    with pytest.raises(ValueError, match="takes one of gsm_symbolic, svamp, gsm8k, and any of"):
        smollm2_135m.get_config(arg)
