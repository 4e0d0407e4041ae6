"""A look at a reward model reads its export, and only solutions of held-out questions."""

import jax
import numpy as np
import pytest
import some_records
from tiny_llama import Characters, model

from glore_jax import storage
from glore_jax.labels.outcome import WORKED
from glore_jax.models import reward
from glore_jax.parallel import mesh as meshes
from glore_jax.records import Sample
from glore_jax.stages import looks, models, rewards
from glore_jax.stages.rewards import LabelledSolution

SHARE = 0.3


def sample(question, sample_id):
    worked = sample_id == 11
    return {
        "question_id": f"q{question}",
        "sample_id": sample_id,
        "question": f"{question}+1?",
        "steps": [f"a{sample_id % 10}", "#### 5"],
        "correct": sample_id % 2 == 0,
        "logprob": None if worked else -float(sample_id),
        "policy": WORKED if worked else "",
    }


@pytest.fixture
def ctx(ctx, monkeypatch):
    rows = [sample(question, i) for i in range(12) for question in range(40)]
    some_records.write(ctx.folder("sample", "records"), 0, Sample, rows)
    manifest = {"records": {"sample/records": [len(rows)]}}
    storage.write_json(ctx.folder("sample", "manifest.json"), manifest)
    ctx.local_mesh = meshes.single_device_mesh(jax.devices()[0])
    ctx.config.task.prompt = "{question}\n"
    asked = []

    def load_reward(ctx, *parts):
        asked.append(parts)
        return model(module=reward, tokenizer=Characters())

    monkeypatch.setattr(models, "load_reward", load_reward)
    ctx.asked = asked
    return ctx


def test_distinct_samples_of_the_student_by_identity(ctx):
    groups = looks.held_out_samples(ctx, SHARE)
    ids = {group[0]["question_id"] for group in groups}
    assert 4 < len(ids) == len(groups) < 20
    for group in groups:
        assert len(group) == looks.SOLUTIONS
        assert len({tuple(s["steps"]) for s in group}) == len(group)
        assert all(s["policy"] != WORKED for s in group)
    rows = [sample(question, i) for i in reversed(range(12)) for question in reversed(range(40))]
    some_records.write(ctx.folder("sample", "records"), 0, Sample, rows)
    again = looks.held_out_samples(ctx, SHARE)
    assert [[s["sample_id"] for s in g] for g in again] == [
        [s["sample_id"] for s in g] for g in groups
    ]


def test_figures_and_a_warning(ctx, capsys):
    drafts = [
        LabelledSolution("1+1?", ["a1", "#### 5"], [1.0, 0.0], [1.0, 1.0]),
        LabelledSolution("2+1?", ["a2", "#### 5"], [1.0, 0.0], [1.0, 0.0]),
    ]
    ctx.config.sorm.held_out = SHARE
    found = looks.look(ctx, "sorm/train", "sorm/hf", ctx.config.sorm, drafts)
    assert ctx.asked == [("sorm", "hf")]
    assert found["steps"]["n"] == 3 and found["steps"]["majority"] == pytest.approx(2 / 3)
    assert found["n"] == found["questions"] * looks.SOLUTIONS
    # Random weights know nothing.
    assert found["learned"] is False
    assert ctx.warnings == [f"sorm/train learned nothing: {found['why']}"]
    assert f"sorm/train: {found['n']} solutions" in capsys.readouterr().out


def test_the_interval_is_of_stories(ctx):
    ctx.config.sorm.held_out = SHARE
    alone = looks.look(ctx, "sorm/train", "sorm/hf", ctx.config.sorm)
    assert alone["low"] is not None
    of_one = {f"q{i}": "q0" for i in range(40)}
    storage.write_json(ctx.folder("sample", "variations.json"), of_one)
    found = looks.look(ctx, "sorm/train", "sorm/hf", ctx.config.sorm)
    assert found["low"] is None and found["within_pair"] == alone["within_pair"]


def test_nothing_held_out_loads_no_model(ctx):
    ctx.config.orm.held_out = 0.0
    found = looks.look(ctx, "orm/plain", "orm/hf", ctx.config.orm)
    assert found["learned"] is None and not ctx.asked and not ctx.warnings
    assert "steps" not in found


def test_the_config_says_what_a_model_began_with(ctx, monkeypatch):
    """The scores are the likelihoods alone: sample `a0` is the likeliest of its question."""

    def score(ctx, model, texts, name):
        return [np.array([0.5, 1 / (1 + float(steps[0][1:]))]) for _, steps in texts]

    monkeypatch.setattr(rewards, "score", score)
    for group in (groups := looks.held_out_samples(ctx, SHARE)):
        for sample in group:
            sample["correct"] = sample["sample_id"] < 4
            sample["logprob"] = -float(sample["steps"][0][1:])
    monkeypatch.setattr(looks, "held_out_samples", lambda ctx, share: groups)
    section = ctx.config.orm
    section.likelihood = False
    assert looks.look(ctx, "orm/plain", "orm/hf", section)["learned"] is True
    section.likelihood = True
    found = looks.look(ctx, "orm/plain", "orm/hf", section)
    assert found["learned"] is False and "the log-likelihood it began with" in found["why"]


def test_steps_of_one_question_are_no_two_witnesses(ctx):
    drafts = [LabelledSolution(f"{i % 2}+1?", ["a1"], [1.0], [1.0]) for i in range(40)]
    found = looks.look(ctx, "sorm/train", "sorm/hf", ctx.config.sorm, drafts)
    assert found["steps"]["n"] == 40 and found["steps"]["over_majority"] is None


def test_scores_are_those_of_the_last_step(ctx):
    texts = [("1+1?", ["a1", "#### 5"]), ("1+1?", ["a1"])]
    both, first = looks.score(ctx, "x", "orm/hf", texts)
    assert both.shape == (2,) and first.shape == (1,)
    np.testing.assert_allclose(both[0], first[0], atol=1e-5)
