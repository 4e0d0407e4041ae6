"""Refinement pairs: a wrong draft, where it goes wrong, and a right solution (section 4.1 step 3).

A pair is `{question_id, prompt, kind, draft, first_error, target}`: `draft` and `target` are lists of
steps, `first_error` is the index of the draft's first bad step (`[BAD]` goes in front of it), `kind` is
`global` or `local`. Global pairs have index 0, as the paper puts `[BAD]` in front of the whole draft.
"""

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from glore_jax.labels.identity import identity_rank
from glore_jax.labels.outcome import distinct_samples, drawn_first

Grade = Callable[[Sequence[str], str], bool]
Steps = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Draft:
    """A wrong solution with the right ones that it may be paired with, in order of preference."""

    steps: Steps
    first_error: int
    targets: Sequence[Steps]


def _spread(drafts: Sequence[_Draft], limit: int) -> list[tuple[_Draft, Steps]]:
    """Up to `limit` (0: all) pairs: every draft once before any draft twice, each time with another target.

    Drafts that share their targets start at different ones, so that the targets are spread as well.
    """
    rounds = max((len(draft.targets) for draft in drafts), default=0)
    pairs = (
        (draft, draft.targets[(turn + place) % len(draft.targets)])
        for turn in range(rounds)
        for place, draft in enumerate(drafts)
        if turn < len(draft.targets)
    )
    return list(itertools.islice(pairs, limit or None))


def _records(
    kind: str,
    question_id: str,
    question: str,
    gold: str,
    drafts: Sequence[_Draft],
    limit: int,
    grade: Grade,
) -> list[dict]:
    records = []
    for draft, target in _spread(drafts, limit):
        if not grade(target, gold):
            raise ValueError(
                f"{question_id}: target of a {kind} pair without the right answer {gold}"
            )
        if grade(draft.steps, gold):
            raise ValueError(f"{question_id}: draft of a {kind} pair with the right answer {gold}")
        records.append(
            {
                "question_id": question_id,
                "prompt": question,
                "kind": kind,
                "draft": list(draft.steps),
                "first_error": draft.first_error,
                "target": list(target),
            }
        )
    return records


def _right_targets(group: Sequence[Mapping], *ids: int | str) -> list[Steps]:
    right = [sample for sample in group if sample["correct"]]
    right.sort(key=lambda s: identity_rank(*ids, s["sample_id"]))
    return [tuple(sample["steps"]) for sample in right]


def global_pairs(
    samples: Iterable[Mapping], per_question: int, seed: int, grade: Grade
) -> list[dict]:
    """Pairs of a wrong and a right sample of the same question, all different, by question id.

    Args:
      samples: graded samples with `question_id`, `sample_id`, `question`, `gold`, `steps`, `correct`; any
      order. per_question: at most that many pairs of a question, spread over its wrong samples; 0 takes every
        combination.
      seed: of the random choice among samples.
      grade: `task.grade`.

    Raises:
      ValueError: `grade` contradicts a chosen sample's `correct`.
    """
    records = []
    for question_id, group in distinct_samples(samples).items():
        targets = _right_targets(group, seed, question_id)
        wrong = [sample for sample in group if not sample["correct"]]
        wrong.sort(key=lambda s: drawn_first(seed, s))
        drafts = [_Draft(tuple(sample["steps"]), 0, targets) for sample in wrong] if targets else []
        question, gold = group[0]["question"], group[0]["gold"]
        records += _records("global", question_id, question, gold, drafts, per_question, grade)
    return records


def _first_error(record: Mapping) -> int:
    """The record's first error, checked against its labels; ValueError if they disagree."""
    labels, error, name = record["labels"], record["first_error"], record["question_id"]
    if len(labels) != len(record["completions"]):
        raise ValueError(f"{name}: {len(labels)} labels of {len(record['completions'])} steps")
    if not 0 <= error < len(labels) or any(labels[error:]) or not all(labels[:error]):
        raise ValueError(
            f"{name}: first_error = {error} does not fit the labels {labels} of a wrong draft"
        )
    return error


def _traces(record: Mapping, cut: int, verified: bool, seed: int) -> list[Steps]:
    """The different continuations of the first `cut` steps that verified (or did not), in random order."""
    found = {
        tuple(t["steps"]) for t in record["traces"] if t["cut"] == cut and t["verified"] == verified
    }
    ids = (seed, record["question_id"], record["sample_id"], cut)
    return sorted(found, key=lambda steps: identity_rank(*ids, *steps))


def local_pairs(
    step_records: Iterable[Mapping],
    samples: Iterable[Mapping],
    per_question: int,
    seed: int,
    failed_continuations: bool,
    grade: Grade,
) -> list[dict]:
    """Pairs of a wrong draft with its first error and a right solution that shares the steps before it.

    The target is the draft's good prefix and a verified continuation of it (a rollout of the labelling). With
    an error in the first step there is no prefix, and any right sample of the question serves.

    Args:
      step_records: labelled drafts with `question_id`, `sample_id`, `completions` (steps), `labels`,
        `first_error`, `correct` and `traces`, a list of `{cut, steps, verified}` (steps of the continuation
        alone); any order. Right drafts are passed over, and so are wrong ones for which no target is known.
      samples: graded samples of (at least) the same questions.
      per_question: at most that many pairs of a question, spread over its drafts; 0 takes every combination.
      seed: of the random choice among drafts and targets.
      failed_continuations: take as further drafts the steps up to and including the first bad one with each
        wrong continuation of them (caption of figure 1). Continuations of the *good* prefix do not serve:
        where they go wrong is not known.
      grade: `task.grade`.

    Raises:
      ValueError: labels and `first_error` disagree, a question has no samples, or `grade` contradicts a
      record.
    """
    by_question = distinct_samples(samples)
    wrong = defaultdict(list)
    for record in step_records:
        if not record["correct"]:
            wrong[record["question_id"]].append(record)
    records = []
    for question_id in sorted(wrong):
        group = by_question.get(question_id)
        if group is None:
            raise ValueError(
                f"{question_id}: a step-labelled draft, but no samples of the question"
            )
        question, gold = group[0]["question"], group[0]["gold"]
        drafts: list[_Draft] = []
        further: list[_Draft] = []
        sample = {s["sample_id"]: s for s in group}
        wrong[question_id].sort(
            key=lambda r: drawn_first(seed, {**r, **sample.get(r["sample_id"], {})})
        )
        for record in wrong[question_id]:
            steps, error = tuple(record["completions"]), _first_error(record)
            if error:
                targets = [steps[:error] + trace for trace in _traces(record, error, True, seed)]
            else:
                targets = _right_targets(group, seed, question_id)
            if not targets:
                continue
            drafts.append(_Draft(steps, error, targets))
            if failed_continuations:
                # A trace may fail the consistency test alone: then its answer is right and it is no draft.
                bad_prefix = steps[: error + 1]
                failed = [bad_prefix + trace for trace in _traces(record, error + 1, False, seed)]
                further += [
                    _Draft(draft, error, targets) for draft in failed if not grade(draft, gold)
                ]
        unique: dict[Steps, _Draft] = {}
        for draft in drafts + further:
            unique.setdefault(draft.steps, draft)
        records += _records(
            "local", question_id, question, gold, list(unique.values()), per_question, grade
        )
    return records
