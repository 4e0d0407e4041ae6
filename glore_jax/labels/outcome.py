"""From graded samples to the training set of the outcome reward model (ORM; section 4.1 step 2 of the paper).

The ORM learns at every step whether the whole solution will come out right, so each step carries the label of
the final answer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from glore_jax.errors import UserError
from glore_jax.labels.identity import identity_rank

# `policy` of a sample that is the student's greedy draft, and of one that is the task's own solution.
GREEDY, WORKED = "greedy", "worked"


def drawn_first(seed: int, sample: Mapping) -> tuple[bool, float]:
    """Sort key of samples of which some are drawn: a greedy draft first, since greedy drafts are what will be judged and refined,
    the others at random."""
    rank = identity_rank(seed, sample["question_id"], sample["sample_id"])
    return sample.get("policy") != GREEDY, rank


def _place(sample: Mapping) -> tuple[bool, int]:
    return sample.get("policy") != GREEDY, sample["sample_id"]


def distinct_samples(samples: Iterable[Mapping], repeats: bool = False) -> dict[str, list[Mapping]]:
    """The different solutions of each question: question id -> samples by ascending sample id, a greedy draft in front.

    Of identical solutions the first stays, so how often a text was sampled has no
    say in later draws; with `repeats` all stay. Samples without any step are left out: there is no step to read or to correct.
    """
    by_question = defaultdict(list)
    for sample in samples:
        if sample["steps"]:
            by_question[sample["question_id"]].append(sample)
    distinct = {}
    for question_id in sorted(by_question):
        first = {}
        for sample in sorted(by_question[question_id], key=_place):
            first.setdefault(
                (tuple(sample["steps"]), sample["sample_id"] if repeats else None), sample
            )
        distinct[question_id] = list(first.values())
    return distinct


def orm_records(
    samples: Iterable[Mapping], balanced: bool, per_question: int, seed: int, repeats: bool = False
) -> list[dict]:
    """Training records of the ORM, sorted by question id and sample id.

    Args:
      samples: graded samples with `question_id`, `sample_id`, `steps` and `correct`, in any order.
      balanced: as many right as wrong solutions of each question (the "Balanced ORM" of the paper): the
        larger side is subsampled, and a question that was always or never solved is dropped.
      per_question: at most that many solutions of a question; 0 takes all.
      seed: of the random choice among solutions.
      repeats: keep identical solutions, so that a score is the chance of a *sample* to be right. Without them wrong
        solutions, which are more varied, outweigh right ones.

    Returns:
      The chosen samples, each with `labels`: one float per step, all 1.0 or all 0.0.

    Raises:
      UserError: `per_question` is negative, or too small to hold a right and a wrong solution.
    """
    if per_question < 0 or (balanced and per_question == 1):
        least = "2 with balanced labels" if balanced else "1"
        raise UserError(
            f"orm.per_question = {per_question}: must be 0 (all solutions) or at least {least}"
        )

    def draw(group: Sequence[Mapping], size: int) -> list[Mapping]:
        return sorted(group, key=lambda s: identity_rank(seed, s["question_id"], s["sample_id"]))[
            :size
        ]

    records = []
    for group in distinct_samples(samples, repeats).values():
        if balanced:
            right = [s for s in group if s["correct"]]
            wrong = [s for s in group if not s["correct"]]
            size = min(len(right), len(wrong), per_question // 2 or len(group))
            chosen = draw(right, size) + draw(wrong, size)
        else:
            chosen = draw(group, per_question or len(group))
        records += [
            {**sample, "labels": [float(bool(sample["correct"]))] * len(sample["steps"])}
            for sample in sorted(chosen, key=lambda s: s["sample_id"])
        ]
    return records
