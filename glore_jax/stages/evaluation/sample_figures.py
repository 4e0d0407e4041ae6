"""Figures of K samples a question: the student's own, how well scorers tell right from wrong, and
what choosing among K samples gives (paper section 4.2, table 5 and figure 4)."""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa

from glore_jax.labels import metrics, selection
from glore_jax.records import Sample
from glore_jax.report import figures
from glore_jax.tasks.base import ANSWER_MARK, Task

Steps = Sequence[float]  # a score for each step of a solution

# What is looked at of a sample, beside its question.
COLUMNS = {
    "sample_id": pa.int64(),
    "correct": pa.bool_(),
    "ended": pa.bool_(),
    "logprob": pa.float64(),
    "answer": pa.string(),
    "gold": pa.string(),
}
CHUNK = 4096  # records that are looked at at a time

CURVE_RESAMPLES = 100  # draws of K samples


@dataclasses.dataclass(frozen=True)
class Samples:
    """The samples of a split as columns, question by question in the order of the sample ids.

    Questions come in the order in which their first samples were drawn.

    Attributes:
      questions: their ids.
      edges: int64 [questions + 1]: question q has the samples from edges[q] up to edges[q + 1].
      order: int64 [samples]: the place of each sample among the records as they were drawn.
      right: bool [samples].
      answers, golds: texts [samples]; a sample may have no answer.
      scores: by scorer, float64 [samples].
      truncated: how many ran out of length.
    """

    questions: list[str]
    edges: np.ndarray
    order: np.ndarray
    right: np.ndarray
    answers: pa.ChunkedArray
    golds: pa.ChunkedArray
    scores: dict[str, np.ndarray]
    truncated: int

    @classmethod
    def of(cls, records: Iterable[Sample], step_scores: Mapping[str, Iterable[Steps]]) -> Self:
        """From records as they were drawn, in any order, which are gone through once.

        `step_scores`: by reward model, one score for each step of each record. The student's own
        log-likelihood joins them as the scorer `loglik`.
        """
        table, questions = _columns(records)
        question = table["question"].to_numpy()
        order = np.lexsort((table["sample_id"].to_numpy(), question))
        edges = np.flatnonzero(np.diff(question[order], prepend=-1, append=-1))
        if not len(order):
            edges = np.zeros(1, np.int64)
        # Only solutions that the task brings have no log-likelihood, and those are not drawn.
        assert not table["logprob"].null_count
        last = {m: map(metrics.last_score, steps) for m, steps in step_scores.items()}
        scores = {m: np.fromiter(of_model, np.float64)[order] for m, of_model in last.items()}
        scores["loglik"] = table["logprob"].to_numpy()[order]
        return cls(
            questions=questions,
            edges=edges,
            order=order,
            right=table["correct"].to_numpy()[order],
            answers=table["answer"].take(order),
            golds=table["gold"].take(order),
            scores=scores,
            truncated=int((~table["ended"].to_numpy()).sum()),
        )

    def __len__(self) -> int:
        """How many questions there are."""
        return len(self.edges) - 1

    def by_question(self, column: np.ndarray) -> Iterator[np.ndarray]:
        """The entries of each question in one of the columns."""
        return (column[start:end] for start, end in itertools.pairwise(self.edges.tolist()))

    @property
    def correct(self) -> Iterator[np.ndarray]:
        """Of each question, which of its samples are right."""
        return self.by_question(self.right)

    @property
    def answers_by_question(self) -> Iterator[list[str | None]]:
        pairs = itertools.pairwise(self.edges.tolist())
        return (self.answers.slice(start, end - start).to_pylist() for start, end in pairs)

    def best(self, scorer: str) -> list[bool]:
        """Of each question, whether the sample that `scorer` likes best is right.

        Of equal ones the first.
        """
        rows = zip(self.by_question(self.scores[scorer]), self.correct, strict=True)
        return [bool(right[int(np.argmax(scores))]) for scores, right in rows]

    def curves(self, scorer: str, ks: Sequence[int], resamples: int, seed: int) -> dict:
        """Accuracy along `ks`, by who chooses: `pass`, `majority`, and `scorer` as `rerank`."""
        scores = self.by_question(self.scores[scorer])
        answers = self.answers_by_question
        return selection.rerank_curves(scores, self.correct, answers, ks, resamples, seed)


def _columns(records: Iterable[Sample]) -> tuple[pa.Table, list[str]]:
    """(the columns that are looked at, where `question` counts from 0; the questions' ids)."""
    numbers: dict[str, int] = {}
    rest: Iterator[Any] = iter(records)
    tables: list[pa.Table] = []
    while (some := list(itertools.islice(rest, CHUNK))) or not tables:
        of_sample = [numbers.setdefault(record["question_id"], len(numbers)) for record in some]
        columns = {name: [record[name] for record in some] for name in COLUMNS}
        arrays = {name: pa.array(columns[name], kind) for name, kind in COLUMNS.items()}
        tables.append(pa.table({"question": pa.array(of_sample, pa.int64()), **arrays}))
    return pa.concat_tables(tables), list(numbers)


def student(task: Task, samples: Samples, k: int, greedy_acc: float | None) -> figures.Student:
    """The student alone. `k`: samples a question; `greedy_acc`: the accuracy of its drafts."""
    return figures.Student(
        K=k,
        n=len(samples),
        maj1=greedy_acc,
        mean1=float(np.mean([np.mean(right) for right in samples.correct])),
        majK=float(np.mean(_votes_right(task, samples))),
        passK=float(np.mean([right.any() for right in samples.correct])),
        rerankK=float(np.mean(samples.best("orm"))),
        rerankK_sorm=float(np.mean(samples.best("sorm"))),
        loglikK=float(np.mean(samples.best("loglik"))),
        truncated=samples.truncated,
    )


def _votes_right(task: Task, samples: Samples) -> list[bool]:
    """For each question whether its commonest answer is right."""
    right = []
    for start, answers in zip(samples.edges.tolist(), samples.answers_by_question, strict=False):
        gold = samples.golds[start].as_py()
        vote = selection.majority_vote(answers)
        right.append(vote is not None and task.grade([f"{ANSWER_MARK} {vote}"], gold))
    return right


def scorers(samples: Samples) -> dict[str, figures.Scorer]:
    """How well each scorer tells right from wrong, within a question and across all."""
    found = {}
    for name, scores in samples.scores.items():
        rows = zip(samples.by_question(scores), samples.correct, strict=True)
        within, pairs = metrics.within_pair_accuracy(rows)
        auc, n_auc = metrics.auc(scores, samples.right)
        found[name] = figures.Scorer(within_pair=within, n=pairs, auc=auc, n_auc=n_auc)
    return found


def rerank_curves(samples: Samples, k: int, seed: int) -> figures.RerankCurves:
    """Accuracy of one of K samples along K = 1, 2, 4, … up to `k`, by who chooses it."""
    ks = selection.axis(k)
    curves = {name: samples.curves(name, ks, CURVE_RESAMPLES, seed) for name in samples.scores}
    # Every scorer sees the same draws, so pass and majority are the same in all of them.
    bands = {"pass": curves["orm"]["pass"], "majority": curves["orm"]["majority"]}
    bands |= {name: curve["rerank"] for name, curve in curves.items()}
    return figures.RerankCurves.from_json({"k": ks, **bands})
