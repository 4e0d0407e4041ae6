"""The tokenizer that a GGUF file describes, built anew: transformers' own way takes PyTorch.

The file has tokens, their kinds, and merges or scores; how a text is cut before the merges it only
names.
"""

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers

from glore_jax.errors import UserError
from glore_jax.models import hf_auto

# `tokenizer.ggml.token_type`
_NORMAL = 1
_CONTROL = 3
_USER_DEFINED = 4

_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_ROLES = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}


def from_values(values: Mapping[str, Any]) -> Any:
    """The tokenizer of a file's metadata, an object of a class of transformers.

    UserError if it is of a kind that is not known, or has no tokens.
    """
    tokens = values.get("tokenizer.ggml.tokens")
    if not tokens:
        raise UserError("has no tokenizer")
    kind = values.get("tokenizer.ggml.model")
    special = {
        role: tokens[number]
        for role, key in _ROLES.items()
        if (number := values.get(f"tokenizer.ggml.{key}_token_id")) is not None
        and number < len(tokens)
    }
    options = special | {"chat_template": values.get("tokenizer.chat_template")}
    vocab = {token: number for number, token in enumerate(tokens)}
    kinds = values.get("tokenizer.ggml.token_type") or [_NORMAL] * len(tokens)
    library = hf_auto.library()
    if kind == "llama":
        options["add_bos_token"] = values.get("tokenizer.ggml.add_bos_token", True)
        options["add_prefix_space"] = values.get("tokenizer.ggml.add_space_prefix", True)
        normal = {t: n for t, n in vocab.items() if kinds[n] == _NORMAL}
        merges = merges_of(normal, values.get("tokenizer.ggml.scores") or [])
        theirs = library.LlamaTokenizer(vocab=vocab, merges=merges, **options)
    elif kind == "gpt2":
        cut = values.get("tokenizer.ggml.pre", "default")
        options["add_bos_token"] = values.get("tokenizer.ggml.add_bos_token", cut == "llama-bpe")
        backend = _of_bytes(vocab, values.get("tokenizer.ggml.merges") or [], cut)
        theirs = library.PreTrainedTokenizerFast(tokenizer_object=backend, **options)
    else:
        raise UserError(f"its tokenizer is of kind {kind!r}; only 'llama' and 'gpt2' are supported")
    backend = theirs.backend_tokenizer
    for wanted in (_CONTROL, _USER_DEFINED):
        names = [token for token, what in zip(tokens, kinds, strict=True) if what == wanted]
        control = wanted == _CONTROL
        added = [tokenizers.AddedToken(name, special=control, normalized=False) for name in names]
        (backend.add_special_tokens if control else backend.add_tokens)(added)
    return theirs


def merges_of(vocab: Mapping[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """The merges of a SentencePiece BPE vocabulary, in the order in which they are made.

    vocab: token -> its number, normal ones alone. scores: by number, the higher the earlier. A
    token is made of any two others that it is the text of.
    """
    found = []
    for token, number in vocab.items():
        for i in range(1, len(token)):
            left, right = vocab.get(token[:i]), vocab.get(token[i:])
            if left is not None and right is not None:
                found.append((-scores[number], left, right, token[:i], token[i:]))
    return [(left, right) for *_, left, right in sorted(found)]


def _of_bytes(vocab: dict[str, int], merges: list[str], cut: str) -> tokenizers.Tokenizer:
    """A byte-level BPE. `cut`: llama.cpp's name of how a text is divided before the merges."""
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    by_words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = pre_tokenizers.Digits(individual_digits=True)
    llama_3 = pre_tokenizers.Split(tokenizers.Regex(_LLAMA_3), "isolated")
    known: dict[str, Any] = {
        "default": by_words,
        "gpt-2": by_words,
        "smollm": pre_tokenizers.Sequence([digits, by_words]),
        "llama-bpe": pre_tokenizers.Sequence([llama_3, whole]),
    }
    if cut not in known:
        names = ", ".join(known)
        raise UserError(f"its tokenizer divides text as {cut!r}; only {names} are supported")
    pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in merges)]
    backend = tokenizers.Tokenizer(models.BPE(vocab, pairs, ignore_merges=cut == "llama-bpe"))
    backend.pre_tokenizer = known[cut]
    backend.decoder = decoders.ByteLevel()
    return backend
