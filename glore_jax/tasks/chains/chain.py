"""A problem in structured form, and its worked solution as text.

A problem is a small graph of named amounts. Each is given outright or follows from one or two
earlier ones:

    Ben has 22 pies.        22
    Rosa has 10 more pies than Ben.                    22+10 = 32
    Rosa has 2 times as many pies as Tom.              32/2 = 16   (worded inversely)
    How many pies do Ben and Tom have together?        22+16 = 38

The solution restates a relation in words before it computes, turns an inverse one round, and says
at the end whose the result is, one line a step, with GSM8K's own marks. Amounts that a question
brings together are recalled by name first:

    Rosa has 10 more pies than Ben: <<22+10=32>>32, so Rosa has 32.
    Rosa has 2 times as many pies as Tom, so Tom has one of 2 parts: <<32/2=16>>16, so Tom has 16.
    Ben has 22 and Tom has 16: <<22+16=38>>38, so together Ben and Tom have 38.
    #### 38
"""

import dataclasses
from collections.abc import Mapping, Sequence

from glore_jax.tasks.base import Problem
from glore_jax.tasks.chains import arithmetic

Operand = int | str  # a literal number, or the key of an amount


@dataclasses.dataclass(frozen=True)
class Step:
    """One computing line: "`lead`: <<a op b=c>>c, so `claim` c`tail`."

    Attributes:
      lead: the relation or the event in words; `{0}` and `{1}` stand for the values of `args`.
      claim: what is concluded, without its value: "Rosa has".
      op: one of `+-*/`.
      args: the two operands.
      tail: what follows the value: " dollars".
      key: the amount that this step computes.
      turned: what an inverse relation means for the claim ("10 fewer"); empty for the others.
    """

    lead: str
    claim: str
    op: str
    args: tuple[Operand, Operand]
    tail: str
    key: str
    turned: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys of the amounts that must be known before this step."""
        return tuple(arg for arg in self.args if isinstance(arg, str))

    def operands(self, values: Mapping[str, int]) -> tuple[int, int]:
        """The two numbers that are computed with, given the `values` of amounts."""
        return operands(self.args, values)


def operands(args: tuple[Operand, Operand], values: Mapping[str, int]) -> tuple[int, int]:
    """The numbers that `args` are or name."""
    a, b = args
    return values[a] if isinstance(a, str) else a, values[b] if isinstance(b, str) else b


@dataclasses.dataclass(frozen=True)
class Chain:
    """A problem with its solution and the truth of every claim in it.

    Attributes:
      story: the sentences of the question that tell.
      ask: the one that asks.
      steps: of the solution.
      relations: the steps to all amounts of the story, needed or not.
      given: amounts that the story gives outright.
      facts: claim -> its only right value.
      gold: the answer.
      family, kind: the template: `world.FAMILIES` and `world.KINDS`.
    """

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


def render(steps: Sequence[Step], given: Mapping[str, int]) -> tuple[str, ...]:
    """The lines of `steps`, each of which needs only amounts that are given or come before it."""
    values = dict(given)
    lines = []
    for step in steps:
        result = arithmetic.exact(step.op, *step.operands(values))
        if result is None:
            raise ValueError(f"{step.key}: a division that is not exact")
        lines.append(render_step(step, values, result))
        values[step.key] = result
    return tuple(lines)


def render_step(step: Step, values: Mapping[str, int], result: int) -> str:
    """The line of one step, with `result` for what it computes, be it right or wrong."""
    numbers = step.operands(values)
    lead = step.lead.format(*numbers)
    if step.turned:
        lead += f", so {step.claim} {step.turned}"
    lead = lead[0].upper() + lead[1:]
    expression = step.op.join(map(str, numbers))
    return f"{lead}: <<{expression}={result}>>{result}, so {step.claim} {result}{step.tail}."


def to_problem(chain: Chain, split: str, index: int) -> Problem:
    """`chain` as problem `index` of `split`; its facts let `ChainsTask.step_truth` judge steps."""
    return Problem(
        id=f"chains-{split}-{index:05d}",
        question=chain.question,
        gold=str(chain.gold),
        solution=chain.solution(),
        facts={"claims": chain.claims, "template": f"{chain.family}/{chain.kind}"},
    )
