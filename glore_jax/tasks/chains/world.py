"""The vocabulary of the `chains` task: who has what, and how a relation between two amounts is worded.

Every family of stories shares one grammar, "ENTITY VERB NUMBER UNIT", so that a relation reads the same of people, days,
teams and towns, and only the words differ. A (family, question kind) pair is a *template*; the pairs in `HELD_OUT` never occur in
training data and make the split `test_templates`.
"""

import dataclasses

NAMES = (
    "Ben",
    "Rosa",
    "Tom",
    "Lily",
    "Omar",
    "Nina",
    "Paul",
    "Ines",
    "Sam",
    "Maya",
    "Jack",
    "Zoe",
    "Karl",
    "Anna",
    "Luis",
    "Emma",
    "Ivan",
    "Ruth",
    "Noah",
    "Tara",
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
    """One kind of story. `verb`/`plural`/`infinitive`/`aux` conjugate the statement; `lose` and `price` word the two events."""

    name: str
    entities: tuple[str, ...]
    units: tuple[tuple[str, str], ...]  # (singular, plural)
    verb: str
    plural: str
    infinitive: str
    aux: str  # "does" or "did"
    aux_plural: str
    lose: str  # {e} entity, {k} count, {u} units
    price: str  # {u1} singular unit, {k} dollars


FAMILIES = {
    f.name: f
    for f in (
        Family(
            "people",
            NAMES,
            OBJECTS,
            "has",
            "have",
            "have",
            "does",
            "do",
            "{e} gives away {k} {u}",
            "each {u1} costs {k} dollars",
        ),
        Family(
            "days",
            ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
            (
                ("visitor", "visitors"),
                ("order", "orders"),
                ("letter", "letters"),
                ("call", "calls"),
                ("guest", "guests"),
            ),
            "brought",
            "brought",
            "bring",
            "did",
            "did",
            "{k} {u} of {e} are not counted",
            "each {u1} earns {k} dollars",
        ),
        Family(
            "teams",
            ("Lions", "Bears", "Hawks", "Foxes", "Sharks", "Wolves", "Tigers", "Owls"),
            (("point", "points"), ("goal", "goals"), ("medal", "medals"), ("run", "runs")),
            "won",
            "won",
            "win",
            "did",
            "did",
            "{e} lose {k} {u}",
            "each {u1} earns {k} dollars",
        ),
        Family(
            "towns",
            ("Oslo", "Lima", "Kyoto", "Quito", "Cairo", "Dakar", "Turin", "Perth"),
            (
                ("tree", "trees"),
                ("park", "parks"),
                ("school", "schools"),
                ("bridge", "bridges"),
                ("bench", "benches"),
            ),
            "has",
            "have",
            "have",
            "does",
            "do",
            "{e} loses {k} {u}",
            "each {u1} costs {k} dollars",
        ),
    )
}

KINDS = ("value", "total", "difference", "left", "bags", "cost", "total_cost")

HELD_OUT = frozenset(
    {("people", "bags"), ("days", "difference"), ("teams", "total"), ("towns", "left")}
)


def sentence(text: str) -> str:
    """First letter in upper case, full stop at the end."""
    return text[0].upper() + text[1:] + "."
