"""What the stepwise reward model learns from."""

import pytest
import some_records

from glore_jax.errors import UserError
from glore_jax.records import LabelledDraft
from glore_jax.stages import rewards, sorm


def record(question, sample_id, labels):
    steps = [f"{question}{sample_id} step {i}" for i in range(len(labels))]
    return {
        "question_id": question,
        "sample_id": sample_id,
        "prompt": f"{question}?",
        "completions": steps,
        "labels": labels,
    }


RECORDS = [record("b", 0, [1, 1, 0]), record("a", 1, [1, 0, 0]), record("a", 0, [0, 0])]


@pytest.fixture
def train(ctx, monkeypatch):
    """train(records) -> (counts of the stage, items that it trains on)."""
    asked = []

    def train_reward(ctx, name, items, section, target):
        items = list(items)
        assert (name, section, target) == ("sorm/train", ctx.config.sorm, "sorm/hf")
        asked.append(items)
        return {"solutions": len(items)}

    def go(records):
        some_records.write(ctx.folder("rollout", "records"), 0, LabelledDraft, records)
        return sorm.run(ctx), asked[-1]

    monkeypatch.setattr(rewards, "train_reward", train_reward)
    return go


def test_labels_are_those_of_the_rollouts(ctx, train):
    ctx.config.sorm.balance = False
    _, items = train(RECORDS)
    assert items == [
        ("a?", ["a0 step 0", "a0 step 1"], [0.0, 0.0], [1.0, 1.0]),
        ("a?", ["a1 step 0", "a1 step 1", "a1 step 2"], [1.0, 0.0, 0.0], [1.0] * 3),
        ("b?", ["b0 step 0", "b0 step 1", "b0 step 2"], [1.0, 1.0, 0.0], [1.0] * 3),
    ]
    assert all(type(label) is float for _, _, labels, _ in items for label in labels)


def test_each_prefix_length_has_as_many_good_as_bad_labels(ctx, train):
    counts, items = train(RECORDS)
    for step in range(3):
        kept = [
            labels[step] for _, _, labels, weights in items if len(labels) > step and weights[step]
        ]
        assert kept.count(0.0) == kept.count(1.0) == (1 if step < 2 else 0)
    assert [c["kept"] for c in counts["balance"]] == [2, 2, 0]
    assert all(any(weights) for *_, weights in items)  # what has no weight left is not trained on


def test_the_choice_does_not_depend_on_the_order_of_the_records(ctx, train):
    many = [record(q, i, [i % 2, int(q < "c")]) for q in "abcd" for i in range(4)]
    assert train(many)[1] == train(many[::-1])[1]


def test_nothing_left_after_balancing(ctx, train):
    with pytest.raises(UserError, match="no prefix length has both good and bad steps"):
        train([record("a", 0, [1, 0]), record("b", 0, [1, 0])])
