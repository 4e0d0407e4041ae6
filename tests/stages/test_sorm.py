"""What the stepwise reward model learns from."""

import pytest
import some_records

from glore_jax.errors import UserError
from glore_jax.records import LabelledDraft, Sample
from glore_jax.stages import looks, rewards, sorm


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
    """train(records, cut_off=()) -> (counts of the stage, items that it trains on).

    cut_off: (question, sample id) of the drafts that ran out of length.
    """
    asked = []
    ctx.config.sorm.held_out = 0.0

    def train_reward(ctx, name, items, section, target):
        items = list(items)
        assert (name, section, target) == ("sorm/train", ctx.config.sorm, "sorm/hf")
        asked.append(items)
        return {"solutions": len(items)}

    def look(ctx, name, folder, section, drafts):
        return {"of": (name, folder, section), "drafts": list(drafts)}

    def go(records, cut_off=()):
        some_records.write(ctx.folder("rollout", "records"), 0, LabelledDraft, records)
        ids = [(r["question_id"], r["sample_id"]) for r in records]
        samples = [
            {"question_id": q, "sample_id": i, "ended": (q, i) not in cut_off} for q, i in ids
        ]
        some_records.write(ctx.folder("sample", "records"), 0, Sample, samples)
        return sorm.run(ctx), asked[-1]

    monkeypatch.setattr(rewards, "train_reward", train_reward)
    monkeypatch.setattr(looks, "look", look)
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


@pytest.mark.parametrize("balanced", [False, True])
def test_a_line_that_was_cut_off_is_neither_good_nor_bad(ctx, train, balanced):
    ctx.config.sorm.balance = balanced
    many = [record(q, i, [1, i]) for q in "abc" for i in range(2)]
    counts, items = train(many, cut_off={("b", 0)})
    (b0,) = [item for item in items if item.steps[0] == "b0 step 0"] or [None]
    assert counts["cut_off_steps"] == 1
    if not balanced:
        assert b0 == ("b?", ["b0 step 0", "b0 step 1"], [1.0, 0.0], [1.0, 0.0])
    kept = [labels[1] for _, _, labels, weights in items if weights[1]]
    # It takes no part in the balance either: two bad ones are left, so two good ones stay.
    assert sorted(kept) == ([0.0, 0.0, 1.0, 1.0] if balanced else [0.0, 0.0, 1.0, 1.0, 1.0])


def test_questions_that_are_held_out_are_not_learned_but_looked_at(ctx, train, monkeypatch):
    monkeypatch.setattr(sorm, "is_held_out", lambda seed, question, share: question == "b")
    ctx.config.sorm.balance = False
    counts, items = train(RECORDS, cut_off={("b", 0)})
    assert {item.question for item in items} == {"a?"}
    (draft,) = counts["looks"]["drafts"]
    assert draft == ("b?", RECORDS[0]["completions"], [1.0, 1.0, 0.0], [1.0, 1.0, 0.0])


def test_the_choice_does_not_depend_on_the_order_of_the_records(ctx, train):
    many = [record(q, i, [i % 2, int(q < "c")]) for q in "abcd" for i in range(4)]
    assert train(many)[1] == train(many[::-1])[1]


def test_nothing_left_after_balancing(ctx, train):
    with pytest.raises(UserError, match="no prefix length has both good and bad steps"):
        train([record("a", 0, [1, 0]), record("b", 0, [1, 0])])
