"""Figures of K samples a question, on samples whose figures are known beforehand."""

import pytest
from known_records import Known, make_samples

from glore_jax.labels import selection
from glore_jax.stages.evaluation import sample_figures
from glore_jax.stages.evaluation.sample_figures import Samples


@pytest.fixture
def samples() -> Samples:
    return Samples.of(*make_samples())


def test_samples_stand_by_question_in_the_order_of_their_ids(samples):
    records, _ = make_samples()
    in_order = [records[i] for i in samples.order]
    assert [r["question_id"] for r in in_order] == [*"bbbbaaaa"]  # b's records come first
    assert [r["sample_id"] for r in in_order] == [0, 1, 2, 3] * 2
    assert samples.edges.tolist() == [0, 4, 8] and len(samples) == 2
    assert [*samples.answers_by_question][1] == ["6", "5", "6.0", "7"]
    assert [right.tolist() for right in samples.correct][1] == [False, True, False, False]


def test_student(samples):
    student = sample_figures.student(Known({}), samples, 4, greedy_acc=2 / 5)
    assert student.K == 4 and student.n == 2
    assert student.maj1 == 2 / 5 and student.mean1 == pytest.approx(1 / 2)
    assert student.majK == 1 / 2  # a votes 6
    assert student.passK == 1.0
    assert student.rerankK == 1 / 2  # a picks 7
    assert student.rerankK_sorm == 0.0  # a picks 6.0, b the empty one
    assert student.loglikK == 1 / 2  # a picks 6
    assert student.truncated == 0 and student.rounds is None


def test_scorers(samples):
    scorers = sample_figures.scorers(samples)
    # Pairs of a right and a wrong sample: a has 3 (two won), b has 3 (all won).
    assert scorers["orm"].within_pair == pytest.approx(5 / 6) and scorers["orm"].n == 6
    assert scorers["sorm"].within_pair == pytest.approx(1 / 6)
    assert scorers["loglik"].within_pair == pytest.approx((2 + 3) / 6)
    assert scorers["orm"].n_auc == 8


def test_rerank_curves(samples):
    curves = sample_figures.rerank_curves(samples, 4, seed=0)
    assert curves.k == (1, 2, 4)
    assert curves.pass_.mean[-1] == 1.0
    assert curves.orm.mean[-1] == 1 / 2 and curves.majority.mean[-1] == 1 / 2
    assert curves.balanced_orm is None


@pytest.mark.parametrize(
    ("k", "ks"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (96, [1, 2, 4, 8, 16, 32, 64, 96])],
)
def test_the_axis_is_powers_of_two_and_k_itself(k, ks):
    assert selection.axis(k) == ks
