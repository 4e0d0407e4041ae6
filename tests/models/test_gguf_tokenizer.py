"""Tokenizers rebuilt from the metadata of a GGUF file."""

import json

import pytest
import tokenizers

from glore_jax.errors import UserError
from glore_jax.models import gguf_tokenizer

TEXTS = [
    "Rosa has 22 pies, and Ben has 10 more.\n#### 32",
    "  two spaces,\n\nan empty line; it's 1,000 = 10^3 …",
]


def values(model, tokens, **more):
    keys = {f"tokenizer.ggml.{key}": value for key, value in more.items()}
    return {"tokenizer.ggml.model": model, "tokenizer.ggml.tokens": tokens, **keys}


@pytest.fixture(scope="module")
def of_bytes():
    """A byte-level BPE that learned to merge, digits apart."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            tokenizers.pre_tokenizers.Digits(individual_digits=True),
            tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<end>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    return backend


def described(backend, **more):
    """The metadata of a byte-level BPE."""
    vocab = backend.get_vocab()
    merges = [" ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]
    tokens = sorted(vocab, key=vocab.get)
    kinds = [3 if token == "<end>" else 1 for token in tokens]
    return values("gpt2", tokens, token_type=kinds, merges=merges, eos_token_id=0, **more)


def test_bytes(of_bytes):
    theirs = gguf_tokenizer.from_values(described(of_bytes, pre="smollm"))
    for text in (*TEXTS, "a<end>b"):
        assert theirs.encode(text) == of_bytes.encode(text).ids
        assert theirs.decode(theirs.encode(text)) == text
    assert theirs.eos_token == "<end>" and theirs.bos_token is None


def test_sentencepiece():
    """Merges come from scores; bytes stand in for what has no token."""
    alphabet = ["▁", *"abehlosR"]
    merged = ["▁h", "as", "▁has", "os", "▁R", "osa", "▁Rosa"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *alphabet, *merged]
    kinds = [2, 3, 3, *[6] * 256, *[1] * (len(alphabet) + len(merged))]
    scores = [0.0] * (259 + len(alphabet)) + [-1.0 - i for i in range(len(merged))]
    ids = dict(bos_token_id=1, eos_token_id=2, unknown_token_id=0)
    described = values("llama", tokens, token_type=kinds, scores=scores, **ids)
    theirs = gguf_tokenizer.from_values(described)
    number = {token: i for i, token in enumerate(tokens)}
    words = [number["▁Rosa"], number["▁has"], number["▁"], number["<0x32>"]]
    assert theirs.encode("Rosa has 2") == [1, *words]
    assert theirs.decode(words) == "Rosa has 2"
    without = gguf_tokenizer.from_values(described | {"tokenizer.ggml.add_bos_token": False})
    assert without.encode("Rosa has 2") == words


def test_merges_are_ordered_by_the_score_of_what_they_make():
    vocab = {"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
    scores = [0.0, 0.0, -2.0, -1.0, -3.0]
    expected = [("b", "a"), ("a", "b"), ("a", "ba"), ("ab", "a")]
    assert gguf_tokenizer.merges_of(vocab, scores) == expected


def test_a_template_of_chats_is_kept(of_bytes):
    said = described(of_bytes) | {"tokenizer.chat_template": "{{ messages }}"}
    assert gguf_tokenizer.from_values(said).chat_template == "{{ messages }}"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, "no tokenizer"),
        (values("bert", ["a"]), "bert"),
        (values("gpt2", ["a"], pre="chameleon"), "chameleon"),
    ],
)
def test_refusals(said, named):
    with pytest.raises(UserError, match=named):
        gguf_tokenizer.from_values(said)
