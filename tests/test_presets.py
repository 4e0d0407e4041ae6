"""The variant `paper` of every config against the paper, and what the defaults do otherwise."""

import functools
import operator
import pathlib
import re

import pytest

from configs import (
    gsm8k_llama2_7b,
    gsm8k_llama2_13b,
    smollm2_135m,
    svamp_llama2_7b,
    svamp_llama2_13b,
    tiny,
)
from glore_jax.config import Field, validate
from glore_jax.config.fields import find, leaves
from glore_jax.config.schema import ALL

README = (pathlib.Path(__file__).parent.parent / "README.md").read_text("utf-8")

# Typed from arXiv 2402.10963, not from our declarations: where, field, value.
RECIPE = (
    ("section 4.1 step 1: the given solutions", "student.worked", 0),
    ("section 4.1 step 1: all right ones, each once", "student.ei.per_question", 0),
    ("section 4.1 step 2: 8 traces of a prefix", "rollout.k", 8),
    ("section 4.1 step 2: every step gets traces", "rollout.schedule", "full"),
    ("section 4.1 step 2: the result must occur later", "rollout.consistency", True),
    ("section 4.1 step 2: a good step makes earlier ones good", "rollout.propagate", True),
    ("section 4.1 step 2: as many good as bad at each length", "sorm.balance", True),
    ("section 4.1, table 1: a balanced ORM beside the plain one", "orm.balanced", True),
    ("section 4.1 step 3: drafts are wrong rollouts", "refiner.failed_continuations", False),
    ("section 4.2: 8 traces for labels of test drafts", "evaluate.label_k", 8),
    ("section 5.2: one threshold", "evaluate.threshold", "0.5"),
    ("section 5.2: and [BAD] at it", "evaluate.mark", "0.5"),
    ("not mentioned: likelihood in a score", "orm.likelihood", False),
    ("not mentioned: likelihood in a score", "sorm.likelihood", False),
    ("not mentioned: a kept prefix", "evaluate.keep_prefix", False),
    ("not mentioned: heavier tokens", "refiner.turn", 1.0),
    ("not mentioned: greedy drafts among the samples", "sample.include_greedy", False),
    ("not mentioned: given solutions among the samples", "sample.include_worked", False),
    ("not mentioned: questions left out", "rollout.solved_only", False),
)
SIZES = (
    ("appendix B: 96 samples of a question", "student.ei.k", 96),
    ("appendix F: 96 samples of a question", "sample.k", 96),
    ("appendix F: at temperature 1", "sample.temperature", 1.0),
    ("section 4.1 step 1: of every training question", "student.ei.questions", 0),
    ("section 4.1 step 2: of every training question", "sample.questions", 0),
    ("section 4.1 step 2: at most 300 tokens", "rollout.max_new", 300),
    ("table 5: maj@96, rerank@96, pass@96", "evaluate.k", 96),
)
TABLE_4 = {
    "student.sft": {"epochs": 4, "lr": 2e-5, "min_lr": 2e-7, "batch_size": 128},
    "orm.train": {"epochs": 1, "lr": 2e-6, "min_lr": 2e-7, "batch_size": 256},
    "sorm.train": {"epochs": 1, "lr": 2e-6, "min_lr": 2e-7, "batch_size": 256},
    "refiner.train": {"epochs": 1, "lr": 2e-5, "min_lr": 2e-7, "batch_size": 128},
}
ROUNDS = {"gsm8k": 2, "svamp": 5}  # table 5

PAPER = [gsm8k_llama2_7b, gsm8k_llama2_13b, svamp_llama2_7b, svamp_llama2_13b]


def at(config, name: str):
    return functools.reduce(operator.getitem, name.split("."), config)


def same(value, stated) -> bool:
    """A field whose value is a text may hold a number as one."""
    return value == stated or (isinstance(value, str) and value == str(stated))


@pytest.mark.parametrize("module", [*PAPER, tiny, smollm2_135m])
def test_the_recipe(module):
    config = module.get_config("paper")
    validate(config)
    wrong = [row for row in RECIPE if not same(at(config, row[1]), row[2])]
    assert not wrong


@pytest.mark.parametrize("module", PAPER)
def test_the_sizes(module):
    config = module.get_config("paper")
    assert not [row for row in SIZES if not same(at(config, row[1]), row[2])]
    for section, values in TABLE_4.items():
        assert {name: at(config, section)[name] for name in values} == values, section
    assert config.student.ei.rounds == ROUNDS[config.task.name]


@pytest.mark.parametrize("module", PAPER)
def test_every_field_has_the_value_that_is_stated_for_it(module):
    config = module.get_config("paper")
    checked = 0
    for name, value in leaves(config):
        stated = find(ALL, name).published(config.task.name)
        if stated is not None:
            assert value == stated, name
            checked += 1
    assert checked >= 16 + 15  # table 4 alone has sixteen


def test_the_tiny_config_keeps_its_sizes():
    config, default = tiny.get_config("paper"), tiny.get_config()
    for name in ("student.sft", "orm.train", "student.ei.k", "sample.k", "rollout.max_new"):
        assert at(config, name) == at(default, name)


@pytest.mark.parametrize(
    "paper, default, by_task",
    [
        ("0.5 (section 5.2), one for both", 0.8, {"gsm8k": 0.5, "chains": 0.5}),
        ("0.5 (section 5.2)", "auto", {"gsm8k": "0.5"}),
        ("2 for GSM8K, 5 for SVAMP (table 5)", 5, {"gsm8k": 2, "svamp": 5, "chains": None}),
        ("True (section 4.1)", False, {"svamp": True}),
        ("2e-06 (table 4)", 1e-3, {"svamp": 2e-6}),
        ("not stated", 3, {"gsm8k": None}),
        ("LLaMA-2 7B, 13B", "", {"gsm8k": None}),
        ("", 3, {"gsm8k": None}),
    ],
)
def test_what_a_declaration_states(paper, default, by_task):
    field = Field(default, "A field.", paper=paper)
    for task, value in by_task.items():
        assert field.published(task) == value and type(field.published(task)) is type(value)
    assert field.left_open is (paper == "not stated")


@pytest.mark.parametrize("module", [*PAPER, tiny, smollm2_135m])
def test_other_arguments_are_refused(module):
    with pytest.raises(ValueError, match="paper"):
        module.get_config("papers")


def test_the_readme_names_every_difference():
    """One row a difference between a default and `:paper`: add a row, and say why."""
    different = set()
    for module in (*PAPER, tiny, smollm2_135m):
        default, paper = dict(leaves(module.get_config())), dict(leaves(module.get_config("paper")))
        different |= {name for name in default if default[name] != paper[name]}
    section = README.split("## What the default does otherwise")[1].split("\n## ")[0]
    named = {
        name
        for line in section.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([\w.]+)`", line.split("|")[1])
    }
    assert named == different - {"name"}
