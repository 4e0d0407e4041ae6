"""Stage `pretrain`: the tiny base from nothing. Only for the embedded task; everybody else brings a LLaMA.

The base stands for a pretrained language model, so it reads a corpus (`tasks/chains/corpus.py`), not the task's training split,
and never a held-out template. Documents are drawn as they are needed: batch n is a function of (seed, n).
"""

import dataclasses
import random

import jax
import numpy as np
import tokenizers
from tokenizers import decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models

from glore_jax.errors import UserError
from glore_jax.models import hf, llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.stages import common, student
from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.task import difficulty_of
from glore_jax.training import batches as batching
from glore_jax.training import losses

NEEDS = ()
CONFIG = ("seed", "task", "pretrain")

# Digits, marks, newlines and single words (with the space before them) are kept apart; merges happen only inside a word.
_SPLIT = r" ?<<|>>|####|\n|[0-9]| ?[A-Za-z]+|[^\sA-Za-z0-9]|\s"
SPECIALS = ("<s>", "</s>", "[BAD]")


def build_tokenizer(texts) -> Tokenizer:
    """Byte-level BPE over single words, lossless on any text; every digit is a token of its own."""
    tokenizer = tokenizers.Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1024,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=10,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return Tokenizer(tokenizer, bos_id=0, eos_id=1, pad_id=1)


class CorpusBatches:
    """`self[n]`: documents packed into rows, in the form of `training.batches.Batches`.

    `config.batches` names kinds of batch: {name: {rows, row_length, kinds: ((kind of document, share), ...), steps: (low, high)}};
    `config.phases` is ((until, ((name, share), ...)), ...), `until` a share of all steps: which batches are drawn when.
    """

    def __init__(self, tokenizer, config):
        self.tokenizer, self.config = tokenizer, config
        base = difficulty_of(config.difficulty)
        self.difficulty = {
            name: dataclasses.replace(base, steps=tuple(b.steps)) for name, b in config.batches.items()
        }
        largest = max(config.batches.values(), key=lambda b: b.rows * b.row_length)
        self.plan = batching.Plan(1, 0, largest.rows, largest.row_length, config.steps, 1.0, config.seed)

    def __len__(self) -> int:
        return self.config.steps

    def _document(self, kind: str, difficulty, rng: random.Random) -> batching.Example:
        tokens, weights = [self.tokenizer.bos_id], [0.0]
        for text, weight in corpus.document(kind, rng, difficulty):
            piece = self.tokenizer.encode(text)
            tokens += piece
            weights += [weight] * len(piece)
        return batching.Example(
            np.asarray([*tokens, self.tokenizer.eos_id], np.int32), np.asarray([*weights, 1.0], np.float32)
        )

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        c, rng = self.config, random.Random(f"corpus {self.config.seed} {step}")
        shares = next(shares for until, shares in c.phases if step <= until * c.steps)
        name = _draw(rng, shares)
        batch, examples = c.batches[name], []
        room = batch.rows * batch.row_length
        while room > 0:
            example = self._document(_draw(rng, batch.kinds), self.difficulty[name], rng)
            if len(example.tokens) <= batch.row_length:  # the few longer ones are left out
                examples.append(example)
                room -= len(example.tokens)
        layout = batching.pack_into(examples, batch.rows, batch.row_length)
        return batching.assemble(examples, layout, batch.rows, batch.row_length)


def _draw(rng: random.Random, shares) -> str:
    names, weights = zip(*shares, strict=True)
    return rng.choices(names, weights)[0]


def run(ctx) -> dict:
    config = ctx.config.pretrain
    if ctx.config.task.name != "chains":
        raise UserError(f"stage pretrain makes the base of the task chains, not of {ctx.config.task.name}")
    texts = (
        "".join(
            text
            for text, _ in corpus.document(
                kind, random.Random(f"tokenizer {i}"), difficulty_of(config.difficulty)
            )
        )
        for kind in corpus.KINDS
        for i in range(1500)
    )
    tokenizer = build_tokenizer(texts)
    size = -(-tokenizer.vocab_size // 32) * 32
    model_config = LlamaConfig(vocab_size=size, **config.model.to_dict())
    batches = CorpusBatches(tokenizer, config)
    graphdef, params = common.init_sharded(llama.init, model_config, config.seed, ctx.mesh, unroll=True)

    def snapshot(step, params):
        if step % config.export_every == 0:
            hf.save_policy(
                ctx.folder("pretrain", f"hf-{step:06d}"), model_config, params, tokenizer, "bfloat16"
            )

    trained = common.fit(
        ctx,
        "pretrain",
        graphdef,
        params,
        batches,
        losses.language_loss,
        config,
        model_config,
        on_step=snapshot,
    )
    hf.save_policy(ctx.folder("pretrain", "hf"), model_config, trained.params, tokenizer, "bfloat16")
    common.drop_checkpoints(ctx, "pretrain")
    dev = student.greedy(ctx, "pretrain/dev", common.load_policy(ctx, "pretrain", "hf"), ctx.task.load("dev"))
    ctx.say(f"pretrain: {common.accuracy(dev):.3f} greedy accuracy on {len(dev)} dev questions")
    return {
        "steps": trained.steps,
        "parameters": int(sum(x.size for x in jax.tree.leaves(trained.params))),
        "dev_acc": common.accuracy(dev),
        **trained.metrics,
    }
