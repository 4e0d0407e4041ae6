"""From graded samples to the training set of the ORM (section 4.1 step 2 of the paper).

The outcome reward model learns at every step whether the whole solution will come out right, so
each step carries the label of the final answer.
"""

from collections.abc import Iterable, Iterator, Sequence

from glore_jax.errors import UserError
from glore_jax.labels.identity import identity_rank
from glore_jax.records import LabelledDraft, Sample

GREEDY = "greedy"  # `policy` of a sample that is the student's greedy draft
WORKED = "worked"  # and of one that is the task's own solution


class OrmRecord(Sample):
    """A sample with one label for each step: 1.0 if the whole solution is right, else 0.0."""

    labels: list[float]


def drawn_first(seed: int, sample: Sample | LabelledDraft) -> tuple[bool, float]:
    """Sort key of samples of which some are drawn: a greedy draft first, the others at random.

    Greedy drafts are what will be judged and refined. A record without `policy` is no greedy draft.
    """
    rank = identity_rank(seed, sample["question_id"], sample["sample_id"])
    return sample.get("policy") != GREEDY, rank


def distinct_samples(group: Iterable[Sample], repeats: bool = False) -> list[Sample]:
    """The different solutions of a question, given all its samples in any order.

    They come by ascending sample id, a greedy draft in front. Of identical solutions the first
    stays, so how often a text was sampled has no say in later draws; with `repeats` all stay.
    Samples without any step are left out: there is no step to read or to correct.
    """
    first: dict[tuple, Sample] = {}
    for sample in sorted(group, key=_place):
        if sample["steps"]:
            own = sample["sample_id"] if repeats else None
            first.setdefault((tuple(sample["steps"]), own), sample)
    return list(first.values())


def _place(sample: Sample) -> tuple[bool, int]:
    return sample.get("policy") != GREEDY, sample["sample_id"]


def orm_records(
    groups: Iterable[Sequence[Sample]],
    balanced: bool,
    per_question: int,
    seed: int,
    repeats: bool = False,
) -> Iterator[OrmRecord]:
    """Training records of the ORM, question by question, each by ascending sample id.

    Args:
      groups: the graded samples of each question, in any order, with `question_id`, `sample_id`,
        `steps` and `correct`.
      balanced: as many right as wrong solutions of each question (the "Balanced ORM" of the paper):
        the larger side is subsampled, and a question that was always or never solved is dropped.
      per_question: at most that many solutions of a question; 0 takes all.
      seed: of the random choice among solutions.
      repeats: keep identical solutions, so that a score is the chance of a *sample* to be right.
        Without them wrong solutions, which are more varied, outweigh right ones.

    Returns:
      The chosen samples, each with `labels`: one float per step, all 1.0 or all 0.0.

    Raises:
      UserError: `per_question` is negative, or too small to hold a right and a wrong solution.
    """
    _check_cap(per_question, balanced)  # at once, not with the first record
    return _orm_records(groups, balanced, per_question, seed, repeats)


def _orm_records(
    groups: Iterable[Sequence[Sample]], balanced: bool, per_question: int, seed: int, repeats: bool
) -> Iterator[OrmRecord]:
    for samples in groups:
        group = distinct_samples(samples, repeats)
        if balanced:
            right = [sample for sample in group if sample["correct"]]
            wrong = [sample for sample in group if not sample["correct"]]
            # An odd cap is rounded down: both sides are equal before the cap is full.
            cap = per_question // 2 or len(group)
            size = min(len(right), len(wrong), cap)
            chosen = _draw(right, size, seed) + _draw(wrong, size, seed)
        else:
            chosen = _draw(group, per_question or len(group), seed)
        for sample in sorted(chosen, key=lambda s: s["sample_id"]):
            label = float(bool(sample["correct"]))
            yield {**sample, "labels": [label] * len(sample["steps"])}


def _check_cap(per_question: int, balanced: bool) -> None:
    if per_question < 0 or (balanced and per_question == 1):
        least = "2 with balanced labels" if balanced else "1"
        raise UserError(
            f"orm.per_question = {per_question}: must be 0 (all solutions) or at least {least}"
        )


def _draw(group: Sequence[Sample], size: int, seed: int) -> list[Sample]:
    """`size` samples at random; a smaller draw is a part of a larger one."""

    def rank(sample: Sample) -> float:
        return identity_rank(seed, sample["question_id"], sample["sample_id"])

    return sorted(group, key=rank)[:size]
