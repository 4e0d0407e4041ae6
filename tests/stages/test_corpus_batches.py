"""The corpus of the tiny base as batches: a function of their number, with labels where due."""

import random

import jax
import numpy as np
import pytest
import tiny_corpus
from ml_collections import ConfigDict
from tiny_corpus import DIFFICULTY

from glore_jax.errors import UserError
from glore_jax.stages.corpus_batches import CorpusBatches
from glore_jax.stages.corpus_tokenizer import build_tokenizer
from glore_jax.tasks.chains import corpus, splits
from glore_jax.tasks.chains.difficulty import difficulty_of
from glore_jax.tasks.chains.slips import slip

CONFIG = ConfigDict(
    dict(
        seed=7,
        steps=40,
        batches=dict(
            short=dict(
                rows=3, row_length=64, steps=(1, 1), kinds=(("facts", 0.5), ("solved", 0.5))
            ),
            long=dict(rows=2, row_length=256, steps=(2, 3), kinds=(("corrected", 1.0),)),
        ),
        phases=(
            (0.25, (("short", 1.0),), "none"),
            (0.5, (("short", 0.5), ("long", 0.5)), "none"),
            (1.0, (("long", 1.0),), "slips"),
        ),
        judging=dict(
            none=dict(weight=0.0, slip=1.0, after=1.0, newline=1.0),
            slips=dict(weight=0.5, slip=20.0, after=0.25, newline=4.0),
        ),
    )
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(tiny_corpus.documents())


@pytest.fixture(scope="module")
def batches(tokenizer):
    return CorpusBatches(tokenizer, CONFIG, DIFFICULTY)


def same(a, b) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in pairs)


def test_a_batch_is_a_function_of_its_number(batches, tokenizer):
    later = CorpusBatches(tokenizer, CONFIG, DIFFICULTY)
    found = {n: later[n] for n in (30, 3, 12, 4)}
    assert all(same(found[n], batches[n]) for n in found)
    assert not same(found[3], found[4])


def test_another_seed_gives_other_batches(batches, tokenizer):
    config = CONFIG.copy_and_resolve_references()
    config.seed = 8
    assert not same(CorpusBatches(tokenizer, config, DIFFICULTY)[3], batches[3])


def test_phases_say_which_batches_are_drawn_when(batches):
    kinds = [
        {(3, 64): "short", (2, 256): "long"}[batches[n].tokens.shape] for n in range(len(batches))
    ]
    assert len(kinds) == 40
    assert set(kinds[:11]) == {"short"}
    assert set(kinds[11:21]) == {"short", "long"}
    assert set(kinds[21:]) == {"long"}


def test_rows_hold_whole_documents(batches, tokenizer):
    batch = batches[30]
    for tokens, segments in zip(batch.tokens, batch.segments):
        for segment in range(1, segments.max() + 1):
            document = tokens[segments == segment].tolist()
            assert document[0] == tokenizer.bos_id and document[-1] == tokenizer.eos_id
            text = tokenizer.decode(document)
            assert text.count("Correction:\n") == 1 and text.count("####") == 2
    assert (batch.segments > 0).mean() > 0.5


def test_the_end_of_a_document_has_its_whole_weight(batches, tokenizer):
    for n in (3, 30):
        batch = batches[n]
        ends = batch.targets == tokenizer.eos_id
        assert ends.any() and (batch.weights[ends] == 1.0).all()
        at = batch.segments > 0
        assert (batch.weights[~at] == 0).all()
        assert len(np.unique(batch.weights[at])) > 2  # 0, faint, whole


def documents_of(batch):
    """Each document's slice of (tokens, labels, label weights)."""
    for row, segments in enumerate(batch.segments):
        for segment in range(1, segments.max() + 1):
            at = segments == segment
            yield tuple(getattr(batch, k)[row][at] for k in ("tokens", "labels", "label_weights"))


def test_labels_lie_on_judged_tokens_alone(batches, tokenizer):
    """Right up to a slip and wrong after it; nothing on questions, corrections and padding."""
    batch = batches[30]
    assert not batch.label_weights[batch.segments == 0].any()
    assert not batch.labels[batch.label_weights == 0].any()
    for tokens, labels, weights in documents_of(batch):
        judged = weights > 0
        text, draft = tokenizer.decode(tokens.tolist()), tokenizer.decode(tokens[judged].tolist())
        assert text.split("\n", 1)[1].startswith(draft + "\nCorrection:\n")
        assert set(labels) <= {0, 1} and (np.diff(labels[judged]) <= 0).all()  # never right again


def test_a_slip_and_the_ends_of_lines_count_more(batches, tokenizer):
    (newline,), slips = tokenizer.encode("\n"), 0
    for tokens, labels, weights in documents_of(batches[30]):
        judged = weights > 0
        tokens, labels, weights = tokens[judged], labels[judged], weights[judged]
        wrong = np.flatnonzero(labels == 0)
        expected = np.where(labels == 1, 1.0, 0.25)
        expected[tokens == newline] = 4.0
        expected[wrong[:1]] = 20.0
        assert np.array_equal(weights, expected)
        slips += len(wrong) > 0
    assert slips
    assert batches[30].judging.tolist() == [0.5, 0.5] and not batches[3].judging.any()


def test_own_drafts_are_read_in_the_wanted_shares(tokenizer):
    chains = [
        splits.draw_for("corpus", random.Random(i), difficulty_of(DIFFICULTY)) for i in range(40)
    ]
    drafts = [
        corpus.Draft(c, c.solution() if i % 4 == 0 else slip(c, random.Random(i))[0])
        for i, c in enumerate(chains)
    ]
    config = CONFIG.copy_and_resolve_references()
    config.wrong = ConfigDict(dict(reviewed=0.5, redone=1.0))
    config.batches.long.kinds = (("reviewed", 0.5), ("redone", 0.5))
    batches = CorpusBatches(tokenizer, config, DIFFICULTY, drafts)
    assert same(batches[30], batches[30])
    right = {"\n".join(chain.solution()) + "\n" for chain in chains}
    wrong, redone = [], 0
    for n in range(20, 40):
        for tokens, labels, weights in documents_of(batches[n]):
            text = tokenizer.decode(tokens.tolist())
            if "Correction:\n" in text:
                redone += 1
                draft = text.split("\n", 1)[1].split("Correction:\n")[0].replace("[BAD]", "")
                assert draft not in right and not weights.any()
            elif weights.any():
                wrong.append(not labels[weights > 0].all())
    assert redone > 10 and 0.3 < np.mean(wrong) < 0.7
    with pytest.raises(UserError, match="the base wrote 10 right and 0 wrong drafts"):
        CorpusBatches(tokenizer, config, DIFFICULTY, drafts[::4])
