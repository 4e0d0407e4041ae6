"""The solutions of a question among which the system chooses, and its choice.

    draft      the student's greedy solution
    global     the refiner's, [BAD] in front of all
    local      the refiner's, [BAD] where the SORM marks a step
    local_2    with `evaluate.suspects=2`: [BAD] at the next most suspicious step
    backtrack_i  with `evaluate.backtrack`: the student again, from the step before the mark
    sample_i   with `evaluate.extra_samples`: further samples of the student

Whoever goes through candidates goes through this list of names; none is special but the draft,
which stands first and wins ties.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from glore_jax.config import AnyConfig
from glore_jax.labels import choosing, metrics
from glore_jax.records import Sample
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.stages.evaluation.split_records import Refined, SplitRecords
from glore_jax.tasks.base import Task

DRAFT = "draft"

# What the untrained base makes of a draft (`untrained`): no candidates of the system.
BASE_KINDS = ("base_global", "base_local")


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One of the solutions to a question.

    Attributes:
      name: as above.
      scores: by scorer: `orm` at the last step, and where they are known `sorm`, the lowest of all
        steps, `loglik` and `base_loglik`.
      steps: its text.
      correct: whether its answer is right.
      answer: its final answer; None if it has none.
      tokens: that were drawn for it.
      copy: it is another candidate's text because nothing else was asked for; it has no vote.
    """

    name: str
    scores: Mapping[str, float]
    steps: Sequence[str]
    correct: bool
    answer: str | None = None
    tokens: int = 0
    copy: bool = False

    @property
    def score(self) -> float:
        """The ORM's."""
        return self.scores["orm"]


def refiner_kinds(config: AnyConfig) -> dict[str, str]:
    """Name of each candidate that the refiner writes -> its kind among a draft's refinements.

    `config`: the whole one.
    """
    found = {"global": "global", "local": "local_sorm"}
    if config.evaluate.suspects > 1:
        found["local_2"] = "local_sorm_2"
    return found


def backtracks(count: int) -> list[str]:
    """The names of so many continuations from the step before the mark."""
    return [f"backtrack_{i}" for i in range(1, count + 1)]


def extra_samples(count: int) -> list[str]:
    """The names of so many further samples."""
    return [f"sample_{i}" for i in range(1, count + 1)]


def copies(places: Mapping[str, int | None]) -> set[str]:
    """The candidates that are another one's text.

    places: name -> where it leaves the draft; None: nowhere, so that it is the draft.
    """
    found = set()
    seen: set[int | None] = {None}
    for name, place in places.items():
        if place in seen:
            found.add(name)
        seen.add(place)
    return found


def of_split(task: Task, config: AnyConfig, records: SplitRecords) -> list[list[Candidate]]:
    """The candidates of each draft of a split, the draft first. `config`: the whole one."""
    found = []
    for i, (draft, refined) in enumerate(zip(records.drafts, records.refined, strict=True)):
        scores = {scorer: rows[i] for scorer, rows in records.finals.items()}
        found.append([of_draft(draft, scores), *_others(task, config, refined, scores)])
    return found


def of_draft(draft: Sample, scores: Mapping[str, Mapping[str, float]]) -> Candidate:
    """`scores`: scorer -> name -> value."""
    return of_sample(DRAFT, _of(scores, DRAFT), draft)


def of_sample(name: str, scores: Mapping[str, float], sample: Sample) -> Candidate:
    steps, correct = sample["steps"], sample["correct"]
    return Candidate(name, scores, steps, correct, sample["answer"], sample["tokens"])


def _others(
    task: Task,
    config: AnyConfig,
    refined: Refined,
    scores: Mapping[str, Mapping[str, float]],
) -> Iterator[Candidate]:
    """Those of one draft that stand beside it."""
    kinds = refiner_kinds(config)
    copied = copies({name: refined[kind]["bad"] for name, kind in kinds.items()})
    section = config.evaluate
    further = (*backtracks(section.backtrack), *extra_samples(section.extra_samples))
    kinds |= {name: name for name in further if name in refined}
    return _texts(task, refined, kinds, copied, scores)


def _texts(
    task: Task,
    refined: Refined,
    kinds: Mapping[str, str],
    copied: set[str],
    scores: Mapping[str, Mapping[str, float]],
) -> Iterator[Candidate]:
    """`kinds`: name -> kind of what was made from a draft."""
    for name, kind in kinds.items():
        text = refined[kind]
        yield Candidate(
            name,
            _of(scores, kind),
            text["steps"],
            text["correct"],
            task.answer(text["steps"]),
            0 if name in copied else text["tokens"],
            name in copied,
        )


def of_base(task: Task, records: SplitRecords) -> list[list[Candidate]]:
    """Each draft and what the untrained base made of it; empty if the base was not asked."""
    if not all(kind in refined for refined in records.refined for kind in BASE_KINDS):
        return []
    kinds = {kind: kind for kind in BASE_KINDS}
    found = []
    for i, (draft, refined) in enumerate(zip(records.drafts, records.refined, strict=True)):
        scores = {scorer: rows[i] for scorer, rows in records.finals.items()}
        copied = copies({kind: refined[kind]["bad"] for kind in BASE_KINDS})
        found.append([of_draft(draft, scores), *_texts(task, refined, kinds, copied, scores)])
    return found


def _of(scores: Mapping[str, Mapping[str, float]], name: str) -> dict[str, float]:
    return {scorer: of_name[name] for scorer, of_name in scores.items()}


def samples_of(records: SplitRecords) -> dict[str, list[Candidate]]:
    """By question its samples, by ascending sample id."""
    scored = records.scored["samples"]
    found: dict[str, list[tuple[int, Candidate]]] = {}
    for i, sample in enumerate(records.samples):
        steps = {model: scored[model][i] for model in ("orm", "sorm")}
        assert sample["logprob"] is not None  # only solutions that the task brings have none
        scores = {
            "orm": metrics.last_score(steps["orm"]),
            "sorm": lowest(steps["sorm"]),
            "loglik": sample["logprob"],
        }
        candidate = of_sample("sample", scores, sample)
        found.setdefault(sample["question_id"], []).append((sample["sample_id"], candidate))
    return {
        question: [candidate for _, candidate in sorted(group, key=lambda pair: pair[0])]
        for question, group in found.items()
    }


def lowest(scores: Sequence[float]) -> float:
    """The lowest score of a solution's steps, 0 for one without steps."""
    return float(min(scores)) if len(scores) else 0.0


def chosen(candidates: Sequence[Candidate], in_force: InForce) -> Candidate:
    """The system's choice; of equally good ones the first."""
    values = [in_force.value(candidate.scores) for candidate in candidates]
    if in_force.choose != "vote":
        return candidates[choosing.best(values)]
    return candidates[score_vote(candidates)]


def score_vote(candidates: Sequence[Candidate]) -> int:
    """Index of the ORM's favourite among those with the answer of the largest sum of its scores."""
    scores = [candidate.score for candidate in candidates]
    votes = [None if candidate.copy else candidate.answer for candidate in candidates]
    return choosing.vote(votes, scores, scores)
