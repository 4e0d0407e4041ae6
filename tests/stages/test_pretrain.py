"""The corpus of the tiny base as batches, and a tokenizer that loses nothing."""

import random
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.stages import pretrain
from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.task import difficulty_of

DIFFICULTY = ConfigDict(
    dict(
        steps=(1, 3), operand=(3, 99), factor=(2, 9), max_value=999, distractors=0.4, shuffle=0.25, addends=3
    )
)


@pytest.fixture(scope="module")
def texts():
    difficulty = difficulty_of(DIFFICULTY)
    return [
        "".join(text for text, _ in corpus.document(kind, random.Random(i), difficulty))
        for kind in corpus.KINDS
        for i in range(60)
    ]


@pytest.fixture(scope="module")
def tokenizer(texts):
    return pretrain.build_tokenizer(texts)


def test_tokenizer_gives_back_every_document(tokenizer, texts):
    assert all(tokenizer.decode(tokenizer.encode(text)) == text for text in texts)


def test_tokenizer_gives_back_any_text(tokenizer):
    @hypothesis.settings(deadline=None, max_examples=200)
    @hypothesis.given(st.text())
    @hypothesis.example("«ß» 水 🙂 \x00\r\n\t  e\u0301 ٣ #### [BAD] 12")
    def check(text):
        hypothesis.assume("<s>" not in text and "</s>" not in text)
        assert tokenizer.decode(tokenizer.encode(text)) == text

    check()


@pytest.mark.parametrize("text", ["1234567890", "<<12+345=357>>357", "#### 41", "Ben has 22 pies."])
def test_every_digit_is_a_token(tokenizer, text):
    pieces = [tokenizer.decode([i]) for i in tokenizer.encode(text)]
    assert "".join(pieces) == text
    assert [p for p in pieces if any(c.isdigit() for c in p)] == [c for c in text if c.isdigit()]


@pytest.mark.parametrize("verdict", [corpus.OK, corpus.NO])
def test_a_verdict_is_one_token_between_newlines(tokenizer, verdict):
    """So it is predicted whole at the newline that closes a step, where a reward model is read."""
    newline = tokenizer.encode("\n")
    assert len(newline) == 1
    line = tokenizer.encode(f"#### 12\n{verdict}\n")
    assert line == [*tokenizer.encode("#### 12"), *newline, *tokenizer.encode(verdict), *newline]
    assert len(tokenizer.encode(verdict)) == 1


def test_special_tokens(tokenizer):
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.bad_id) == (0, 1, 2)
    assert tokenizer.encode("[BAD]2") == [2, *tokenizer.encode("2")]


CONFIG = ConfigDict(
    dict(
        seed=7,
        steps=40,
        difficulty=DIFFICULTY,
        batches=dict(
            short=dict(rows=3, row_length=64, steps=(1, 1), kinds=(("facts", 0.5), ("solved", 0.5))),
            long=dict(rows=2, row_length=256, steps=(2, 3), kinds=(("corrected", 1.0),)),
        ),
        phases=((0.25, (("short", 1.0),)), (0.5, (("short", 0.5), ("long", 0.5))), (1.0, (("long", 1.0),))),
    )
)


@pytest.fixture(scope="module")
def batches(tokenizer):
    return pretrain.CorpusBatches(tokenizer, CONFIG)


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_batch_is_a_function_of_its_number(batches, tokenizer):
    later = pretrain.CorpusBatches(tokenizer, CONFIG)
    found = {n: later[n] for n in (30, 3, 12, 4)}
    assert all(same(found[n], batches[n]) for n in found)
    assert not same(found[3], found[4])


def test_another_seed_gives_other_batches(batches, tokenizer):
    config = CONFIG.copy_and_resolve_references()
    config.seed = 8
    assert not same(pretrain.CorpusBatches(tokenizer, config)[3], batches[3])


def test_phases_say_which_batches_are_drawn_when(batches):
    kinds = [{(3, 64): "short", (2, 256): "long"}[batches[n]["tokens"].shape] for n in range(len(batches))]
    assert len(kinds) == 40
    assert (
        set(kinds[:11]) == {"short"}
        and set(kinds[11:21]) == {"short", "long"}
        and set(kinds[21:]) == {"long"}
    )


def test_rows_hold_whole_documents(batches, tokenizer):
    batch = batches[30]
    for tokens, segments in zip(batch["tokens"], batch["segments"]):
        for segment in range(1, segments.max() + 1):
            document = tokens[segments == segment].tolist()
            assert document[0] == tokenizer.bos_id and document[-1] == tokenizer.eos_id
            text = tokenizer.decode(document)
            assert text.count("Correction:\n") == 1 and text.count("####") == 2
    assert (batch["segments"] > 0).mean() > 0.5


def test_the_end_of_a_document_has_its_whole_weight(batches, tokenizer):
    for n in (3, 30):
        batch = batches[n]
        ends = batch["targets"] == tokenizer.eos_id
        assert ends.any() and (batch["weights"][ends] == 1.0).all()
        at = batch["segments"] > 0
        assert (batch["weights"][~at] == 0).all() and len(
            np.unique(batch["weights"][at])
        ) > 2  # 0, faint, whole


def test_only_chains_have_a_base_of_their_own():
    ctx = SimpleNamespace(config=ConfigDict({"task": {"name": "gsm8k"}, "pretrain": {}}))
    with pytest.raises(UserError, match="makes the base of the task chains, not of gsm8k"):
        pretrain.run(ctx)
