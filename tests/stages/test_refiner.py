"""What the refiner learns from: pairs of both kinds, and where their loss lies."""

from types import SimpleNamespace

import numpy as np
import pytest
import some_records
from tiny_llama import Characters

from glore_jax import parquet
from glore_jax.errors import UserError
from glore_jax.models.model import Model, Start
from glore_jax.records import LabelledDraft, Sample
from glore_jax.stages import models, refiner, training
from glore_jax.tasks.prompts import Prompts

RIGHT, WRONG = ["2+3=5", "5*2=10", "#### 10"], ["2+3=5", "5*2=11", "#### 11"]
PROMPTS = Prompts(Characters())


def sample(sample_id, steps, correct):
    return {
        "question_id": "q",
        "sample_id": sample_id,
        "question": "2+3, *2?",
        "gold": "10",
        "steps": steps,
        "correct": correct,
    }


LABELLED = {
    "question_id": "q",
    "sample_id": 1,
    "prompt": "2+3, *2?",
    "gold": "10",
    "completions": WRONG,
    "labels": [1, 0, 0],
    "first_error": 1,
    "correct": False,
    "traces": [
        {"cut": 1, "rollout": 0, "steps": ["10=5*2", "#### 10"], "verified": True},
        {"cut": 1, "rollout": 1, "steps": ["#### 5"], "verified": False},
    ],
}


@pytest.fixture
def data(ctx):
    samples = [sample(0, RIGHT, True), sample(1, WRONG, False)]
    some_records.write(ctx.folder("sample", "records"), 0, Sample, samples)
    some_records.write(ctx.folder("rollout", "records"), 0, LabelledDraft, [LABELLED])
    return ctx


def test_both_kinds_of_pairs_are_made(data):
    kinds = {p["kind"]: p for p in refiner.make_pairs(data)}
    assert kinds["global"]["first_error"] == 0 and kinds["global"]["target"] == RIGHT
    assert kinds["local"]["first_error"] == 1
    assert kinds["local"]["target"] == ["2+3=5", "10=5*2", "#### 10"]
    assert all(p["draft"] == WRONG for p in kinds.values())


@pytest.mark.parametrize("attention", ["causal", "prefix"])
def test_the_loss_lies_on_the_target_only(data, monkeypatch, attention):
    data.config.refiner.attention, data.config.refiner.turn = attention, 1.0
    base = Start(Model(None, None, None, Characters()), None)
    seen = {}

    def make_batches(ctx, examples, section, config):
        seen["examples"] = list(examples)
        return SimpleNamespace(plan=SimpleNamespace(fill=0.5)), 0

    def fit(*args):
        return training.Outcome(3, {"loss": 1.0})

    monkeypatch.setattr(models, "base_start", lambda ctx: base)
    monkeypatch.setattr(training, "make_batches", make_batches)
    monkeypatch.setattr(training, "fit", fit)
    counts = refiner.run(data)
    assert counts["pairs"] == {"global": 1, "local": 1, "kept": 0} and counts["steps"] == 3
    pairs = parquet.read_records(data.folder("refiner", "pairs"))
    for pair, example in zip(pairs, seen["examples"], strict=True):
        source = PROMPTS.refine("2+3, *2?", pair["draft"], pair["first_error"])
        target = PROMPTS.solution(pair["target"])[0]
        assert example.tokens.tolist() == source + target
        np.testing.assert_array_equal(example.weights, [0.0] * len(source) + [1.0] * len(target))
        assert example.prefix == (len(source) if attention == "prefix" else 0)


def test_the_token_at_which_a_target_leaves_its_draft_weighs_more():
    pair = {"prompt": "2+3, *2?", "draft": WRONG, "target": RIGHT, "first_error": 1}
    example = refiner.pair_example(PROMPTS, pair, False, 10.0)
    source = PROMPTS.refine("2+3, *2?", WRONG, 1)
    (turn,) = np.flatnonzero(example.weights == 10)
    assert PROMPTS.text(example.tokens[len(source) : turn + 1]) == "2+3=5\n5*2=10"
    assert sorted({*example.weights[len(source) :]}) == [1, 10]
    assert not example.weights[: len(source)].any()
    same = refiner.pair_example(PROMPTS, pair | {"draft": RIGHT}, False, 10.0)
    assert 10 not in same.weights  # a draft without its end of sequence is a copy to the end


def test_right_drafts_can_be_kept(data):
    data.config.refiner.keep_right = 0.5
    kinds = dict.fromkeys(("global", "local", "kept"), 0)
    pairs = list(refiner.counted(refiner.make_pairs(data), kinds))
    assert kinds == {"global": 1, "local": 1, "kept": 1}
    (kept,) = (pair for pair in pairs if pair["draft"] == RIGHT)
    # What a global refinement of it will look like, and nothing to turn away from.
    example = refiner.pair_example(PROMPTS, kept, False, 10.0)
    source = PROMPTS.refine("2+3, *2?", RIGHT, 0)
    assert example.tokens.tolist() == source + PROMPTS.solution(RIGHT)[0]
    assert set(example.weights[len(source) :]) == {1}


def test_nothing_to_pair(data):
    wrong = [sample(1, WRONG, False)]
    some_records.write(data.folder("sample", "records"), 0, Sample, wrong)
    failed = [LABELLED | {"traces": LABELLED["traces"][1:]}]
    some_records.write(data.folder("rollout", "records"), 0, LabelledDraft, failed)
    with pytest.raises(UserError, match="no question has both a right and a wrong sample"):
        refiner.run(data)
