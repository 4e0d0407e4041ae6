"""Every reward model scores every text once, and a score stays with the text that it is of."""

import gc

import jax
import numpy as np
import pytest
import some_records

from glore_jax.models import hf_export, hf_import, reward
from glore_jax.records import Sample
from glore_jax.stages import STAGES, evaluate, models, rewards, scores


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


REFINED = [{"global": ["a", "b", "c"], "local_orm": ["a"], "backtrack_1": []}, {"global": ["d"]}]


def refined():
    """Refinements of the two drafts; not all drafts have the same."""
    return [
        {kind: {"steps": steps, "ended": True} for kind, steps in of_draft.items()}
        for of_draft in REFINED
    ]


def test_a_text_made_from_a_draft_has_the_score_of_its_last_step(ctx, scorer):
    scored = {"orm": [[0.6, 0.9], []], "sorm": [[0.5, 0.2], []]}
    ctx.config.evaluate.sample_splits = ()
    found = evaluate.score_refinements(ctx, "test", DRAFTS, scored, refined())
    assert found == {
        "orm": [
            {
                "draft": 0.9,
                "global": pytest.approx(100.2),
                "local_orm": pytest.approx(101),
                "backtrack_1": 0.0,
            },
            {"draft": 0.0, "global": pytest.approx(103)},
        ]
    }
    assert evaluate.score_refinements(ctx, "test", DRAFTS, scored, refined()) == found
    assert len(scorer) == 1


def test_a_combination_also_reads_the_sorm_and_the_student(ctx, scorer, monkeypatch):
    ctx.config.evaluate.sample_splits = ()
    ctx.config.evaluate.choose = "combination"
    read = []

    def by_likelihood(ctx, name, load, texts):
        read.append(name)
        return [-float(len(text.steps)) for text in texts]

    monkeypatch.setattr(scores, "by_likelihood", by_likelihood)
    scored = {"orm": [[0.6, 0.9], []], "sorm": [[0.5, 0.2], []]}
    found = evaluate.score_refinements(ctx, "test", DRAFTS, scored, refined())
    assert read == ["evaluate/test/scores/loglik"]
    assert found["loglik"] == [
        {"draft": -2.0, "global": -3.0, "local_orm": -1.0, "backtrack_1": 0.0},
        {"draft": 0.0, "global": -1.0},
    ]
    # The lowest of its steps.
    assert found["sorm"][0]["draft"] == 0.2
    assert found["sorm"][0]["global"] == pytest.approx(300)


@pytest.fixture
def exported(ctx):
    """Every model that `evaluate` reads, in the work directory: the packaged base, by any name."""
    ctx.config.task.size.test = ctx.config.task.size.dev = 3
    ctx.config.evaluate.splits = ctx.config.evaluate.sample_splits = ("test",)
    ctx.config.evaluate.k = ctx.config.evaluate.label_k = 2
    ctx.config.engine.lanes = 2
    for section in (ctx.config.sample, ctx.config.rollout, ctx.config.refiner, ctx.config.evaluate):
        section.max_new = 24
    base = models.load_base(ctx)
    for name in ("student", "refiner"):
        hf_export.save_policy(ctx.folder(name, "hf"), base, "float32")
    for name in ("orm", "sorm"):
        hf_export.save_reward(ctx.folder(name, "hf"), reward.from_policy(base), "float32")
    return ctx


def live_bytes():
    return sum(x.nbytes for x in jax.live_arrays())


def test_a_model_is_gone_before_the_next_is_loaded(exported, monkeypatch):
    """With the copy of its weights that a CPU's engines decode from, and with their stores."""
    gc.collect()
    before = live_bytes()
    held: dict[str, int] = {}

    read = hf_import.read_weights

    def watched(folder, *args):
        name = "/".join(folder.parts[-2:])
        held[f"{name}/{len(held)}"] = live_bytes() - before
        return read(folder, *args)

    monkeypatch.setattr(hf_import, "read_weights", watched)
    evaluate.run(exported.inside("evaluate", STAGES["evaluate"].config))
    folders = [name.rpartition("/")[0] for name in held]
    chosen = ["student/hf", "orm/hf", "sorm/hf"]
    written = [*chosen, "refiner/hf", "assets/tiny_base"]
    assert folders == [*chosen, *written, "orm/hf", "student/hf", "assets/tiny_base"]
    size = sum(x.nbytes for x in jax.tree.leaves(models.load_base(exported).params))
    assert max(held.values()) < size / 10, held
