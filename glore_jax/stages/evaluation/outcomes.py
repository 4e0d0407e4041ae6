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
    *_system         greedy2_, equal_ and base_refiner_: chosen as the system chooses, where that is
                     not by the ORM alone

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
    choices: Sequence[Sequence[Candidate]],
    records: SplitRecords,
    of_base: Sequence[Sequence[Candidate]] = (),
) -> dict[str, list[bool]]:
    """Name of the system or of a rival -> for each question whether it answers right.

    Questions are in the order of the drafts, so two lists can be compared pair by pair.

    choices: the candidates of each draft, as `candidates.of_split` gives them; of_base: those of
    the untrained base, as of `candidates.of_base`.
    """
    return {name: system.right for name, system in systems(choices, records, of_base).items()}


def systems(
    choices: Sequence[Sequence[Candidate]],
    records: SplitRecords,
    of_base: Sequence[Sequence[Candidate]] = (),
) -> dict[str, System]:
    """As `outcomes`, with what each spends."""
    system = _as_system(records)
    found = {
        "draft": _system([some[:1] for some in choices], by_orm),
        "rerank": _system(choices, system),
        "oracle": _system(choices, oracle),
    }
    if "loglik" in records.finals:
        found["rerank_loglik"] = _system(choices, by_loglik)
    if "base_loglik" in records.finals:
        found["base_judge"] = _system(choices, by_base)
    if of_base:
        found |= _chosen(of_base, {"base_refiner": by_orm}, "base_refiner_system", records)
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


def _as_system(records: SplitRecords) -> Pick:
    """The system's way to choose."""
    return lambda some: candidates.chosen(some, records.in_force)


def _chosen(
    pools: Sequence[Sequence[Candidate]],
    picks: Mapping[str, Pick],
    as_system: str,
    records: SplitRecords,
) -> dict[str, System]:
    """The rivals that choose from `pools`, by name.

    as_system: the name of the one that chooses as the system does, if the ORM alone does not.
    """
    found = dict(picks)
    if records.in_force.choose != "orm":
        found[as_system] = _as_system(records)
    return {name: _system(pools, pick) for name, pick in found.items()}


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
        picks: Mapping[str, Pick] = {
            "greedy2_orm": by_orm,
            "greedy2_loglik": by_loglik,
            "majority3": by_majority,
            "weighted3": by_weights,
        }
        found |= _chosen(pools, picks, "greedy2_system", records)
        if held > 2 and spent > found["greedy2_orm"].tokens:
            found |= _at_equal_tokens(drafts, drawn, spent, records)
    if held >= 3:
        threes = [some[:3] for some in drawn]
        found |= {"bo3": _system(threes, by_orm), "bo3_oracle": _system(threes, oracle)}
    return found


def _as_drawn(candidate: Candidate, draft: Sample) -> Candidate:
    """The draft with its log-likelihood as it was drawn, as samples have theirs."""
    assert draft["logprob"] is not None  # only solutions that the task brings have none
    return dataclasses.replace(candidate, scores={**candidate.scores, "loglik": draft["logprob"]})


def _at_equal_tokens(
    drafts: Sequence[Candidate],
    drawn: Sequence[Sequence[Candidate]],
    spent: float,
    records: SplitRecords,
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
    return _chosen(pools, picks, "equal_system", records)


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
