"""Which problems belong to which split."""

import random

from chain_config import SIZE, make_config

from glore_jax.tasks.chains import corpus, splits, world
from glore_jax.tasks.chains.difficulty import difficulty_of


def test_splits_share_no_question(problems):
    questions = {split: {p.question for p in rows} for split, rows in problems.items()}
    # None twice within a split either.
    assert {split: len(q) for split, q in questions.items()} == SIZE
    assert len(set().union(*questions.values())) == sum(SIZE.values())


def test_corpus_shares_no_question_with_a_split():
    """By construction: disjoint buckets, and no held-out template outside of its split."""
    task_splits = ("train", "dev", "test")
    for split in task_splits:
        for other in ("corpus", *task_splits):
            assert other == split or not set(splits.BUCKETS[split]) & set(splits.BUCKETS[other])
    difficulty = difficulty_of(make_config())
    for i in range(100):
        for part in corpus.document("solved", random.Random(i), difficulty)[:1]:
            assert splits.bucket(part.text.rstrip("\n")) in splits.BUCKETS["corpus"]


def test_held_out_templates_occur_in_their_split_only(problems, chains):
    held_out = {"/".join(template) for template in world.HELD_OUT}
    for split, rows in problems.items():
        templates = {p.facts["template"] for p in rows}
        assert templates <= held_out if split == "test_templates" else not templates & held_out
    assert {p.facts["template"] for p in problems["test_templates"]} == held_out
    assert not {f"{c.family}/{c.kind}" for c in chains} & held_out
