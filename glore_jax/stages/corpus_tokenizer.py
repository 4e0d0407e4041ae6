"""The tokenizer of the tiny base: byte-level BPE, learned from its corpus, lossless on any text.

    "Ben has 22 pies.\\n"  ─►  "Ben" " has" " " "2" "2" " pies" "." "\\n"

Digits, marks, newlines and single words (with the space before them) are kept apart; merges happen
only inside a word, so every digit is a token of its own.
"""

import random
from collections.abc import Iterable

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from glore_jax.models.tokenizer import BAD, Tokenizer
from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.difficulty import Difficulty

SPECIALS = ("<s>", "</s>", BAD)  # ids 0, 1, 2
VOCAB_SIZE = 1024  # at most
DOCUMENTS = 1500  # of each kind, to learn from

# What stays together before merging: calculator marks, the answer mark, a newline, a digit, a word,
# or any other single character.
_SPLIT = r" ?<<|>>|####|\n|[0-9]| ?[A-Za-z]+|[^\sA-Za-z0-9]|\s"


def make_tokenizer(difficulty: Difficulty) -> Tokenizer:
    """The tokenizer learned from a fixed sample of the corpus, each document from its own seed."""
    return build_tokenizer(
        "".join(part.text for part in corpus.document(kind, rng, difficulty))
        for kind in corpus.KINDS
        for rng in (random.Random(f"tokenizer {i}") for i in range(DOCUMENTS))
    )


def build_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learns a tokenizer from `texts`."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=10,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    bos, eos = SPECIALS.index("<s>"), SPECIALS.index("</s>")
    return Tokenizer(tokenizer, bos_id=bos, eos_id=eos, pad_id=eos)
