"""Refinement pairs: a wrong draft, where it goes wrong, and a right solution (section 4.1 step 3).

`first_error` is the index of the draft's first bad step; `[BAD]` goes in front of it. A global pair
has index 0, since the paper puts `[BAD]` in front of the whole draft:

    global   draft     [BAD] w1 | w2 | w3            a wrong sample
             target          r1 | r2                 any right sample of the question
    kept     draft     [BAD] r1 | r2                 a right sample, which is to stay as it is
             target          r1 | r2

A local pair shares its good steps. With first_error = e, the prefix of cut e (its first e steps) is
the last good one, and that of cut e + 1 the first bad one. Here e = 1:

    local    draft     s1 | [BAD] s2 | s3 | s4       a step-labelled wrong sample
             target    s1 | t2 | t3                  a verified trace of cut e
             further   s1 | [BAD] s2 | f3            a failed trace of cut e + 1, as another draft
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from glore_jax.labels.identity import identity_rank
from glore_jax.labels.outcome import distinct_samples, drawn_first
from glore_jax.records import LabelledDraft, Pair, Sample

Grade = Callable[[Sequence[str], str], bool]
Steps = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A wrong solution with the right ones that it may be paired with, in order of preference."""

    steps: Steps
    first_error: int
    targets: Sequence[Steps]


def global_pairs(
    groups: Iterable[Sequence[Sample]],
    per_question: int,
    seed: int,
    grade: Grade,
    keep_right: float = 0.0,
) -> Iterator[Pair]:
    """Pairs of a wrong and a right sample of the same question, all different, by question.

    The paper's refiner is shown wrong drafts only, so it knows that every draft is wrong and breaks
    right ones. With `keep_right` it is also shown right drafts, in the form that a global
    refinement gives them, `[BAD]` at the start, and learns to write them again as they are.

    Args:
      groups: the graded samples of each question, in any order, with `question_id`, `sample_id`,
        `question`, `gold`, `steps` and `correct`.
      per_question: at most that many pairs of a question, spread over its wrong samples; 0 takes
        every combination.
      seed: of the random choice among samples.
      grade: `task.grade`.
      keep_right: that share of all pairs, from 0 to less than 1, has a right draft, which is its
        own target; less where a question has too few right samples. They count beside
        `per_question`.

    Raises:
      ValueError: `grade` contradicts a chosen sample's `correct`.
    """
    for samples in groups:
        group = distinct_samples(samples)
        if not group:
            continue
        targets = _right_targets(group, seed, group[0]["question_id"])
        if not targets:
            continue
        wrong = [sample for sample in group if not sample["correct"]]
        wrong.sort(key=lambda sample: drawn_first(seed, sample))
        drafts = [_Draft(tuple(sample["steps"]), 0, targets) for sample in wrong]
        pairs = _pairs_of("global", group[0], drafts, per_question, grade)
        yield from pairs
        yield from _kept_pairs(group, len(pairs), seed, keep_right)


def _kept_pairs(group: Sequence[Sample], others: int, seed: int, share: float) -> Iterator[Pair]:
    """Pairs of right samples of a question with themselves: `share` of these and the `others`."""
    wanted = others * share / (1 - share)
    # A part of a pair is a pair in so many of the questions.
    rank = identity_rank(seed, group[0]["question_id"], "kept")
    count = int(wanted) + (rank < wanted % 1)
    right = [sample for sample in group if sample["correct"]]
    for sample in sorted(right, key=lambda sample: drawn_first(seed, sample))[:count]:
        yield _pair("global", sample, sample["steps"], 0, sample["steps"])


def local_pairs(
    groups: Iterable[tuple[Sequence[LabelledDraft], Sequence[Sample]]],
    per_question: int,
    seed: int,
    failed_continuations: bool,
    grade: Grade,
) -> Iterator[Pair]:
    """Pairs of a wrong draft with its first error and a right solution with the same good steps.

    The target is the draft's good prefix and a verified continuation of it (a rollout of the
    labelling). With an error in the first step there is no prefix, and any right sample of the
    question serves.

    Args:
      groups: of each question its labelled drafts, with `question_id`, `sample_id`, `completions`
        (steps), `labels`, `first_error`, `correct` and `traces`, each with `cut`, `steps` (of the
        continuation alone) and `verified`; and its graded samples. Both in any order. Right drafts
        are passed over, and so are wrong ones for which no target is known.
      per_question: at most that many pairs of a question, spread over its drafts; 0 takes every
        combination.
      seed: of the random choice among drafts and targets.
      failed_continuations: take as further drafts the steps up to and including the first bad one
        with each wrong continuation of them (caption of figure 1). Continuations of the *good*
        prefix do not serve: where they go wrong is not known.
      grade: `task.grade`.

    Raises:
      ValueError: labels and `first_error` disagree, a question has no samples, or `grade`
        contradicts a record.
    """
    for labelled, samples in groups:
        wrong = [record for record in labelled if not record["correct"]]
        if not wrong:
            continue
        group = distinct_samples(samples)
        if not group:
            name = wrong[0]["question_id"]
            raise ValueError(f"{name}: a step-labelled draft, but no samples of the question")
        drafts = _local_drafts(wrong, group, seed, failed_continuations, grade)
        yield from _pairs_of("local", group[0], drafts, per_question, grade)


def _local_drafts(
    records: Sequence[LabelledDraft],
    group: Sequence[Sample],
    seed: int,
    failed_continuations: bool,
    grade: Grade,
) -> list[_Draft]:
    """The different wrong drafts of one question that have a target; further drafts come last."""
    question_id, gold = group[0]["question_id"], group[0]["gold"]
    by_id = {sample["sample_id"]: sample for sample in group}

    def order(record: LabelledDraft) -> tuple[bool, float]:
        # Only the sample says which policy wrote the draft. It is missing if its text is a repeat.
        return drawn_first(seed, by_id.get(record["sample_id"], record))

    drafts: list[_Draft] = []
    further: list[_Draft] = []
    for record in sorted(records, key=order):
        steps = tuple(record["completions"])
        error = _first_error(record)
        if error:
            good_prefix = steps[:error]
            targets = [good_prefix + trace for trace in _traces(record, error, True, seed)]
        else:
            targets = _right_targets(group, seed, question_id)
        if not targets:
            continue
        drafts.append(_Draft(steps, error, targets))
        if failed_continuations:
            bad_prefix = steps[: error + 1]
            for trace in _traces(record, error + 1, False, seed):
                # One that failed the consistency test alone has the right answer: it is no draft.
                if not grade(bad_prefix + trace, gold):
                    further.append(_Draft(bad_prefix + trace, error, targets))
    unique: dict[Steps, _Draft] = {}
    for draft in drafts + further:
        unique.setdefault(draft.steps, draft)
    return list(unique.values())


def _first_error(record: LabelledDraft) -> int:
    """The record's first error, checked against its labels; ValueError if they disagree."""
    name = record["question_id"]
    labels = record["labels"]
    error = record["first_error"]
    if len(labels) != len(record["completions"]):
        raise ValueError(f"{name}: {len(labels)} labels of {len(record['completions'])} steps")
    # Later steps are bad, too, unless good labels were not propagated (`LabelRule.propagate`).
    if not 0 <= error < len(labels) or labels[error] or not all(labels[:error]):
        raise ValueError(
            f"{name}: first_error = {error} does not fit the labels {labels} of a wrong draft"
        )
    return error


def _traces(record: LabelledDraft, cut: int, verified: bool, seed: int) -> list[Steps]:
    """The different continuations of the first `cut` steps that verified (or not), shuffled."""
    found = set()
    for trace in record["traces"]:
        if trace["cut"] == cut and trace["verified"] == verified:
            found.add(tuple(trace["steps"]))
    ids = (seed, record["question_id"], record["sample_id"], cut)
    return sorted(found, key=lambda steps: identity_rank(*ids, *steps))


def _right_targets(group: Sequence[Sample], seed: int, question_id: str) -> list[Steps]:
    """The right solutions of one question in random order."""
    right = [sample for sample in group if sample["correct"]]
    right.sort(key=lambda sample: identity_rank(seed, question_id, sample["sample_id"]))
    return [tuple(sample["steps"]) for sample in right]


def _pairs_of(
    kind: str, sample: Sample, drafts: Sequence[_Draft], limit: int, grade: Grade
) -> list[Pair]:
    """The chosen pairs as records. `sample`: any one of the question, for its text and answer."""
    question_id, gold = sample["question_id"], sample["gold"]
    pairs: list[Pair] = []
    for draft, target in _spread(drafts, limit):
        if not grade(target, gold):
            raise ValueError(
                f"{question_id}: target of a {kind} pair without the right answer {gold}"
            )
        if grade(draft.steps, gold):
            raise ValueError(f"{question_id}: draft of a {kind} pair with the right answer {gold}")
        pairs.append(_pair(kind, sample, draft.steps, draft.first_error, target))
    return pairs


def _pair(
    kind: str, sample: Sample, draft: Sequence[str], first_error: int, target: Sequence[str]
) -> Pair:
    return {
        "question_id": sample["question_id"],
        "prompt": sample["question"],
        "kind": kind,
        "draft": list(draft),
        "first_error": first_error,
        "target": list(target),
    }


def _spread(drafts: Sequence[_Draft], limit: int) -> list[tuple[_Draft, Steps]]:
    """Up to `limit` (0: all) pairs, every draft once before any twice, each time a new target.

    Drafts that share their targets start at different ones, so that the targets are spread as well.
    With three drafts of the targets A, B, C:

        turn 0    draft 0: A    draft 1: B    draft 2: C
        turn 1    draft 0: B    draft 1: C    draft 2: A
    """
    turns = max((len(draft.targets) for draft in drafts), default=0)
    pairs = (
        (draft, draft.targets[(turn + place) % len(draft.targets)])
        for turn in range(turns)
        for place, draft in enumerate(drafts)
        if turn < len(draft.targets)
    )
    return list(itertools.islice(pairs, limit or None))
