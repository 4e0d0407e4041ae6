"""What the outcome reward models learn from."""

import pytest
import some_records

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.records import Sample
from glore_jax.stages import looks, orm, rewards


def sample(question, sample_id, correct, steps=("2+3=5", "#### 5")):
    return {
        "question_id": question,
        "sample_id": sample_id,
        "question": f"{question}?",
        "steps": list(steps),
        "correct": correct,
    }


SAMPLES = [sample("a", i, correct) for i, correct in enumerate([True, True, True, False])] + [
    sample("b", 0, False, ("#### 6",)),
    sample("b", 1, False, ()),
]


@pytest.fixture
def trained(ctx, monkeypatch):
    """{name of the run: (items, section, target)} of what the stage asks to train."""
    asked = {}

    def train_reward(ctx, name, items, section, target):
        items = list(items)
        asked[name] = (items, section, target)
        return {"solutions": len(items)}

    some_records.write(ctx.folder("sample", "records"), 0, Sample, SAMPLES)
    manifest = {"records": {"sample/records": [len(SAMPLES)]}}
    storage.write_json(ctx.folder("sample", "manifest.json"), manifest)
    monkeypatch.setattr(rewards, "train_reward", train_reward)
    monkeypatch.setattr(looks, "look", lambda ctx, *args: {"of": [*args[:-1], args[-1].held_out]})
    ctx.stage, ctx.config.orm.per_question = "orm", 0
    ctx.config.orm.held_out = 0.0
    return asked


def test_every_step_has_the_label_of_the_final_answer(ctx, trained):
    orm.run(ctx)
    items, section, target = trained["orm/plain"]
    assert [(q, labels, weights) for q, _, labels, weights in items] == [
        ("a?", [1.0, 1.0], [1.0, 1.0]),
        ("a?", [1.0, 1.0], [1.0, 1.0]),
        ("a?", [1.0, 1.0], [1.0, 1.0]),
        ("a?", [0.0, 0.0], [1.0, 1.0]),
        ("b?", [0.0], [1.0]),  # the sample without any step is left out
    ]
    assert [len(steps) for _, steps, *_ in items] == [2, 2, 2, 2, 1]
    assert (section, target) == (ctx.config.orm, "orm/hf")


def test_questions_that_are_held_out_are_not_learned_but_looked_at(ctx, trained, monkeypatch):
    monkeypatch.setattr(orm, "is_held_out", lambda seed, question, share: question == "a")
    counts = orm.run(ctx)
    items, *_ = trained["orm/plain"]
    assert [question for question, *_ in items] == ["b?"]
    assert counts["plain"]["looks"] == {"of": ["orm/plain", "orm/hf", 0.0]}


@pytest.mark.parametrize("balanced", [True, False])
def test_the_balanced_variant_is_made_if_asked_for(ctx, trained, balanced):
    ctx.config.orm.balanced = balanced
    counts = orm.run(ctx)
    variants = ["plain", "balanced"][: 1 + balanced]
    assert list(counts) == variants and list(trained) == [f"orm/{v}" for v in variants]


def test_balance_takes_as_many_right_as_wrong_ones(ctx, trained):
    ctx.config.orm.balanced = True
    orm.run(ctx)
    items, _, target = trained["orm/balanced"]
    assert target == "orm/balanced_hf"
    assert sorted(labels[0] for _, _, labels, _ in items) == [0.0, 1.0]


def test_a_variant_that_is_done_is_not_trained_again(ctx, trained):
    ctx.config.orm.balanced = True
    first = orm.run(ctx)
    trained.clear()
    assert orm.run(ctx) == first and not trained


def test_nothing_to_learn_from(ctx):
    """All samples of every question come out the same way."""
    same = SAMPLES[:3] + SAMPLES[4:]
    some_records.write(ctx.folder("sample", "records"), 0, Sample, same)
    with pytest.raises(
        UserError, match="orm/balanced has no training solutions: sample more per question"
    ):
        orm.train(ctx, "balanced")
