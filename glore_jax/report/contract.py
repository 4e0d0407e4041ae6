"""What a group of figures promises, and how it becomes JSON and comes back.

A group is a frozen dataclass derived from `Figures`, and each of its fields says what it holds:

    class Draft(Figures):
        acc: float | None = rate("share of questions that the draft solves")
        n: int | None = count("questions")

A group is checked when it is made: a rate lies in 0..1 and stands beside its count, a count is a
whole number, lists that belong to one axis are as long as it. What was not measured is None (or
NaN) and passes. `schema.py` reads the same declarations to write the JSON schema.
"""

import dataclasses
import enum
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Self


class BrokenContract(ValueError):
    """A figure is not what its declaration promises: a mistake of the program, not of the user."""

    def __init__(self, path: str, problem: str):
        super().__init__(f"report.json: {path} {problem}")
        self.path = path
        self.problem = problem

    def inside(self, outer: str) -> "BrokenContract":
        """The same, with the path seen from one level further out."""
        return BrokenContract(f"{outer}.{self.path}", self.problem)


class Kind(enum.Enum):
    """What a single value is; the text is how an error names it."""

    RATE = "a rate in 0..1"
    COUNT = "a count"
    NUMBER = "a number"
    TEXT = "a text"
    FLAG = "true or false"
    STEP_COUNT = "a pair of a step and a count"
    GROUP = "a group of figures"


class Shape(enum.Enum):
    """How many values of its kind a field holds."""

    ONE = "one"
    LIST = "a list"
    MAPPING = "a mapping by name"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What one field holds.

    Attributes:
      kind: of a single value.
      meaning: one line for readers of the schema.
      shape: one value, a list of them, or several by name.
      over: of rates, the field beside them with the count they are taken over. `n` may stand in
        for it, where a group has only one count. Empty: needs none, because it is a statistic of
        rates that have theirs.
      group: the type of a group.
      null: of a group, whether JSON says null where it is None. Otherwise its key is left out.
        Single values are always written.
    """

    kind: Kind
    meaning: str
    shape: Shape = Shape.ONE
    over: str = ""
    group: "type[Figures] | None" = None
    null: bool = True


# Declarations of fields. They return Any, as `dataclasses.field` does, so that a type checker takes
# the field's own annotation.


def _field(*spec: Any, **more: Any) -> Any:
    return dataclasses.field(default=None, metadata={"spec": Spec(*spec, **more)})


def rate(meaning: str, over: str = "n") -> Any:
    """A share in 0..1, counted over the field `over`."""
    return _field(Kind.RATE, meaning, over=over)


def rates(meaning: str, over: str = "n") -> Any:
    """A list of shares in 0..1; `over` is the list of their counts, or empty."""
    return _field(Kind.RATE, meaning, Shape.LIST, over=over)


def count(meaning: str) -> Any:
    """A whole number, 0 or more."""
    return _field(Kind.COUNT, meaning)


def counts(meaning: str) -> Any:
    """A list of whole numbers, 0 or more."""
    return _field(Kind.COUNT, meaning, Shape.LIST)


def number(meaning: str) -> Any:
    """Any finite number; its unit belongs into the meaning."""
    return _field(Kind.NUMBER, meaning)


def numbers_by_name(meaning: str) -> Any:
    """Numbers by name."""
    return _field(Kind.NUMBER, meaning, Shape.MAPPING, null=False)


def text(meaning: str) -> Any:
    """A text."""
    return _field(Kind.TEXT, meaning)


def texts(meaning: str) -> Any:
    """A list of texts."""
    return _field(Kind.TEXT, meaning, Shape.LIST)


def texts_by_name(meaning: str) -> Any:
    """Texts by name."""
    return _field(Kind.TEXT, meaning, Shape.MAPPING, null=False)


def flag(meaning: str) -> Any:
    """True or false."""
    return _field(Kind.FLAG, meaning)


def step_counts(meaning: str) -> Any:
    """A list of [step, count]; steps count from 1."""
    return _field(Kind.STEP_COUNT, meaning, Shape.LIST)


def group(of: "type[Figures]", meaning: str, null: bool = False) -> Any:
    """One group inside another; without it the key is left out, or with `null` holds null."""
    return _field(Kind.GROUP, meaning, group=of, null=null)


def groups(of: "type[Figures]", meaning: str) -> Any:
    """Groups by name."""
    return _field(Kind.GROUP, meaning, Shape.MAPPING, group=of, null=False)


def rows(of: "type[Figures]", meaning: str) -> Any:
    """A list of groups; without it the key is left out."""
    return _field(Kind.GROUP, meaning, Shape.LIST, group=of, null=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figures:
    """Base of all groups. BrokenContract, a ValueError that names the figure, if a check fails.

    `AXIS` names the field along which the group's lists run; they must be as long as it.
    """

    AXIS: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for key, spec in self.specs().items():
            self._check_field(key, spec)
        if self.AXIS:
            self._check_lengths()

    @classmethod
    def specs(cls) -> dict[str, Spec]:
        """The declarations by JSON key, in the order in which JSON has them."""
        return {_key(field.name): field.metadata["spec"] for field in dataclasses.fields(cls)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The group that `to_json` wrote. A key that is missing counts as None.

        Raises BrokenContract for a key that the group does not declare, and as the group itself.
        """
        specs = cls.specs()
        for key in values:
            if key not in specs:
                raise BrokenContract(key, f"is not declared in {cls.__name__}")
        fields = {}
        for field in dataclasses.fields(cls):
            key = _key(field.name)
            fields[field.name] = _read(specs[key], key, values.get(key))
        return cls(**fields)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: dicts, lists, numbers and texts."""
        out = {}
        for key, spec in self.specs().items():
            value = self.entry(key)
            if value is not None or spec.null:
                out[key] = _written(value)
        return out

    def entry(self, key: str) -> Any:
        """The value under JSON key `key`."""
        name = key if key in self.__dataclass_fields__ else f"{key}_"
        return getattr(self, name)

    def _check_field(self, key: str, spec: Spec) -> None:
        present = [value for value in _values(spec, self.entry(key)) if not _is_missing(value)]
        for value in present:
            if not _is_of_kind(spec.kind, value):
                raise BrokenContract(key, f"is {value!r}, not {spec.kind.value}")
        if present and spec.over:
            beside = [self.entry(name) for name in (spec.over, "n") if name in self.specs()]
            if all(count is None for count in beside):
                raise BrokenContract(key, f"has no count `{spec.over}` beside it")

    def _check_lengths(self) -> None:
        size = len(self.entry(self.AXIS) or ())
        for path, values in self._lists():
            if len(values) != size:
                raise BrokenContract(path, f"and .{self.AXIS} differ in length")

    def _lists(self) -> Iterator[tuple[str, tuple]]:
        """(path, list) of the lists of this group and of the groups right inside it."""
        for key in self.specs():
            value = self.entry(key)
            if isinstance(value, tuple):
                yield key, value
            elif isinstance(value, Figures):
                for inner, values in value._lists():
                    yield f"{key}.{inner}", values


def _key(name: str) -> str:
    """The JSON key of a field: `pass_` stands for `pass`, which Python keeps to itself."""
    return name.removesuffix("_")


# Checks of single values.


def _values(spec: Spec, value: Any) -> list:
    """What a field holds, as a list of single values."""
    if value is None:
        return []
    if spec.shape is Shape.LIST:
        return list(value)
    if spec.shape is Shape.MAPPING:
        return list(value.values())
    return [value]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_of_kind(kind: Kind, value: Any) -> bool:
    if kind is Kind.GROUP:
        return isinstance(value, Figures)
    if kind is Kind.TEXT:
        return isinstance(value, str)
    if kind is Kind.FLAG:
        return isinstance(value, bool)
    if kind is Kind.STEP_COUNT:
        return len(value) == 2 and all(_is_of_kind(Kind.COUNT, part) for part in value)
    # True is an int in Python, and never a figure.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if kind is Kind.RATE:
        return 0 <= value <= 1
    if kind is Kind.COUNT:
        return isinstance(value, int) and value >= 0
    return math.isfinite(value)


# To JSON and back.


def _written(value: Any) -> Any:
    if isinstance(value, Figures):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _written(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_written(inner) for inner in value]
    return value


def _read(spec: Spec, key: str, value: Any) -> Any:
    """The value of a field from its JSON `value` at `key`."""
    if value is None:
        return None
    if spec.shape is Shape.ONE:
        return _read_one(spec, key, value)
    if spec.shape is Shape.LIST:
        _demand(isinstance(value, (list, tuple)), key, value, spec.shape)
        return tuple(_read_one(spec, f"{key}[{i}]", inner) for i, inner in enumerate(value))
    _demand(isinstance(value, Mapping), key, value, spec.shape)
    return {name: _read_one(spec, f"{key}.{name}", inner) for name, inner in value.items()}


def _read_one(spec: Spec, path: str, value: Any) -> Any:
    if spec.kind is Kind.STEP_COUNT:
        _demand(isinstance(value, (list, tuple)), path, value, spec.kind)
        return tuple(value)
    if spec.group is None or value is None:
        return value
    _demand(isinstance(value, Mapping), path, value, spec.kind)
    try:
        return spec.group.from_json(value)
    except BrokenContract as e:
        raise e.inside(path) from None


def _demand(holds: bool, path: str, value: Any, wanted: Kind | Shape) -> None:
    if not holds:
        raise BrokenContract(path, f"is {value!r}, not {wanted.value}")
