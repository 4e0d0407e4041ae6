"""The system beside its rivals, question by question: is what each of them answers right?

    draft            the greedy draft alone
    rerank           the system: its choice among its candidates
    oracle           a right candidate wherever there is one
    rerank_loglik    the candidate that the student finds likeliest
    base_judge       the candidate that the untrained base finds likeliest
    base_refiner     the ORM's choice among the draft and what the untrained base makes of it, asked
                     with the refiner's own prompt but for [BAD], which it cannot know: once from
                     the start, once behind the steps before the SORM's mark
    bo3, bo3_oracle  the ORM's and an oracle's choice among three samples, as in the paper
    greedy2_orm, greedy2_loglik, majority3, weighted3
                     of the draft and two samples: the ORM's choice, the likeliest, the commonest
                     answer (of equally common ones that of the likeliest), the answer of the
                     largest sum of ORM scores
    equal_*          the same of the draft and as many samples as it takes to spend no fewer tokens
                     than the system; where two samples do, that is what stands above

Rivals of which a split has no samples, or the base no word, are left out.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from glore_jax.labels import choosing
from glore_jax.records import Sample
from glore_jax.stages.evaluation import candidates
from glore_jax.stages.evaluation.candidates import Candidate
from glore_jax.stages.evaluation.split_records import SplitRecords

# What the untrained base wrote, among the refinements of a draft.
BASE_KINDS = ("base_global", "base_local")

Pick = Callable[[Sequence[Candidate]], Candidate]


@dataclasses.dataclass(frozen=True)
class System:
    """One way to answer questions.

    Attributes:
      right: for each question, in the order of the drafts, whether its answer is right.
      tokens: drawn for a question, the mean.
    """

    right: list[bool]
    tokens: float


def outcomes(
    choices: Sequence[Sequence[Candidate]], records: SplitRecords
) -> dict[str, list[bool]]:
    """Name of the system or of a rival -> for each question whether it answers right.

    Questions are in the order of the drafts, so two lists can be compared pair by pair.

    choices: the candidates of each draft, as `candidates.of_split` gives them.
    """
    return {name: system.right for name, system in systems(choices, records).items()}


def systems(choices: Sequence[Sequence[Candidate]], records: SplitRecords) -> dict[str, System]:
    """As `outcomes`, with what each spends."""

    def system(some: Sequence[Candidate]) -> Candidate:
        return candidates.chosen(some, records.in_force)

    found = {
        "draft": _system([some[:1] for some in choices], by_orm),
        "rerank": _system(choices, system),
        "oracle": _system(choices, oracle),
    }
    if "loglik" in records.finals:
        found["rerank_loglik"] = _system(choices, by_loglik)
    if "base_loglik" in records.finals:
        found["base_judge"] = _system(choices, by_base)
    if all(kind in refined for refined in records.refined for kind in BASE_KINDS):
        found["base_refiner"] = _system(_of_base(records), by_orm)
    return found | _of_samples(choices, records, found["rerank"].tokens)


def _system(choices: Sequence[Sequence[Candidate]], pick: Pick) -> System:
    spent = [sum(candidate.tokens for candidate in some) for some in choices]
    return System([bool(pick(some).correct) for some in choices], float(np.mean(spent)))


# Who chooses. Of equal candidates the first.


def by_orm(some: Sequence[Candidate]) -> Candidate:
    return _highest(some, "orm")


def by_loglik(some: Sequence[Candidate]) -> Candidate:
    return _highest(some, "loglik")


def by_base(some: Sequence[Candidate]) -> Candidate:
    return _highest(some, "base_loglik")


def _highest(some: Sequence[Candidate], scorer: str) -> Candidate:
    return some[choosing.best([candidate.scores[scorer] for candidate in some])]


def oracle(some: Sequence[Candidate]) -> Candidate:
    return next((candidate for candidate in some if candidate.correct), some[0])


def by_majority(some: Sequence[Candidate]) -> Candidate:
    """The likeliest of those with the commonest answer, of equally common ones the likeliest's."""
    likeliest_first = sorted(some, key=lambda candidate: -candidate.scores["loglik"])
    answers = [candidate.answer for candidate in likeliest_first]
    values = [candidate.scores["loglik"] for candidate in likeliest_first]
    return likeliest_first[choosing.vote(answers, [1.0] * len(answers), values)]


def by_weights(some: Sequence[Candidate]) -> Candidate:
    return some[candidates.score_vote(some)]


# Rivals.


def _of_base(records: SplitRecords) -> list[list[Candidate]]:
    """The draft and what the untrained base made of it."""
    found = []
    for i, (draft, refined) in enumerate(zip(records.drafts, records.refined, strict=True)):
        scores = {"orm": records.finals["orm"][i]}
        some = [candidates.of_draft(draft, scores)]
        for kind in BASE_KINDS:
            text = refined[kind]
            score = {"orm": scores["orm"][kind]}
            about = {name: text[name] for name in ("steps", "correct", "tokens")}
            some.append(Candidate(kind, score, **about))
        found.append(some)
    return found


def _of_samples(
    choices: Sequence[Sequence[Candidate]], records: SplitRecords, spent: float
) -> dict[str, System]:
    """The rivals that draw samples; `spent`: tokens of the system for a question."""
    if not records.sampled:
        return {}
    by_question = candidates.samples_of(records)
    drawn = [by_question[draft["question_id"]] for draft in records.drafts]
    drafts = [_as_drawn(some[0], records.drafts[i]) for i, some in enumerate(choices)]
    held = min(map(len, drawn))
    found: dict[str, System] = {}
    if held >= 2:
        pools = [[draft, *some[:2]] for draft, some in zip(drafts, drawn, strict=True)]
        found |= {
            "greedy2_orm": _system(pools, by_orm),
            "greedy2_loglik": _system(pools, by_loglik),
            "majority3": _system(pools, by_majority),
            "weighted3": _system(pools, by_weights),
        }
        if held > 2 and spent > found["greedy2_orm"].tokens:
            found |= _at_equal_tokens(drafts, drawn, spent)
    if held >= 3:
        threes = [some[:3] for some in drawn]
        found |= {"bo3": _system(threes, by_orm), "bo3_oracle": _system(threes, oracle)}
    return found


def _as_drawn(candidate: Candidate, draft: Sample) -> Candidate:
    """The draft with its log-likelihood as it was drawn, as samples have theirs."""
    assert draft["logprob"] is not None  # only solutions that the task brings have none
    return dataclasses.replace(candidate, scores={**candidate.scores, "loglik": draft["logprob"]})


def _at_equal_tokens(
    drafts: Sequence[Candidate], drawn: Sequence[Sequence[Candidate]], spent: float
) -> dict[str, System]:
    """The draft and the fewest samples that cost `spent` tokens with it, or all there are."""
    count = _samples_for(spent, drafts, drawn)
    pools = [[draft, *some[:count]] for draft, some in zip(drafts, drawn, strict=True)]
    picks: Mapping[str, Pick] = {
        "equal_orm": by_orm,
        "equal_loglik": by_loglik,
        "equal_majority": by_majority,
        "equal_weighted": by_weights,
    }
    return {name: _system(pools, pick) for name, pick in picks.items()}


def _samples_for(
    spent: float, drafts: Sequence[Candidate], drawn: Sequence[Sequence[Candidate]]
) -> int:
    """How many samples a question cost at least `spent` tokens, the mean, with its draft.

    At most all that every question has.
    """
    tokens = sum(draft.tokens for draft in drafts)
    held = min(map(len, drawn))
    for count in range(1, held + 1):
        tokens += sum(some[count - 1].tokens for some in drawn)
        if tokens / len(drafts) >= spent:
            return count
    return held
