"""The patterns that the paper shows, and whether a run shows them: verdicts, not impressions.

A pattern is a set of claims, each a gain and the range in which the paper has it. The verdict rests
on the gain's 95 % interval:

    range               |====================            what the paper says
    holds                     |--x--|                    the interval lies in it
    does not hold    |-x-|                               outside of it
    cannot be said     |---x---|                         across its end; or nothing was measured

A pattern holds if all its claims do, and does not if one does not. What takes more than one run is
never said to hold.
"""

import dataclasses
import math
from collections.abc import Sequence

from glore_jax.report import names, system
from glore_jax.report.reading import FEWEST, Difference, Results, difference
from glore_jax.report.run_figures import Pattern
from glore_jax.report.table import gain_text

HOLDS = "holds"
FAILS = "does not hold"
OPEN = "cannot be said"

# What the paper's "about the same" comes to: the largest difference that it calls so (table 3,
# global and local fix rates of SVAMP 7B). "Clearly above" is above by more.
ALIKE = 0.03
# Errors count as balanced if false alarms are half of them, give or take this. Ours: the paper has
# no figure.
BALANCED = 0.15
# What refining only wrong drafts brings at least in the paper's figure 5.
WORTH = 0.04


@dataclasses.dataclass(frozen=True)
class Claim:
    """The gain named `gain` lies between `low` and `high`.

    `optional`: where it was not measured, the others decide.
    """

    gain: str
    low: float = 0.0
    high: float = math.inf
    optional: bool = False

    def verdict(self, found: Difference | None) -> str:
        """What the interval says of the claim."""
        if found is None:
            return OPEN
        if self.low < found.low and found.high < self.high:
            return HOLDS
        if found.high < self.low or found.low > self.high:
            return FAILS
        return OPEN

    @property
    def wanted(self) -> str:
        """The range in words."""
        if self.high == math.inf:
            return f"above {self.low:g}"
        return f"within {self.low:g} and {self.high:g}"


def alike(gain: str, margin: float = ALIKE) -> Claim:
    """The gain's two figures are about the same."""
    return Claim(gain, -margin, margin)


# (what the paper shows, where, claims, what one run cannot measure of it)
_Row = tuple[str, str, Sequence[Claim], str]


def judge(results: Results) -> tuple[Pattern, ...]:
    """The verdict on each pattern."""
    # Against the truth where the task knows it: of labels nobody knows which error is whose.
    steps = "truth" if difference(results, "truth_orm_alarms_over_half") else "steps"
    # On the easy task the paper has best-of-3 about as good as the system.
    easy = str(results.get("paper_column") or "").startswith("SVAMP")
    rows = [*_of_judges(steps), *_of_answers(easy, system.choice(results))]
    return tuple(_judged(results, i, *row) for i, row in enumerate(rows, start=1))


def _of_judges(steps: str) -> list[_Row]:
    """Patterns 1 to 4; `steps`: what errors on steps are counted against."""
    return [
        (
            "SORM step accuracy is above ORM step accuracy",
            "table 1",
            (
                Claim("steps_sorm_over_orm"),
                Claim("truth_sorm_over_orm", optional=True),
            ),
            "",
        ),
        (
            "ORM final-answer accuracy is above the SORM's",
            "table 2",
            (Claim("final_orm_over_sorm"),),
            "",
        ),
        (
            "ORM errors on steps, at a threshold of .5, are mainly false alarms, the SORM's are "
            "balanced",
            "sections 1 and 5.1",
            (
                Claim(f"{steps}_orm_alarms_over_half"),
                Claim(f"{steps}_orm_alarms_over_sorm"),
                alike(f"{steps}_sorm_alarms_over_half", BALANCED),
            ),
            "",
        ),
        (
            "As rerankers: raw SORM < balanced < balanced and consistent, all at most the ORM",
            "figure 4",
            (Claim("best_of_k_orm_over_sorm"),),
            "a run trains one SORM, the others are not measured",
        ),
    ]


def _of_answers(easy: bool, choice: str) -> list[_Row]:
    """Patterns 5 to 9.

    easy: the task is one that the paper has best-of-3 good at. choice: who chooses among what, in
    the paper the ORM among draft, global and local.
    """
    return [
        (
            "Refining every draft brings about nothing, refining only wrong drafts 4 to 12 points",
            "figure 5",
            (
                alike("every_global_over_draft"),
                alike("every_local_sorm_over_draft"),
                Claim("only_wrong_global_over_draft", WORTH),
                Claim("only_wrong_local_sorm_over_draft", WORTH),
            ),
            "",
        ),
        (
            "Local fix rate is higher if the SORM locates than if the ORM does; global is alike",
            "table 3",
            (Claim("fix_local_sorm_over_local_orm"), alike("fix_global_over_local_sorm")),
            "",
        ),
        (
            "The union of global and local is clearly above either",
            "table 3",
            (
                Claim("fix_union_sorm_over_global", ALIKE),
                Claim("fix_union_sorm_over_local_sorm", ALIKE),
            ),
            "",
        ),
        (
            f"{choice} is above the draft, and above the best of 3 samples where the task is hard; "
            "an oracle's is well above",
            "figure 6",
            (
                Claim("rerank_over_draft"),
                Claim("rerank_over_bo3", -ALIKE if easy else 0.0),
                Claim("oracle_over_rerank", ALIKE),
            ),
            "",
        ),
        (
            "An ORM trained on another student's data reranks worse",
            "table 7",
            (),
            "a run has one student",
        ),
    ]


def _judged(
    results: Results, place: int, claim: str, source: str, claims: Sequence[Claim], missing: str
) -> Pattern:
    found = {c: difference(results, c.gain) for c in claims}
    counting = [c for c in claims if found[c] or not c.optional]
    verdicts = [c.verdict(found[c]) for c in counting]
    if FAILS in verdicts:
        verdict = FAILS
    elif OPEN in verdicts or missing or not counting:
        verdict = OPEN
    else:
        verdict = HOLDS
    reasons = [_reason(c, found[c]) for c in counting]
    reasons += [f"not measured: {missing}"] if missing else []
    return Pattern(
        number=place,
        claim=claim,
        source=source,
        verdict=verdict,
        why="; ".join(reasons),
        rests_on=tuple(c.gain for c in counting if found[c]),
    )


def _reason(claim: Claim, found: Difference | None) -> str:
    """One claim with its figures."""
    name = names.gain(claim.gain)
    if found is None:
        return f"{name}: not measured on {FEWEST} questions or more"
    verdict = claim.verdict(found)
    return f"{name} {gain_text(found)}, {claim.wanted}: {verdict}"
