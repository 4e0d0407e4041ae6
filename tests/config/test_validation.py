"""Mistakes in a config are told before anything runs, each in one line that names the field."""

import math

import pytest

from configs import gsm8k_llama2_7b, svamp_llama2_13b, tiny
from glore_jax.config import default, task, training, validate
from glore_jax.errors import UserError

SHIPPED = [
    default(),
    *(tiny.get_config(arg) for arg in ("", "smoke", "base")),
    *(
        config.get_config(arg)
        for config in (gsm8k_llama2_7b, svamp_llama2_13b)
        for arg in ("", "smoke")
    ),
]


def mistake(config, **fields) -> str:
    """What `validate` says of `config` with these fields, written `rollout__k`."""
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    config.update_from_flattened_dict(changes)
    with pytest.raises(UserError) as error:
        validate(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("config", SHIPPED)
def test_shipped_configs_are_valid_and_stay_as_they_are(config):
    before = config.to_dict()
    validate(config)
    assert config.to_dict() == before


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
        ("rollout.drafts_per_question", 0, "must be at least 1"),
        ("task.dev_size", 0, "must be at least 1"),
        ("task.limit.test", -1, "must be at least 0"),
        ("engine.tensor", 0, "must be at least 1"),
        ("rollout.temperature", 0.0, "must be greater than 0"),
        ("student.sft.lr", math.nan, "must be greater than 0"),
        ("sample.top_p", 1.5, "must be from 0 to 1"),
        ("evaluate.threshold", "-0.1", "must be from 0 to 1"),
        ("evaluate.mark", "nan", "must be from 0 to 1"),
        ("evaluate.mark", "0.4,1.2", "must be from 0 to 1"),
        ("evaluate.mark", "half", "must be a text, auto, or numbers, as in 0.4,0.7"),
        ("evaluate.threshold", "", "must be a text, auto, or numbers, as in 0.4,0.7"),
        (
            "evaluate.threshold",
            "0.1,0.2,0.3",
            "give auto, one number, or two, for the ORM and for the SORM",
        ),
        ("evaluate.temperature", "0", "must be greater than 0"),
        ("evaluate.suspects", 3, "must be from 1 to 2"),
        ("evaluate.choose", "best", "choose one of orm, vote, combination"),
        ("rollout.schedule", "forward", "choose one of backward, full, bisect"),
        ("refiner.attention", "both", "choose one of causal, prefix"),
        ("sorm.train.optimizer", "sgd", "choose one of adamw, muon"),
        ("model.remat", "some", "choose one of auto, none, dots, attention, full"),
        ("model.kernel", "flash", "choose one of auto, xla, splash, cudnn"),
        # Computed in, but never exported in: each training would end in vain.
        ("model.dtype", "float16", "choose one of bfloat16, float32"),
        ("task.name", "gsm9k", "choose one of chains, gsm_symbolic, gsm8k, svamp"),
    ],
)
def test_field_out_of_bounds_is_named(field, value, rule):
    config = default()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError) as e:
        validate(config)
    assert str(e.value) == f"config.{field} is {value!r}: {rule}"


def test_the_ends_of_the_bounds_are_inside():
    config = default()
    config.update_from_flattened_dict(
        {"rollout.k": 1, "evaluate.threshold": "1.0", "student.ei.rounds": 0, "sample.top_p": 1.0}
    )
    validate(config)


def test_the_paper_has_four_columns():
    said = mistake(default(), report__paper_column="MATH 7B")
    assert said.startswith("config.report.paper_column is 'MATH 7B': choose one of")
    assert said.endswith("GSM8K 7B, GSM8K 13B, SVAMP 7B, SVAMP 13B")


def test_a_field_goes_by_its_whole_name():
    """`worked` is a number in one place and a word in another, `steps` a pair and a number."""
    config = tiny.get_config("base")
    assert "config.student.worked is -1" in mistake(config, student__worked=-1)
    config = tiny.get_config("base")
    assert "config.pretrain.read.steps is 0" in mistake(config, pretrain__read__steps=0)
    config = svamp_llama2_13b.get_config()
    assert "config.task.worked is 'some'" in mistake(config, task__worked="some")


# Fields that are not there, or not what they should be.


def test_an_unknown_field_is_named():
    config = default()
    config.rollout.kk = 3
    assert mistake(config).startswith("config.rollout.kk is no field")


def test_a_missing_field_is_named():
    for name in ("mesh", "task"):
        config = default()
        del config[name]
        assert mistake(config).startswith(f"config.{name} is missing")
    for section, name in (("evaluate", "mark"), ("task", "name")):
        config = default()
        del config[section][name]
        assert mistake(config).startswith(f"config.{section}.{name} is missing")


def test_another_task_needs_its_own_fields():
    assert mistake(default(), task__name="chains").startswith("config.task.seed is missing")
    config = default()
    config.task = task("chains")
    validate(config)
    config.task.name = "gsm8k"  # that task does not read what is left of the other
    validate(config)


def test_fields_with_a_default_of_their_own_may_be_left_out():
    config = default()
    del config.task.dev_size, config.task.limit
    validate(config)


def test_a_value_has_the_type_of_its_default():
    assert mistake(default(), rollout__k=None) == "config.rollout.k is None: must be a whole number"


# Tuples, as people write them.


@pytest.mark.parametrize(
    "written, meant",
    [
        (("test,test_templates",), ("test", "test_templates")),
        (("test, test_templates",), ("test", "test_templates")),
        (("test,",), ("test",)),
        (("test", "test_templates"), ("test", "test_templates")),
    ],
)
def test_names_may_be_divided_by_commas(written, meant):
    config = tiny.get_config().lock()
    config.evaluate.splits = written
    validate(config)
    assert config.evaluate.splits == meant


def test_one_number_is_a_pair_of_equal_ones():
    config = tiny.get_config().lock()
    config.task.steps = (4,)
    config.student.sft.profile_steps = (3,)
    validate(config)
    assert config.task.steps == (4, 4)
    assert config.student.sft.profile_steps == (3, 3)
    assert config.orm.train.profile_steps is None


def test_a_config_file_may_write_one_name_or_number():
    config = tiny.get_config()
    config.evaluate = config.evaluate.to_dict() | {"splits": "test,test_templates"}
    config.task = config.task.to_dict() | {"steps": 4}
    config.lock()
    validate(config)
    assert config.evaluate.splits == ("test", "test_templates") and config.task.steps == (4, 4)


@pytest.mark.parametrize("pair", [(), (6, 3), (1, 2, 3), ("a",), (True, 2)])
def test_what_is_no_pair(pair):
    said = mistake(tiny.get_config(), task__steps=pair)
    assert said.startswith(f"config.task.steps is {pair!r}") or said.startswith(
        f"config.task.steps is {pair * 2!r}"
    )
    assert said.endswith("must be two numbers, the first no larger, as in 3,6")


def test_bounds_hold_for_each_number_of_a_pair():
    said = mistake(tiny.get_config(), task__operand=(1, 99))
    assert said == "config.task.operand is (1, 99): must be at least 2"


def test_names_are_texts():
    said = mistake(tiny.get_config(), evaluate__splits=(3,))
    assert said == "config.evaluate.splits is (3,): must be names, as in a,b"


# Fields that depend on each other.


@pytest.mark.parametrize("section", ["student.sft", "orm.train", "sorm.train", "refiner.train"])
def test_the_lowest_learning_rate_is_not_above_the_highest(section):
    config = default()
    lr = training(3e-5, 3e-5, 8, 1).lr
    config.update_from_flattened_dict({f"{section}.lr": lr, f"{section}.min_lr": lr})
    validate(config)
    config.update_from_flattened_dict({f"{section}.min_lr": 1.0})
    assert mistake(config) == f"config.{section}.min_lr is 1.0: must be at most lr, 3e-05"


@pytest.mark.parametrize(
    "fields, line",
    [
        (dict(evaluate__splits=()), "config.evaluate.splits is empty"),
        (dict(evaluate__sample_splits=()), "config.evaluate.sample_splits is empty"),
        (
            dict(evaluate__splits=("tests",)),
            "config.evaluate.splits has 'tests', but the task gsm8k",
        ),
        (
            dict(evaluate__sample_splits=("tests",)),
            "config.evaluate.sample_splits has 'tests', but the task gsm8k",
        ),
        (
            dict(evaluate__splits=("test_templates",)),
            "config.evaluate.splits has 'test_templates', but the task gsm8k has no such test "
            "split: choose from test",
        ),
        (
            dict(evaluate__splits=("test", "dev")),
            "config.evaluate.splits has 'dev', on which every choice is made: its figures would "
            "not be those of unseen questions; choose from test",
        ),
        (
            dict(evaluate__splits=("train",)),
            "config.evaluate.splits has 'train', from which the models learn: its figures",
        ),
        (
            dict(evaluate__sample_splits=("dev",)),
            "config.evaluate.sample_splits has 'dev', on which every choice is made",
        ),
    ],
)
def test_evaluated_splits_are_those_of_the_task(fields, line):
    assert mistake(default(), **fields).startswith(line)


def test_a_sampled_split_is_evaluated():
    fields = dict(evaluate__splits=("test",), evaluate__sample_splits=("test_templates",))
    said = mistake(tiny.get_config(), **fields)
    assert said.startswith("config.evaluate.sample_splits has 'test_templates', which is not eval")


def test_an_evaluated_split_is_not_empty():
    said = mistake(tiny.get_config(), task__size__test_templates=0)
    assert said.startswith("config.task.size.test_templates is 0, but evaluate.splits has")
    config = tiny.get_config()
    config.task.size.test_templates = 0
    config.evaluate.splits = ("test",)
    validate(config)


def test_a_prompt_has_a_place_for_the_question():
    said = mistake(default(), task__prompt="Q: ")
    assert said == "config.task.prompt is 'Q: ': it needs the field {question}"
    config = default()
    config.task.prompt = "chat"  # the tokenizer has it
    validate(config)


def test_a_backslash_is_no_end_of_a_line():
    said = mistake(default(), task__prompt=r"{question}\n")
    assert "a backslash and an n" in said and said.endswith(r"a shell makes one of $'{question}\n'")


@pytest.mark.parametrize("missing", ["question", "solution"])
def test_a_task_without_worked_solutions_needs_an_example(missing):
    config = svamp_llama2_13b.get_config()
    config.student.shot[missing] = ""
    assert "give student.shot.question and student.shot.solution" in mistake(config)
    config.task.worked = "equation"
    validate(config)


def test_a_balanced_orm_takes_two_solutions_of_a_question():
    assert mistake(default(), orm__per_question=1).startswith("config.orm.per_question is 1")
    config = default()
    config.orm.per_question = 1
    config.orm.balanced = False
    validate(config)


def test_kept_steps_and_a_bidirectional_draft_exclude_each_other():
    config = default()
    config.evaluate.keep_prefix = True
    validate(config)
    config.refiner.attention = "prefix"
    with pytest.raises(
        UserError, match="config.evaluate.keep_prefix is True, but with refiner.attention=prefix"
    ):
        validate(config)


def test_without_propagation_every_prefix_is_tried():
    assert mistake(default(), rollout__propagate=False) == (
        "config.rollout.propagate is False, but rollout.schedule=backward leaves out prefixes "
        "whose labels it propagates: take rollout.schedule=full"
    )
    config = default()
    config.rollout.update(propagate=False, schedule="full")
    validate(config)


def test_sizes_of_a_mesh():
    assert mistake(default(), mesh__tensor=0).startswith("config.mesh.tensor is 0")
    assert mistake(default(), mesh__data=-2) == "config.mesh.data is -2: must be at least -1"
    assert mistake(default(), mesh__data=-1) == (
        "config.mesh.data and mesh.fsdp are -1: only one may be what is left"
    )


@pytest.mark.parametrize("section", ["task", "pretrain.difficulty"])
def test_the_largest_amount_has_room_for_an_operand(section):
    config = tiny.get_config("base")
    config.update_from_flattened_dict({f"{section}.max_value": 50})
    said = mistake(config)
    assert said == f"config.{section}.max_value is 50: must be at least the largest operand, 99"


def test_reviews_are_readings():
    config = tiny.get_config("base")
    assert "config.pretrain.third is missing" in mistake(config, pretrain__reviews=("third",))
    config = tiny.get_config("base")
    del config.pretrain.again.wrong
    assert "config.pretrain.again.wrong is missing" in mistake(config)


def test_a_base_is_made_for_chains_alone():
    config = tiny.get_config("base")
    assert "config.pretrain makes the base of the task chains" in mistake(
        config, task__name="gsm8k"
    )


def test_memory_of_an_engine():
    for right in ("auto", "0", "12000000000"):
        config = default()
        config.engine.cache_bytes = right
        validate(config)
    for wrong in ("all", "-1", "1.5", ""):
        assert mistake(default(), engine__cache_bytes=wrong) == (
            f"config.engine.cache_bytes is {wrong!r}: give a number of bytes, 0, or auto"
        )
