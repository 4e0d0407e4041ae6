"""What a field of the config is, what a section of fields is, and how their tree is walked."""

import dataclasses
import enum
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict


class Effect(enum.Enum):
    """What a change of a field does to files that were made before it."""

    RESULT = "result"  # stages that declare it run again, and all that read their files
    SPEED = "speed and place"  # nothing: how fast, where or how safely a stage runs
    PARTS = "parts"  # nothing to a finished stage; one that is half done starts again
    IDENTITY = "identity"  # refused: a work directory belongs to one value of it


class Form(enum.Enum):
    """How the value of a field is written."""

    PLAIN = "a number, a text, true or false"
    NAMES = "names, as in a,b"
    PAIR = "two numbers, the first no larger, as in 3,6"
    TABLE = "nested tuples"
    AUTO = "auto, or numbers, as in 0.4,0.7"


class _NoDefault:
    def __repr__(self) -> str:
        return "no default"


NO_DEFAULT = _NoDefault()  # the config file that has the field gives its value

NOT_STATED = "not stated"  # `paper` of a field that the paper leaves open

# `0.5 (section 5.2)`, `2 for GSM8K, 5 for SVAMP (table 5)`: values, and where they are stated.
_STATED = re.compile(r"(?P<values>.+?) \((?P<where>[^()]+)\)")


@dataclasses.dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
      default: its value in `glore_jax.config.default()`, or `NO_DEFAULT`. Its type is the field's.
      meaning: one sentence.
      at_least, above, at_most: bounds of a number, or of each number of a pair.
      choices: the values that it may have; empty: any.
      effect: what a change of it does to files that are there already.
      form: how its value is written.
      paper: the value that the paper states and where, as in `0.5 (section 5.2)` or, where tasks
        differ, `2 for GSM8K, 5 for SVAMP (table 5)`; or "not stated"; or a remark. See `published`.
      plain: what the variant `paper` of a config takes where the paper states no value, the
        simplest reading of its text; None: the config's own value.
      required: a config without it is refused.
    """

    default: Any
    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    choices: tuple[Any, ...] = ()
    effect: Effect = Effect.RESULT
    form: Form = Form.PLAIN
    paper: str = ""
    plain: Any = None
    required: bool = True

    def published(self, task: str) -> Any:
        """The value that the paper states for `task` (as `task.name` has it); None if none."""
        stated = _STATED.match(self.paper)
        if stated is None:
            return None
        for value in stated["values"].split(", "):
            text, _, whose = value.partition(" for ")
            if not whose or whose.lower() == task:
                return self._as_default(text)
        return None

    def _as_default(self, text: str) -> Any:
        """`text` as a value of this field's type."""
        if isinstance(self.default, bool):
            return {"True": True, "False": False}[text]
        if isinstance(self.default, int | float):
            return type(self.default)(text)
        return text

    @property
    def left_open(self) -> bool:
        """Whether the paper would have to state a value and does not."""
        return self.paper.startswith(NOT_STATED)

    @property
    def bounds(self) -> str:
        """Bounds, choices and form in a few words; empty if there are none."""
        if self.choices:
            return ", ".join(str(choice) or '""' for choice in self.choices)
        parts = [] if self.form is Form.PLAIN else [self.form.value]
        low = self.at_least if self.above is None else self.above
        if self.at_most is not None:
            than = "more than " if self.above is not None else ""
            parts.append(f"{than}{low:g} to {self.at_most:g}")
        elif low is not None:
            parts.append(f"more than {low:g}" if self.above is not None else f"at least {low:g}")
        return "; ".join(parts)


@dataclasses.dataclass(frozen=True)
class Section:
    """Fields and sections under one name.

    Attributes:
      meaning: one sentence.
      children: what it holds, by name.
      each: what stands under any other name, for sections whose names the config file chooses.
      required: a config without it is refused.
    """

    meaning: str
    children: Mapping[str, "Field | Section"]
    each: "Field | Section | None" = None
    required: bool = True

    def child(self, name: str) -> "Field | Section | None":
        """What stands under `name`; None if nothing may."""
        return self.children.get(name, self.each)


def section(meaning: str, /, **children: Field | Section) -> Section:
    """A section of exactly these `children`."""
    return Section(meaning, children)


def declared(tree: Section, prefix: str = "") -> Iterator[tuple[str, Field]]:
    """(dotted name, field) of every field below `tree`, in its order."""
    for name, child in tree.children.items():
        if isinstance(child, Section):
            yield from declared(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def find(tree: Section, name: str) -> Field | Section | None:
    """The declaration of the dotted `name` below `tree`; None if there is none."""
    node: Field | Section | None = tree
    for key in name.split("."):
        if not isinstance(node, Section):
            return None
        node = node.child(key)
    return node


def defaults(tree: Section) -> ConfigDict:
    """A config of the default values of `tree`, unlocked."""
    config = ConfigDict()
    for name, child in tree.children.items():
        if isinstance(child, Section):
            config[name] = defaults(child)
        elif child.form is Form.PAIR and child.default is None:
            config[name] = config_dict.placeholder(tuple)  # None, until a tuple is assigned
        else:
            config[name] = child.default
    return config


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of everything in `config` that is not a section."""
    for key, value in config.items():
        if isinstance(value, ConfigDict | Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
