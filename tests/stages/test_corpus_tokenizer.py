"""The tokenizer of the tiny base loses nothing, and every digit is a token."""

import hypothesis
import pytest
import tiny_corpus
from hypothesis import strategies as st

from glore_jax.stages.corpus_tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def texts():
    return tiny_corpus.documents()


@pytest.fixture(scope="module")
def tokenizer(texts):
    return build_tokenizer(texts)


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


def test_special_tokens(tokenizer):
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.bad_id) == (0, 1, 2)
    assert tokenizer.encode("[BAD]2") == [2, *tokenizer.encode("2")]
