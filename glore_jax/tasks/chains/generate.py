"""Draw grade-school chain problems with their worked solution and the truth of every claim in it.

A problem is a small graph of named amounts. Each amount is given outright or follows from one or two earlier ones:

    Ben has 22 pies.  Rosa has 10 more pies than Ben.  Rosa has 2 times as many pies as Tom. ... How many pies does Tom have?
        22            22+10=32                         32/2=16  (the relation is worded inversely)

The solution restates a relation in words before it computes, turns an inverse one round, and says at the end whose the result is,
one line a step, with GSM8K's own marks. Amounts that a question brings together are recalled by name first:

    Rosa has 10 more pies than Ben: <<22+10=32>>32, so Rosa has 32.
    Rosa has 2 times as many pies as Tom, so Tom has one of 2 parts: <<32/2=16>>16, so Tom has 16.
    Ben has 22 and Tom has 16: <<22+16=38>>38, so together Ben and Tom have 38.
    #### 38
"""

import dataclasses
import random
from collections.abc import Sequence

from glore_jax.errors import UserError
from glore_jax.tasks.chains import world


@dataclasses.dataclass(frozen=True)
class Difficulty:
    """Knobs of the generator. Ranges are inclusive; counts are numbers, rates are in 0..1."""

    steps: tuple[int, int] = (3, 6)  # computing steps of the solution, the answer line not counted
    operand: tuple[int, int] = (3, 60)  # given amounts and differences
    factor: tuple[int, int] = (2, 6)
    max_value: int = 400
    distractors: float = 0.4  # chance of each of two unneeded amounts
    shuffle: float = 0.25  # chance that the sentences come in random order
    branch: float = 0.3  # chance that an amount follows from any earlier one, not from the latest


@dataclasses.dataclass(frozen=True)
class Step:
    """One computing line: "`lead`: <<a op b=c>>c, so `claim` c`tail`." `args` are literals or names of earlier amounts, and
    `{0}`, `{1}` in `lead` their values; `turned` says what an inverse relation means for the claim ("10 fewer"), and is empty
    for the others."""

    lead: str
    claim: str
    op: str
    args: tuple[int | str, ...]
    tail: str
    key: str  # the amount that this step computes
    turned: str = ""


@dataclasses.dataclass(frozen=True)
class Chain:
    """A problem: the story and what it asks, structured steps, `relations`: the steps to all amounts of the story, needed
    or not, and `facts`: claim phrase -> its only right value."""

    story: str
    ask: str
    steps: tuple[Step, ...]
    relations: tuple[Step, ...]
    given: dict[str, int]
    facts: dict[str, int]
    gold: int
    family: str
    kind: str

    @property
    def question(self) -> str:
        return f"{self.story} {self.ask}"

    @property
    def claims(self) -> dict[str, int]:
        """`facts` as `truth.py` looks them up."""
        return {claim.lower(): value for claim, value in self.facts.items()}

    def solution(self) -> tuple[str, ...]:
        """The worked solution as lines, `#### n` last."""
        return (*render(self.steps, self.given), f"#### {self.gold}")


_FINAL_STEPS = {
    "value": 0,
    "total_cost": 2,
}  # steps that the question itself adds, at least; 1 for the other kinds


class _Reject(Exception):
    """The draw broke a bound; draw again."""


def apply(op: str, values: list[int]) -> int:
    """Left to right. Division must be exact."""
    result = values[0]
    for v in values[1:]:
        if op == "/":
            if v == 0 or result % v:
                raise _Reject
            result //= v
        else:
            result = {"+": result + v, "-": result - v, "*": result * v}[op]
    return result


def render_step(step: Step, values: dict[str, int], result: int) -> str:
    shown = [values[a] if isinstance(a, str) else a for a in step.args]
    lead = step.lead.format(*shown)
    if step.turned:
        lead += f", so {step.claim} {step.turned}"
    expression = step.op.join(map(str, shown))
    return f"{lead[0].upper() + lead[1:]}: <<{expression}={result}>>{result}, so {step.claim} {result}{step.tail}."


def render(steps: Sequence[Step], given: dict[str, int]) -> tuple[str, ...]:
    """The lines of `steps`, each of which needs only amounts that are given or come before it."""
    values, lines = dict(given), []
    for step in steps:
        values[step.key] = apply(
            step.op, [values[a] if isinstance(a, str) else a for a in step.args]
        )
        lines.append(render_step(step, values, values[step.key]))
    return tuple(lines)


class _Draw:
    """The state of one draw: amounts, their sentences and the steps that compute them."""

    def __init__(self, rng: random.Random, difficulty: Difficulty, family: world.Family):
        self.rng, self.d, self.f = rng, difficulty, family
        self.one, self.unit = rng.choice(family.units)
        self.names = rng.sample(family.entities, len(family.entities))
        self.value: dict[str, int] = {}
        self.order: list[str] = []
        self.sentences: dict[str, str] = {}
        self.step: dict[str, Step] = {}
        self.parents: dict[str, tuple[str, ...]] = {}

    def says(self, entity: str) -> str:
        return f"{entity} {self.f.verb}"

    def bounded(self, value: int) -> int:
        if not 2 <= value <= self.d.max_value:
            raise _Reject
        return value

    def add(self, entity, value, text, step=None, parents=()):
        self.value[entity], self.sentences[entity] = self.bounded(value), text
        self.order.append(entity)
        self.parents[entity] = parents
        if step:
            self.step[entity] = step

    def new_name(self) -> str:
        if not self.names:
            raise _Reject
        return self.names.pop()

    def given(self):
        e, n = self.new_name(), self.rng.randint(*self.d.operand)
        self.add(e, n, f"{self.says(e)} {n} {self.unit}")

    def follows(self, f: str):
        """A new amount that follows from `f` (and maybe one more)."""
        e, u, verb, rng = self.new_name(), self.unit, self.f.verb, self.rng
        k, m = rng.randint(*self.d.operand), rng.randint(*self.d.factor)
        relation = rng.choice(
            (
                "more",
                "more",
                "fewer",
                "fewer",
                "inverse_more",
                "inverse_fewer",
                "times",
                "inverse_times",
                "half",
                "sum",
            )
        )
        parents, turned = (f,), ""
        if relation == "more":
            text, op, args = f"{e} {verb} {k} more {u} than {f}", "+", (f, k)
        elif relation == "fewer":
            text, op, args = f"{e} {verb} {k} fewer {u} than {f}", "-", (f, k)
        elif relation == "inverse_more":
            text, op, args, turned = f"{f} {verb} {k} more {u} than {e}", "-", (f, k), f"{k} fewer"
        elif relation == "inverse_fewer":
            text, op, args, turned = f"{f} {verb} {k} fewer {u} than {e}", "+", (f, k), f"{k} more"
        elif relation == "times":
            text, op, args = f"{e} {verb} {m} times as many {u} as {f}", "*", (f, m)
        elif relation == "inverse_times":
            text, op, args = f"{f} {verb} {m} times as many {u} as {e}", "/", (f, m)
            turned = f"one of {m} parts"
        elif relation == "half":
            text, op, args = f"{e} {verb} half as many {u} as {f}", "/", (f, 2)
        else:
            others = [o for o in self.order if o != f]
            if not others:
                raise _Reject
            g = rng.choice(others)
            text, op, args, parents = (
                f"{e} {verb} as many {u} as {f} and {g} together",
                "+",
                (f, g),
                (f, g),
            )
        value = apply(op, [self.value[a] if isinstance(a, str) else a for a in args])
        self.add(e, value, text, Step(text, self.says(e), op, args, "", e, turned), parents)


def _question(
    draw: _Draw, kind: str, target: str, addends: int
) -> tuple[list[str], str, list[Step]]:
    """Event sentences, the question, and the final steps of `kind` about `target` (and others, up to `addends` in a total)."""
    f, u, rng = draw.f, draw.unit, draw.rng
    others = [e for e in draw.order if e != target]
    k = rng.randint(*draw.d.operand)
    price = rng.randint(*draw.d.factor)
    if kind == "value":
        return [], f"How many {u} {f.aux} {target} {f.infinitive}?", []
    if kind == "difference":
        other = rng.choice(others)
        a, b = (target, other) if draw.value[target] > draw.value[other] else (other, target)
        if draw.value[a] == draw.value[b]:
            raise _Reject
        ask = f"How many more {u} {f.aux} {a} {f.infinitive} than {b}?"
        return (
            [],
            ask,
            [Step(_recall(draw, a, b), "the difference is", "-", (a, b), "", "difference")],
        )
    if kind == "left":
        event = f.lose.format(e=target, k=k, u=u)
        return (
            [event],
            f"How many {u} are left?",
            [Step(event, "there are", "-", (target, k), " left", "left")],
        )
    if kind == "bags":
        event = f"the {u} of {target} go into bags of {price}"
        return (
            [event],
            "How many bags are there?",
            [Step(event, "there are", "/", (target, price), " bags", "bags")],
        )
    event = f.price.format(u1=draw.one, k=price)
    if kind == "cost":
        ask = f"How many dollars do the {u} of {target} come to?"
        lead = f"{draw.says(target)} {{0}} and {event}"
        return [event], ask, [Step(lead, "they come to", "*", (target, price), " dollars", "cost")]
    if len(others) < addends - 1:
        raise _Reject
    who = sorted([target, *rng.sample(others, addends - 1)], key=draw.order.index)
    text = ", ".join(who[:-1]) + " and " + who[-1]
    together = "together {} " + f.plural
    steps = [
        Step(
            _recall(draw, *who[:2]),
            together.format(" and ".join(who[:2])),
            "+",
            tuple(who[:2]),
            "",
            "both",
        )
    ]
    if addends == 3:
        lead = f"{draw.says(who[2])} {{1}} too"
        steps.append(Step(lead, together.format(text), "+", ("both", who[2]), "", "all"))
    if kind == "total":
        return [], f"How many {u} {f.aux_plural} {text} {f.infinitive} together?", steps
    steps.append(Step(event, "they come to", "*", (steps[-1].key, price), " dollars", "cost"))
    return [event], f"How many dollars do the {u} of {text} come to?", steps


def _recall(draw: _Draw, a: str, b: str) -> str:
    return f"{draw.says(a)} {{0}} and {draw.says(b)} {{1}}"


def _attempt(rng: random.Random, d: Difficulty, family: str, kind: str, want: int) -> Chain:
    draw = _Draw(rng, d, world.FAMILIES[family])
    addends = 3 if rng.random() < 0.3 else 2
    final = _FINAL_STEPS.get(kind, 1) + (addends - 2 if kind.startswith("total") else 0)
    draw.given()
    for _ in range(want - final):
        if len(draw.order) > 1 and rng.random() < 0.15:
            draw.given()
        draw.follows(rng.choice(draw.order) if rng.random() < d.branch else draw.order[-1])
    target = draw.order[-1]
    for _ in range(2):
        if rng.random() < d.distractors:
            draw.follows(rng.choice(draw.order))
    events, ask, last = _question(draw, kind, target, addends)

    needed, queue = set(), [a for s in last for a in s.args if a in draw.value] or [target]
    while queue:
        e = queue.pop()
        if e not in needed:
            needed.add(e)
            queue.extend(draw.parents[e])
    steps = [draw.step[e] for e in draw.order if e in needed and e in draw.step] + last
    if len(steps) != want:
        raise _Reject

    values, facts = dict(draw.value), {draw.says(e): v for e, v in draw.value.items()}
    for s in last:
        values[s.key] = draw.bounded(
            apply(s.op, [values[a] if isinstance(a, str) else a for a in s.args])
        )
        facts[s.claim] = values[s.key]
    texts = [draw.sentences[e] for e in draw.order]
    if rng.random() < d.shuffle:
        rng.shuffle(texts)
    story = " ".join(map(world.sentence, texts + events))
    given = {e: v for e, v in draw.value.items() if e not in draw.step}
    relations = tuple(draw.step.values())
    return Chain(
        story, ask, tuple(steps), relations, given, facts, values[steps[-1].key], family, kind
    )


def draw_chain(rng: random.Random, difficulty: Difficulty, held_out: bool = False) -> Chain:
    """One problem. `held_out` draws only from the templates kept out of training, else only from the others."""
    want = rng.randint(*difficulty.steps)
    kinds = [k for k in world.KINDS if _FINAL_STEPS.get(k, 1) < want]
    templates = [
        (f, k) for f in world.FAMILIES for k in kinds if ((f, k) in world.HELD_OUT) == held_out
    ]
    if not templates:
        raise UserError(f"no template has {want} steps: raise task.steps")
    family, kind = rng.choice(templates)
    for _ in range(10_000):
        try:
            return _attempt(rng, difficulty, family, kind, want)
        except _Reject:
            continue
    raise UserError(
        f"no problem of the family {family} fits {difficulty}: widen task.operand or task.max_value, or lower task.steps"
    )
