"""Every reward model scores every text once, and a score stays with the text that it is of."""

import numpy as np
import pytest
import some_records

from glore_jax.records import Sample
from glore_jax.stages import evaluate, models, rewards


def solutions(*texts):
    return [some_records.full(Sample, question="2+3?", steps=steps) for steps in texts]


DRAFTS = solutions(["2+3=6", "#### 6"], [])
SAMPLES = solutions(["a"], ["a", "b"])


@pytest.fixture
def scorer(ctx, monkeypatch):
    """Scores tell which model read what: hundreds for the model, then the text, tenths the step."""
    calls = []

    def score(ctx, model, solutions, name):
        calls.append(name)
        return [
            np.float32([model + i + step / 10 for step in range(len(s))])
            for i, (_, s) in enumerate(solutions)
        ]

    values = {("orm", "hf"): 100.0, ("orm", "balanced_hf"): 200.0, ("sorm", "hf"): 300.0}
    monkeypatch.setattr(models, "load_reward", lambda ctx, *parts: values[parts])
    monkeypatch.setattr(rewards, "score", score)
    return calls


def test_every_model_scores_drafts_and_samples(ctx, scorer):
    ctx.config.orm.balanced = True
    found = evaluate.score_all(ctx, "test", DRAFTS, SAMPLES)
    for base, name in ((100, "orm"), (200, "balanced_orm"), (300, "sorm")):
        assert found["drafts"][name] == [pytest.approx([base, base + 0.1]), []]
        assert found["samples"][name] == [
            pytest.approx([base + 2]),
            pytest.approx([base + 3, base + 3.1]),
        ]
    assert len(scorer) == 3
    # They are kept.
    assert evaluate.score_all(ctx, "test", DRAFTS, SAMPLES) == found and len(scorer) == 3


def test_without_the_balanced_model(ctx, scorer):
    ctx.config.orm.balanced = False
    assert set(evaluate.score_all(ctx, "test", DRAFTS, [])["drafts"]) == {"orm", "sorm"}


def test_a_refinement_has_the_score_of_its_last_step(ctx, scorer):
    texts = [["a", "b", "c"], ["a"], []]
    refined = [
        {"question": "2+3?"}
        | {kind: {"steps": s} for kind, s in zip(evaluate.KINDS, texts, strict=True)}
    ] * 2
    rows = evaluate.score_refinements(ctx, "test", refined)
    assert rows == [
        {"global": pytest.approx(100.2), "local_orm": pytest.approx(101), "local_sorm": 0.0},
        {"global": pytest.approx(103.2), "local_orm": pytest.approx(104), "local_sorm": 0.0},
    ]
    assert evaluate.score_refinements(ctx, "test", refined) == rows and len(scorer) == 1
