"""Stage `pretrain`: the tiny base from nothing. Only for the embedded task; everybody else brings a LLaMA.

The base stands for a pretrained language model, so it reads a corpus (`tasks/chains/corpus.py`), not the task's training split,
and never a held-out template:

    read    from random weights: arithmetic, problems, slips and their correction
    review  from there, once for each name in `pretrain.reviews`: the same corpus and drafts that the model before this review wrote,
            greedily and sampled, to problems of the corpus, judged and corrected

All along it has a value head, which is thrown away in the end. Documents are drawn as they are needed: batch n is a function
of (seed, n, drafts).
"""

import dataclasses
import functools
import random

import numpy as np
import tokenizers
from tokenizers import decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models

from glore_jax.errors import UserError
from glore_jax.models import hf_export, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import BAD, Tokenizer
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models, rewards, training
from glore_jax.tasks.chains import corpus, splits
from glore_jax.tasks.chains.chain import to_problem
from glore_jax.tasks.chains.difficulty import difficulty_of
from glore_jax.training import batches as batching
from glore_jax.training import losses

# Digits, marks, newlines and single words (with the space before them) are kept apart; merges happen only inside a word.
_SPLIT = r" ?<<|>>|####|\n|[0-9]| ?[A-Za-z]+|[^\sA-Za-z0-9]|\s"
SPECIALS = ("<s>", "</s>", BAD)


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
    `config.phases` is ((until, ((name, share), ...), judging), ...), `until` a share of all steps: which batches are drawn when,
    and how much of the loss judging the work has: `judging` names a section of `config.judging`.

    In that section, `weight` is the share of the value head in the loss, `slip`, `after` and `newline` are what the first
    wrong token, those after it and the ends of lines count there, where a right one counts 1. If all count alike, nothing is learned: most
    labels can be guessed from their place, and that a text differs from what was to be expected shows at one token only.
    """

    def __init__(self, tokenizer, config, difficulty, drafts: list[corpus.Draft] = ()):
        self.tokenizer, self.config = tokenizer, config
        (self.newline,) = tokenizer.encode("\n")
        self.wrong = [d for d in drafts if d.first_wrong is not None]
        self.right = [d for d in drafts if d.first_wrong is None]
        asked = {kind for b in config.batches.values() for kind, _ in b.kinds}
        if asked.intersection(corpus.KINDS_OF_DRAFTS) and not (self.right and self.wrong):
            raise UserError(
                f"the base wrote {len(self.right)} right and {len(self.wrong)} wrong drafts; a review needs both: "
                "raise pretrain.read.steps, or problems in its section drafts"
            )
        base = difficulty_of(difficulty)
        self.difficulty = {
            name: dataclasses.replace(base, steps=tuple(b.steps))
            for name, b in config.batches.items()
        }
        largest = max(config.batches.values(), key=lambda b: b.rows * b.row_length)
        self.plan = batching.Plan(
            1, 0, largest.rows, largest.row_length, config.steps, 1.0, config.seed
        )

    def __len__(self) -> int:
        return self.config.steps

    def _document(
        self, kind: str, difficulty, judging, rng: random.Random
    ) -> tuple[batching.Example, batching.Example]:
        """A document as an example for the language model and one for the value head."""
        tokens, weights, labels, judged = [self.tokenizer.bos_id], [0.0], [0.0], [0.0]
        right_before = True
        for part in self._parts(kind, difficulty, rng):
            piece = self.tokenizer.encode(part.text)
            tokens += piece
            weights += [part.weight] * len(piece)
            labels += [part.right or 0.0] * len(piece)
            if part.right is None:
                judged += [0.0] * len(piece)
            else:
                usual = 1.0 if part.right else judging.after
                counts = [judging.newline if t == self.newline else usual for t in piece]
                if right_before and not part.right:
                    counts[0] = judging.slip
                judged += counts
            right_before = part.right != 0.0
        tokens = np.asarray([*tokens, self.tokenizer.eos_id], np.int32)
        weights, labels, judged = (
            np.asarray([*values, end], np.float32)
            for values, end in ((weights, 1), (labels, 0), (judged, 0))
        )
        return batching.Example(tokens, weights), batching.Example(tokens, judged, labels)

    def _parts(self, kind: str, difficulty, rng: random.Random) -> corpus.Document:
        if kind not in corpus.KINDS_OF_DRAFTS:
            return corpus.document(kind, rng, difficulty)
        wrong = rng.random() < self.config.wrong[kind]
        return corpus.of_draft(kind, rng, rng.choice(self.wrong if wrong else self.right))

    def __getitem__(self, step: int) -> batching.Batch:
        c, rng = self.config, random.Random(f"corpus {self.config.seed} {step}")
        shares, judging = next(phase[1:] for phase in c.phases if step <= phase[0] * c.steps)
        name, judging = _draw(rng, shares), c.judging[judging]
        batch, documents = c.batches[name], []
        room = batch.rows * batch.row_length
        while room > 0:
            document = self._document(_draw(rng, batch.kinds), self.difficulty[name], judging, rng)
            length = len(document[0].tokens)
            if length <= batch.row_length:  # the few longer ones are left out
                documents.append(document)
                room -= length
        written, judged = map(list, zip(*documents, strict=True))
        layout = batching.pack_into(written, batch.rows, batch.row_length)
        values = batching.assemble(judged, layout, batch.rows, batch.row_length)
        return dataclasses.replace(
            batching.assemble(written, layout, batch.rows, batch.row_length),
            labels=values.labels,
            label_weights=values.weights,
            judging=np.full(batch.rows, judging.weight, np.float32),
        )


def _draw(rng: random.Random, shares) -> str:
    names, weights = zip(*shares, strict=True)
    return rng.choices(names, weights)[0]


def make_tokenizer(difficulty) -> Tokenizer:
    texts = (
        "".join(
            part.text for part in corpus.document(kind, random.Random(f"tokenizer {i}"), difficulty)
        )
        for kind in corpus.KINDS
        for i in range(1500)
    )
    return build_tokenizer(texts)


def run(ctx) -> dict:
    config = ctx.config.pretrain
    if ctx.config.task.name != "chains":
        raise UserError(
            f"stage pretrain makes the base of the task chains, not of {ctx.config.task.name}"
        )
    tokenizer = make_tokenizer(difficulty_of(config.difficulty))
    size = -(-tokenizer.vocab_size // 32) * 32
    model_config = LlamaConfig(vocab_size=size, **config.model.to_dict())

    def from_nothing() -> dict:
        fresh = models.init_sharded(
            reward, model_config, tokenizer, config.seed, ctx.mesh, unroll=True
        )
        return read(ctx, "read", fresh, ())

    def from_drafts(name: str, before: str) -> dict:
        drafts = write_drafts(ctx, name, before)
        start = rewards.fresh(ctx, models.load_policy(ctx, "pretrain", before, "hf", training=True))
        right = sum(d.first_wrong is None for d in drafts) / len(drafts)
        return read(ctx, name, start, drafts) | {"drafts": len(drafts), "drafts_right": right}

    counts, before = {"read": ctx.step("read", from_nothing)}, "read"
    for name in config.reviews:
        counts[name] = ctx.step(name, functools.partial(from_drafts, name, before))
        before = name
    model = models.publish(ctx, "pretrain", before, "bfloat16")
    return counts | {"parameters": model.num_params}


def read(ctx, name: str, model: Model, drafts) -> dict:
    """One reading of the corpus, as `config.pretrain.NAME` says; leaves `pretrain/NAME/hf`, without the value head."""
    section = ctx.config.pretrain[name]
    batches = CorpusBatches(model.tokenizer, section, ctx.config.pretrain.difficulty, drafts)
    loss = functools.partial(losses.joint_loss, depth=section.depth, share=section.share)
    folder = f"pretrain/{name}"

    def export(where: str, params):
        policy = model.with_params(params["backbone"])
        hf_export.save_policy(ctx.folder(folder, where), policy, "bfloat16")

    def snapshot(step, params):
        if step % section.export_every == 0:
            export(f"hf-{step:06d}", params)

    trained = training.fit(ctx, folder, model, batches, loss, section, on_update=snapshot)
    export("hf", trained.model.params)
    training.drop_checkpoints(ctx, folder)
    dev = generation.greedy(
        ctx, f"{folder}/dev", models.load_policy(ctx, "pretrain", name, "hf"), ctx.task.load("dev")
    )
    ctx.say(
        f"pretrain: {generation.accuracy(dev):.3f} greedy accuracy on {len(dev)} dev questions after {name}"
    )
    return {"steps": trained.updates, "dev_acc": generation.accuracy(dev), **trained.metrics}


def write_drafts(ctx, name: str, writer: str) -> list[corpus.Draft]:
    """Whole drafts of the model `pretrain/WRITER/hf` on problems of the corpus, no two of a problem the same, as
    `config.pretrain.NAME.drafts` says; kept under `pretrain/NAME`."""
    c, base = ctx.config.pretrain[name].drafts, difficulty_of(ctx.config.pretrain.difficulty)
    difficulty = dataclasses.replace(base, steps=tuple(c.steps))
    chains = [
        splits.draw_for("corpus", random.Random(f"drafts {c.seed} {i}"), difficulty)
        for i in range(c.problems)
    ]
    problems = [to_problem(chain, "corpus", i) for i, chain in enumerate(chains)]
    model = models.load_policy(ctx, "pretrain", writer, "hf")
    greedy = generation.sample(
        ctx, f"pretrain/{name}/greedy", model, problems, Sampling(0.0, max_new=c.max_new), 1
    )
    sampling = Sampling(c.temperature, max_new=c.max_new)
    sampled = generation.sample(ctx, f"pretrain/{name}/sampled", model, problems, sampling, c.k)
    by_id = {problem.id: chain for problem, chain in zip(problems, chains, strict=True)}
    found = {
        (row["question_id"], tuple(row["steps"]))
        for row in greedy + sampled
        if row["ended"] and row["steps"][-1].startswith("####")
    }
    return [corpus.Draft(by_id[name], lines) for name, lines in sorted(found)]
