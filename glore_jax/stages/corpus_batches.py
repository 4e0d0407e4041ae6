"""The corpus of the tiny base as batches: documents drawn as they are needed, packed into rows.

    batch n ─► phase that n lies in ─► kind of batch ─► kinds of documents ─► rows

Batch n is a function of (seed, n, drafts) alone, so a restart needs only the number of the update.
Each document is two examples on the same tokens, one for the language model (weights) and one for
the value head (labels, label weights).
"""

import dataclasses
import random
from collections.abc import Sequence

import numpy as np

from glore_jax import storage
from glore_jax.config import AnyConfig
from glore_jax.errors import UserError
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.tasks.chains import corpus
from glore_jax.tasks.chains.difficulty import Difficulty, difficulty_of
from glore_jax.training import batches as batching
from glore_jax.training.examples import Example

Shares = Sequence[tuple[str, float]]  # (name, how often it is drawn)


class CorpusBatches:
    """`self[n]`: documents packed into rows, in the form of `training.batches.Batches`.

    `config.batches` names kinds of batch:

        {name: {rows, row_length, kinds: ((kind of document, share), ...), steps: (low, high)}}

    `config.phases` says which batches are drawn when, `until` a share of all updates:

        ((until, ((name, share), ...), judging), ...)

    `judging` names a section of `config.judging`. There `weight` is the share of the value head in
    the loss; `slip`, `after` and `newline` are what the first wrong token, those after it and the
    ends of lines count, where a right one counts 1. If all count alike, nothing is learned: most
    labels can be guessed from their place, and that a text differs from what was to be expected
    shows at one token only.

    UserError if a review is asked for and `drafts` are all right, or all wrong.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: AnyConfig,
        difficulty: AnyConfig,
        drafts: Sequence[corpus.Draft] = (),
    ):
        self.tokenizer = tokenizer
        self.config = config
        (self.newline,) = tokenizer.encode("\n")
        self.wrong = [draft for draft in drafts if draft.first_wrong is not None]
        self.right = [draft for draft in drafts if draft.first_wrong is None]
        self._check_drafts()
        base = difficulty_of(difficulty)
        self.difficulty = {
            name: dataclasses.replace(base, steps=tuple(batch.steps))
            for name, batch in config.batches.items()
        }
        largest = max(config.batches.values(), key=lambda batch: batch.rows * batch.row_length)
        self.plan = batching.Plan(
            epochs=1,
            batch_size=0,
            rows=largest.rows,
            row_length=largest.row_length,
            updates_per_epoch=config.steps,
            fill=1.0,
            seed=config.seed,
        )

    def _check_drafts(self) -> None:
        kinds = {kind for batch in self.config.batches.values() for kind, _ in batch.kinds}
        reviews = kinds.intersection(corpus.KINDS_OF_DRAFTS)
        if reviews and not (self.right and self.wrong):
            raise UserError(
                f"the base wrote {len(self.right)} right and {len(self.wrong)} wrong drafts; "
                "a review needs both: raise pretrain.read.steps, or problems in its section drafts"
            )

    def __len__(self) -> int:
        return self.config.steps

    def fingerprint(self) -> str:
        """See `training.batches.BatchSource`: of what the documents are drawn from."""
        drafts = [[draft.chain.question, draft.lines] for draft in (*self.right, *self.wrong)]
        difficulty = {name: vars(each) for name, each in self.difficulty.items()}
        return storage.fingerprint([self.config.to_dict(), difficulty, drafts])

    def __getitem__(self, update: int) -> batching.Batch:
        """Batch number `update`: the language model's arrays, [rows, row_length] each.

        Further `labels` and `label_weights`, float32 [rows, row_length], of the value head, and
        `judging`, float32 [rows], its share in the loss.
        """
        rng = random.Random(f"corpus {self.config.seed} {update}")
        shares, judging = self._phase(update)
        name = _draw(rng, shares)
        batch = self.config.batches[name]
        documents = self._documents(batch, self.difficulty[name], judging, rng)
        written = [for_writing for for_writing, _ in documents]
        judged = [for_judging for _, for_judging in documents]

        layout = batching.pack_into(written, batch.rows, batch.row_length)
        arrays = batching.assemble(written, layout, batch.rows, batch.row_length)
        values = batching.assemble(judged, layout, batch.rows, batch.row_length)
        return dataclasses.replace(
            arrays,
            labels=values.labels,
            label_weights=values.weights,
            judging=np.full(batch.rows, judging.weight, np.float32),
        )

    def _phase(self, update: int) -> tuple[Shares, AnyConfig]:
        """(which batches are drawn, how work is judged) at this update."""
        for until, shares, judging in self.config.phases:
            if update <= until * self.config.steps:
                return shares, self.config.judging[judging]
        raise ValueError(f"update {update} lies behind the last phase")

    def _documents(
        self, batch: AnyConfig, difficulty: Difficulty, judging: AnyConfig, rng: random.Random
    ) -> list[tuple[Example, Example]]:
        """Documents of as many tokens as the rows hold; the packing drops what does not fit."""
        documents = []
        room = batch.rows * batch.row_length
        while room > 0:
            kind = _draw(rng, batch.kinds)
            document = self._document(kind, difficulty, judging, rng)
            length = len(document[0].tokens)
            if length <= batch.row_length:  # the few longer ones are left out
                documents.append(document)
                room -= length
        return documents

    def _document(
        self, kind: str, difficulty: Difficulty, judging: AnyConfig, rng: random.Random
    ) -> tuple[Example, Example]:
        """A document as an example for the language model and one for the value head."""
        tokens = [self.tokenizer.bos_id]
        weights = [0.0]
        labels = [0.0]
        judged = [0.0]
        right_before = True
        for part in self._parts(kind, difficulty, rng):
            piece = self.tokenizer.encode(part.text)
            tokens += piece
            weights += [part.weight] * len(piece)
            labels += [part.right or 0.0] * len(piece)
            judged += self._judging_weights(piece, part.right, right_before, judging)
            right_before = part.right != 0.0
        tokens.append(self.tokenizer.eos_id)
        weights.append(1.0)
        labels.append(0.0)
        judged.append(0.0)
        token_row = np.asarray(tokens, np.int32)
        return (
            Example(token_row, np.asarray(weights, np.float32)),
            Example(token_row, np.asarray(judged, np.float32), np.asarray(labels, np.float32)),
        )

    def _judging_weights(
        self, piece: list[int], right: float | None, right_before: bool, judging: AnyConfig
    ) -> list[float]:
        """What each token of a part counts in the value head's loss."""
        if right is None:  # nothing is claimed there
            return [0.0] * len(piece)
        usual = 1.0 if right else judging.after
        counts = [judging.newline if token == self.newline else usual for token in piece]
        if right_before and not right:
            counts[0] = judging.slip
        return counts

    def _parts(self, kind: str, difficulty: Difficulty, rng: random.Random) -> corpus.Document:
        if kind not in corpus.KINDS_OF_DRAFTS:
            return corpus.document(kind, rng, difficulty)
        wrong = rng.random() < self.config.wrong[kind]
        draft = rng.choice(self.wrong if wrong else self.right)
        return corpus.of_draft(kind, rng, draft)


def _draw(rng: random.Random, shares: Shares) -> str:
    names, weights = zip(*shares, strict=True)
    return rng.choices(names, weights)[0]
