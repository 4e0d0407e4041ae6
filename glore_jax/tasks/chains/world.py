"""The vocabulary of the `chains` task: who has what, and how it is said.

Every family of stories shares one grammar, "ENTITY VERB NUMBER UNIT", so that a relation reads the
same of people, days, teams and towns, and only the words differ. A (family, question kind) pair is
a *template*; the pairs in `HELD_OUT` never occur in training data and make the split
`test_templates`.

The order of names, units and kinds is part of what a seed draws: do not change it.
"""

import dataclasses

NAMES = (
    *("Ben", "Rosa", "Tom", "Lily", "Omar", "Nina", "Paul", "Ines", "Sam", "Maya"),
    *("Jack", "Zoe", "Karl", "Anna", "Luis", "Emma", "Ivan", "Ruth", "Noah", "Tara"),
)
OBJECTS = (
    ("pie", "pies"),
    ("book", "books"),
    ("coin", "coins"),
    ("card", "cards"),
    ("shell", "shells"),
    ("stamp", "stamps"),
    ("apple", "apples"),
    ("pen", "pens"),
    ("marble", "marbles"),
    ("cup", "cups"),
)


@dataclasses.dataclass(frozen=True)
class Family:
    """One kind of story.

    Attributes:
      name: of the family.
      entities: who or what has something.
      units: what they have, (singular, plural).
      verb, plural, infinitive: "Ben HAS 3 pies", "Ben and Rosa HAVE", "does Ben HAVE".
      aux, aux_plural: "How many pies DOES Ben have", "DO Ben and Rosa have".
      lose: an event that takes some away; {e} entity, {k} count, {u} units.
      price: what one is worth; {u1} singular unit, {k} dollars.
    """

    name: str
    entities: tuple[str, ...]
    units: tuple[tuple[str, str], ...]
    verb: str
    plural: str
    infinitive: str
    aux: str
    aux_plural: str
    lose: str
    price: str


_PEOPLE = Family(
    name="people",
    entities=NAMES,
    units=OBJECTS,
    verb="has",
    plural="have",
    infinitive="have",
    aux="does",
    aux_plural="do",
    lose="{e} gives away {k} {u}",
    price="each {u1} costs {k} dollars",
)
_DAYS = Family(
    name="days",
    entities=("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    units=(
        ("visitor", "visitors"),
        ("order", "orders"),
        ("letter", "letters"),
        ("call", "calls"),
        ("guest", "guests"),
    ),
    verb="brought",
    plural="brought",
    infinitive="bring",
    aux="did",
    aux_plural="did",
    lose="{k} {u} of {e} are not counted",
    price="each {u1} earns {k} dollars",
)
_TEAMS = Family(
    name="teams",
    entities=("Lions", "Bears", "Hawks", "Foxes", "Sharks", "Wolves", "Tigers", "Owls"),
    units=(("point", "points"), ("goal", "goals"), ("medal", "medals"), ("run", "runs")),
    verb="won",
    plural="won",
    infinitive="win",
    aux="did",
    aux_plural="did",
    lose="{e} lose {k} {u}",
    price="each {u1} earns {k} dollars",
)
_TOWNS = Family(
    name="towns",
    entities=("Oslo", "Lima", "Kyoto", "Quito", "Cairo", "Dakar", "Turin", "Perth"),
    units=(
        ("tree", "trees"),
        ("park", "parks"),
        ("school", "schools"),
        ("bridge", "bridges"),
        ("bench", "benches"),
    ),
    verb="has",
    plural="have",
    infinitive="have",
    aux="does",
    aux_plural="do",
    lose="{e} loses {k} {u}",
    price="each {u1} costs {k} dollars",
)

FAMILIES = {family.name: family for family in (_PEOPLE, _DAYS, _TEAMS, _TOWNS)}

# What a problem asks (`questions.py`).
KINDS = ("value", "total", "difference", "left", "bags", "cost", "total_cost")

HELD_OUT = frozenset(
    {("people", "bags"), ("days", "difference"), ("teams", "total"), ("towns", "left")}
)


def sentence(text: str) -> str:
    """First letter in upper case, full stop at the end."""
    return text[0].upper() + text[1:] + "."
