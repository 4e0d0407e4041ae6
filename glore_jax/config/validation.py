"""A config against the tree of fields: complete, and before anything runs.

Each mistake is one line that names the field and says what to do. What only data, a model or
devices can tell is checked by the pipeline, before its first stage (`pipeline/checks.py`).
"""

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

from ml_collections import ConfigDict

from glore_jax.config import auto
from glore_jax.config.fields import NO_DEFAULT, Field, Form, Section, find, leaves
from glore_jax.config.schema import ALL
from glore_jax.config.tasks import CHAT, TASKS, TEST_SPLITS, USED_SPLITS
from glore_jax.errors import UserError


def validate(config: ConfigDict) -> None:
    """Puts tuples into form, in place, and raises UserError for the first mistake.

    Names may be written `test,test_templates`, and a pair of equal numbers as one of them. What the
    command line or a config file makes of that becomes the tuple that is meant.
    """
    for name, value in list(leaves(config)):
        field = find(ALL, name)
        if not isinstance(field, Field):
            raise UserError(
                f"config.{name} is no field: docs/config.md lists them all, see whether it is "
                "misspelt"
            )
        written = _in_form(field.form, value)
        if written != value:
            _assign(config, name, written)
        _check_value(name, field, written)
    _check_complete(config, ALL)
    for rule in _RULES:
        rule(config)


def _in_form(form: Form, value: Any) -> Any:
    """`value` as the tuple that is meant, or as it is."""
    if form is Form.NAMES:
        items = (value,) if isinstance(value, str) else value
        if not isinstance(items, tuple):
            return value
        parts = [part for item in items for part in _split(item)]
        return tuple(part for part in parts if part != "")
    if form is Form.PAIR:
        numbers = (value,) if _is_number(value) else value
        if isinstance(numbers, tuple) and len(numbers) == 1:
            return numbers * 2
    return value


def _split(item: Any) -> list[Any]:
    """The command line makes one text of names that commas divide."""
    return [part.strip() for part in item.split(",")] if isinstance(item, str) else [item]


def _assign(config: ConfigDict, name: str, value: Any) -> None:
    """Sets the field with the dotted `name`, whatever type it had."""
    *sections, last = name.split(".")
    section = functools.reduce(operator.getitem, sections, config)
    with section.ignore_type():
        section[last] = value


# One field.


def _check_value(name: str, field: Field, value: Any) -> None:
    if field.choices and value not in field.choices:
        raise UserError(f"config.{name} is {value!r}: choose one of {field.bounds}")
    if field.form is Form.PAIR:
        _check_pair(name, field, value)
    elif field.form is Form.NAMES:
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            raise UserError(f"config.{name} is {value!r}: must be {field.form.value}")
    elif field.form is Form.AUTO:
        _check_auto(name, field, value)
    elif field.form is Form.PLAIN:
        _check_type(name, field, value)
        _check_bounds(name, field, value, value)


def _check_pair(name: str, field: Field, pair: Any) -> None:
    if pair is None and field.default is None:
        return
    is_pair = isinstance(pair, tuple) and len(pair) == 2 and all(map(_is_number, pair))
    if not is_pair or not pair[0] <= pair[1]:
        raise UserError(f"config.{name} is {pair!r}: must be {field.form.value}")
    for number in pair:
        _check_bounds(name, field, number, pair)


def _check_auto(name: str, field: Field, value: Any) -> None:
    try:
        written = auto.numbers(value)
    except (AttributeError, ValueError):
        raise UserError(f"config.{name} is {value!r}: must be a text, {field.form.value}") from None
    for number in written or ():
        _check_bounds(name, field, number, repr(value))


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _check_type(name: str, field: Field, value: Any) -> None:
    """`ConfigDict` keeps the type of a field, but lets None in, and a config file may replace a
    whole section."""
    if field.default is NO_DEFAULT:
        return
    wanted = type(field.default)
    right = _is_number(value) if wanted is float else type(value) is wanted
    if not right:
        raise UserError(f"config.{name} is {value!r}: must be {_KINDS[wanted]}")


def _check_bounds(name: str, field: Field, number: Any, shown: Any) -> None:
    if not _is_number(number):
        return
    low, high = field.at_least, field.at_most
    # Written so that NaN fails too.
    if field.above is not None and not number > field.above:
        raise UserError(f"config.{name} is {shown}: must be greater than {field.above:g}")
    if high is not None and not (number <= high and (low is None or number >= low)):
        least = field.above if low is None else low
        raise UserError(f"config.{name} is {shown}: must be from {least:g} to {high:g}")
    if low is not None and not number >= low:
        raise UserError(f"config.{name} is {shown}: must be at least {low:g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_complete(config: ConfigDict, tree: Section, prefix: str = "") -> None:
    """UserError naming the first field that is not there."""
    children = dict(tree.children)
    if tree.each is not None:
        children |= {name: tree.each for name in config if name not in children}
    for name, child in children.items():
        full = prefix + name
        if full == "task" and "name" in config.get("task", {}):
            child = TASKS[config.task.name]  # only what the chosen task reads
        if name not in config:
            if child.required:
                raise UserError(
                    f"config.{full} is missing: start from glore_jax.config.default(), and for "
                    "another task from glore_jax.config.task(NAME)"
                )
        elif isinstance(child, Section):
            if not isinstance(config[name], ConfigDict):
                raise UserError(f"config.{full} is {config[name]!r}: must be a section")
            _check_complete(config[name], child, f"{full}.")


# Rules between fields. Each is called with a config whose single values are right.


def _learning_rates(config: ConfigDict) -> None:
    for name, section in _sections(config):
        if "lr" in section and "min_lr" in section and not section.min_lr <= section.lr:
            raise UserError(
                f"config.{name}.min_lr is {section.min_lr}: must be at most lr, {section.lr}"
            )


def _sections(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, ConfigDict]]:
    """(dotted name, section) of every section of `config`."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield prefix + name, value
            yield from _sections(value, f"{prefix}{name}.")


def _prompt(config: ConfigDict) -> None:
    prompt = config.task.prompt
    if prompt == CHAT:
        return
    if "{question}" not in prompt:
        raise UserError(f"config.task.prompt is {prompt!r}: it needs the field {{question}}")
    if "\\n" in prompt:
        raise UserError(
            f"config.task.prompt is {prompt!r}: it holds a backslash and an n where the end of a "
            "line is meant; a shell makes one of $'{question}\\n'"
        )


def _worked_example(config: ConfigDict) -> None:
    task, shot = config.task, config.student.shot
    unworked = task.name == "svamp" and task.get("worked", "") in ("", "none")
    if unworked and not (shot.question and shot.solution):
        raise UserError(
            "config.student.shot is empty and the task svamp has no worked solutions: give "
            "student.shot.question and student.shot.solution, a worked example, or "
            "task.worked=equation"
        )


def _largest_amount(config: ConfigDict) -> None:
    for name, section in _sections(config):
        if "max_value" in section and section.max_value < section.operand[1]:
            raise UserError(
                f"config.{name}.max_value is {section.max_value}: must be at least the largest "
                f"operand, {section.operand[1]}"
            )


def _mesh(config: ConfigDict) -> None:
    sizes = config.mesh.to_dict()
    for axis, size in sizes.items():
        if size == 0:
            raise UserError(f"config.mesh.{axis} is 0: must be at least 1, or -1, what is left")
    free = [f"mesh.{axis}" for axis, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise UserError(f"config.{free[0]} and {free[1]} are -1: only one may be what is left")


def _cache_bytes(config: ConfigDict) -> None:
    asked = config.engine.cache_bytes
    if asked != "auto" and not asked.isdecimal():
        raise UserError(
            f"config.engine.cache_bytes is {asked!r}: give a number of bytes, 0, or auto"
        )


def _evaluated_splits(config: ConfigDict) -> None:
    known = TEST_SPLITS[config.task.name]
    for field in ("splits", "sample_splits"):
        names = config.evaluate[field]
        if not names:
            raise UserError(f"config.evaluate.{field} is empty: give one of {', '.join(known)}")
        for name in names:
            if name in USED_SPLITS:
                raise UserError(
                    f"config.evaluate.{field} has {name!r}, {USED_SPLITS[name]}: its figures would "
                    f"not be those of unseen questions; choose from {', '.join(known)}"
                )
            if name not in known:
                raise UserError(
                    f"config.evaluate.{field} has {name!r}, but the task {config.task.name} has "
                    f"no such test split: choose from {', '.join(known)}"
                )
    for name in config.evaluate.sample_splits:
        if name not in config.evaluate.splits:
            raise UserError(
                f"config.evaluate.sample_splits has {name!r}, which is not evaluated: add it to "
                "evaluate.splits or leave it out"
            )
    for name in config.evaluate.splits:
        if "size" in config.task and config.task.size[name] < 1:
            raise UserError(
                f"config.task.size.{name} is 0, but evaluate.splits has {name}: draw at least 1, "
                "or evaluate another split"
            )


def _marks(config: ConfigDict) -> None:
    for field in ("mark", "threshold"):
        written = auto.numbers(config.evaluate[field])
        if written is not None and len(written) > 2:
            raise UserError(
                f"config.evaluate.{field} is {config.evaluate[field]!r}: give auto, one number, or "
                "two, for the ORM and for the SORM"
            )


def _candidates(config: ConfigDict) -> None:
    asked = config.evaluate.extra_samples
    if asked > config.evaluate.k:
        raise UserError(
            f"config.evaluate.extra_samples is {asked}: must be at most evaluate.k, "
            f"{config.evaluate.k}, the samples of a question"
        )


def _balanced_orm(config: ConfigDict) -> None:
    if config.orm.balanced and config.orm.per_question == 1:
        raise UserError(
            "config.orm.per_question is 1: must be 0 (all solutions) or at least 2, a right and a "
            "wrong one, as orm.balanced is true"
        )


def _propagation(config: ConfigDict) -> None:
    rollout = config.rollout
    if not rollout.propagate and rollout.schedule != "full":
        raise UserError(
            f"config.rollout.propagate is False, but rollout.schedule={rollout.schedule} leaves "
            "out prefixes whose labels it propagates: take rollout.schedule=full"
        )


def _kept_steps(config: ConfigDict) -> None:
    if config.evaluate.keep_prefix and config.refiner.attention == "prefix":
        raise UserError(
            "config.evaluate.keep_prefix is True, but with refiner.attention=prefix the draft "
            "would see the steps that are kept: take causal attention, or keep_prefix=False"
        )


def _readings(config: ConfigDict) -> None:
    recipe = config.get("pretrain")
    if recipe is None:
        return
    if config.task.name != "chains":
        raise UserError(
            "config.pretrain makes the base of the task chains, not of "
            f"{config.task.name}: set task.name to chains"
        )
    for name in ("read", *recipe.reviews):
        if name not in recipe:
            raise UserError(f"config.pretrain.{name} is missing: pretrain.reviews asks for it")
    for name in recipe.reviews:
        for field in ("drafts", "wrong"):
            if field not in recipe[name]:
                raise UserError(f"config.pretrain.{name}.{field} is missing: a review needs it")


_RULES: tuple[Callable[[ConfigDict], None], ...] = (
    _readings,
    _prompt,
    _worked_example,
    _largest_amount,
    _mesh,
    _cache_bytes,
    _learning_rates,
    _evaluated_splits,
    _marks,
    _candidates,
    _balanced_orm,
    _kept_steps,
    _propagation,
)
