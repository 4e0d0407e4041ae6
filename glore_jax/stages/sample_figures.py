"""Figures of K samples a question: the student's own, how well scorers tell right from wrong, and
what choosing among K samples gives (paper section 4.2, table 5 and figure 4)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Self, TypeVar

import numpy as np

from glore_jax.labels import metrics, selection
from glore_jax.records import Sample
from glore_jax.report import figures
from glore_jax.stages.draft_figures import Scores, last_scores
from glore_jax.tasks.base import ANSWER_MARK, Task

T = TypeVar("T")

# Draws of K samples: for the curves, and for the best of three, a figure on its own.
CURVE_RESAMPLES = 100
BEST_OF_3_RESAMPLES = 400


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of a split, by question and in the order of their ids.

    Attributes:
      records: as they were drawn, in any order.
      groups: for each question the indices of its samples in `records`.
      scores: by scorer, one score for each of `records`.
    """

    records: Sequence[Sample]
    groups: list[list[int]]
    scores: dict[str, list[float]]

    @classmethod
    def of(cls, records: Sequence[Sample], step_scores: Mapping[str, Scores]) -> Self:
        """`step_scores`: by reward model, one score for each step of each record.

        The student's own log-likelihood joins them as the scorer `loglik`.
        """
        groups: dict[str, list[int]] = {}
        for index, record in enumerate(records):
            groups.setdefault(record["question_id"], []).append(index)
        for indices in groups.values():
            indices.sort(key=lambda i: records[i]["sample_id"])
        scores = {model: last_scores(values) for model, values in step_scores.items()}
        scores["loglik"] = [_loglik(record) for record in records]
        return cls(records, list(groups.values()), scores)

    def by_question(self, values: Sequence[T]) -> list[list[T]]:
        """`values`, one a record, in the shape of `groups`."""
        return [[values[i] for i in group] for group in self.groups]

    @property
    def correct(self) -> list[list[bool]]:
        return self.by_question([bool(record["correct"]) for record in self.records])

    @property
    def answers(self) -> list[list[str | None]]:
        return self.by_question([record["answer"] for record in self.records])

    def best(self, scorer: str) -> float:
        """Accuracy of the sample that `scorer` likes best, the first of equal ones."""
        rows = zip(self.by_question(self.scores[scorer]), self.correct, strict=True)
        return float(np.mean([right[int(np.argmax(scores))] for scores, right in rows]))

    def curves(self, scorer: str, ks: Sequence[int], resamples: int, seed: int) -> dict:
        """Accuracy along `ks`, by who chooses: `pass`, `majority`, and `scorer` as `rerank`."""
        scores = self.by_question(self.scores[scorer])
        return selection.rerank_curves(scores, self.correct, self.answers, ks, resamples, seed)


def _loglik(sample: Sample) -> float:
    """Nats; only solutions that the task brings have none, and those are not drawn."""
    assert sample["logprob"] is not None
    return sample["logprob"]


def student(task: Task, samples: Samples, k: int, greedy_acc: float | None) -> figures.Student:
    """The student alone. `k`: samples a question; `greedy_acc`: the accuracy of its drafts."""
    correct = samples.correct
    return figures.Student(
        K=k,
        n=len(samples.groups),
        maj1=greedy_acc,
        mean1=float(np.mean([np.mean(right) for right in correct])),
        majK=float(np.mean(_votes_right(task, samples))),
        passK=float(np.mean([any(right) for right in correct])),
        rerankK=samples.best("orm"),
        rerankK_sorm=samples.best("sorm"),
        loglikK=samples.best("loglik"),
        truncated=sum(not record["ended"] for record in samples.records),
    )


def _votes_right(task: Task, samples: Samples) -> list[bool]:
    """For each question whether its commonest answer is right."""
    right = []
    for group, answers in zip(samples.groups, samples.answers, strict=True):
        gold = samples.records[group[0]]["gold"]
        vote = selection.majority_vote(answers)
        right.append(vote is not None and task.grade([f"{ANSWER_MARK} {vote}"], gold))
    return right


def scorers(samples: Samples) -> dict[str, figures.Scorer]:
    """How well each scorer tells right from wrong, within a question and across all."""
    right = [int(record["correct"]) for record in samples.records]
    found = {}
    for name, scores in samples.scores.items():
        rows = zip(samples.by_question(scores), samples.correct, strict=True)
        within, pairs = metrics.within_pair_accuracy(rows)
        auc, n_auc = metrics.auc(scores, right)
        found[name] = figures.Scorer(within_pair=within, n=pairs, auc=auc, n_auc=n_auc)
    return found


def best_of_3(samples: Samples, k: int, seed: int) -> tuple[figures.Choice, figures.Choice]:
    """(the ORM's choice, an oracle's) among three samples, or among all where `k` is less."""
    curves = samples.curves("orm", [min(3, k)], BEST_OF_3_RESAMPLES, seed)
    n = len(samples.groups)
    by_orm = figures.Choice(acc=curves["rerank"]["mean"][0], n=n)
    by_oracle = figures.Choice(acc=curves["pass"]["mean"][0], n=n)
    return by_orm, by_oracle


def rerank_curves(samples: Samples, k: int, seed: int) -> figures.RerankCurves:
    """Accuracy of one of K samples along K = 1, 2, 4, … up to `k`, by who chooses it."""
    ks = axis(k)
    curves = {name: samples.curves(name, ks, CURVE_RESAMPLES, seed) for name in samples.scores}
    # Every scorer sees the same draws, so pass and majority are the same in all of them.
    bands = {"pass": curves["orm"]["pass"], "majority": curves["orm"]["majority"]}
    bands |= {name: curve["rerank"] for name, curve in curves.items()}
    return figures.RerankCurves.from_json({"k": ks, **bands})


def axis(k: int) -> list[int]:
    """The powers of two up to `k`, and `k` itself."""
    powers = [1 << i for i in range(k.bit_length())]
    return powers if powers[-1] == k else [*powers, k]
