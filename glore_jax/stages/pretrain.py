"""Stage `pretrain`: the tiny base from nothing. Only for the embedded task.

Everybody else brings a LLaMA. The base stands for a pretrained language model, so it reads a corpus
(`tasks/chains/corpus.py`), not the task's training split, and never a held-out template:

    read      from random weights: arithmetic, problems, slips and their correction
    review    from there, once for each name in `pretrain.reviews`: the same corpus and drafts that
              the model before this review wrote, greedily and sampled, to problems of the corpus,
              judged and corrected

    random ─► read ─► hf ─► drafts ─► review 1 ─► hf ─► drafts ─► review 2 ─► ... ─► pretrain/hf

All along it has a value head, which is thrown away in the end.
"""

import dataclasses
import functools
import random
from collections.abc import Callable, Sequence

from etils import epath
from flax import nnx

from glore_jax.errors import UserError
from glore_jax.models import hf_export, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model, Start
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models, rewards, training
from glore_jax.stages.context import Context
from glore_jax.stages.corpus_batches import CorpusBatches
from glore_jax.stages.corpus_tokenizer import make_tokenizer
from glore_jax.tasks.base import ANSWER_MARK
from glore_jax.tasks.chains import corpus, splits
from glore_jax.tasks.chains.chain import to_problem
from glore_jax.tasks.chains.difficulty import difficulty_of
from glore_jax.training import losses


def run(ctx: Context) -> dict:
    task = ctx.config.task.name
    if task != "chains":
        raise UserError(f"stage pretrain makes the base of the task chains, not of {task}")
    counts = {"read": _once(ctx, "read", functools.partial(read_first, ctx))}
    before = "read"
    for name in ctx.config.pretrain.reviews:
        counts[name] = _once(ctx, name, functools.partial(review, ctx, name, before))
        before = name
    model = models.publish(ctx, "pretrain", before, "bfloat16")
    return counts | {"parameters": model.num_params}


def _once(ctx: Context, name: str, function: Callable[[], dict]) -> dict:
    """Figures of a reading, done once."""
    figures = ctx.step(name, function)
    training.drop_checkpoints(ctx, f"pretrain/{name}")
    return figures


def read_first(ctx: Context) -> dict:
    """The first reading, from random weights."""
    return read(ctx, "read", from_nothing(ctx), drafts=())


def review(ctx: Context, name: str, before: str) -> dict:
    """A reading of the corpus and of drafts by the model `before`, which it goes on from."""
    drafts = write_drafts(ctx, name, before)
    start = rewards.start(ctx, models.policy_start(ctx, "pretrain", before, "hf"))
    figures = read(ctx, name, start, drafts)
    right = sum(draft.first_wrong is None for draft in drafts)
    return figures | {"drafts": len(drafts), "drafts_right": right / len(drafts)}


def from_nothing(ctx: Context) -> Start:
    """A model with a value head and random weights, and the tokenizer of the corpus."""
    config = ctx.config.pretrain
    tokenizer = make_tokenizer(difficulty_of(config.difficulty))
    # Rows of the embedding in whole 32s, which any mesh can divide.
    vocab_size = -(-tokenizer.vocab_size // 32) * 32
    shape = LlamaConfig(vocab_size=vocab_size, **config.model.to_dict())
    return models.random_start(reward, shape, tokenizer, config.seed, ctx.mesh, unroll=True)


def read(ctx: Context, name: str, start: Start, drafts: Sequence[corpus.Draft]) -> dict:
    """One reading of the corpus, as `config.pretrain.NAME` says.

    Leaves `pretrain/NAME/hf`, without the value head, and one such folder on the way each
    `export_every` updates.
    """
    section = ctx.config.pretrain[name]
    folder = f"pretrain/{name}"
    batches = CorpusBatches(start.model.tokenizer, section, ctx.config.pretrain.difficulty, drafts)
    loss = functools.partial(losses.joint_loss, depth=section.depth, share=section.share)

    def export(target: epath.Path, model: Model) -> None:
        policy = model.with_params(model.params["backbone"])
        hf_export.save_policy(target, policy, "bfloat16")

    def snapshot(update: int, params: nnx.State) -> None:
        if update % section.export_every == 0:
            export(ctx.folder(folder, f"hf-{update:06d}"), start.model.with_params(params))

    target = ctx.folder(folder, "hf")
    trained = training.fit(ctx, folder, start, batches, loss, section, export, target, snapshot)

    policy = models.load_policy(ctx, "pretrain", name, "hf")
    drafts_on_dev = generation.greedy(ctx, f"{folder}/dev", policy, ctx.task.load("dev"))
    accuracy = generation.accuracy(drafts_on_dev)
    ctx.say(
        f"pretrain: {accuracy:.3f} greedy accuracy on {len(drafts_on_dev)} dev questions "
        f"after {name}"
    )
    return {"steps": trained.updates, "dev_acc": accuracy, **trained.metrics}


def write_drafts(ctx: Context, name: str, writer: str) -> list[corpus.Draft]:
    """Whole drafts of the model `pretrain/WRITER/hf` on problems of the corpus.

    No two of a problem are the same. As `config.pretrain.NAME.drafts` says; kept under
    `pretrain/NAME`.
    """
    config = ctx.config.pretrain[name].drafts
    base = difficulty_of(ctx.config.pretrain.difficulty)
    difficulty = dataclasses.replace(base, steps=tuple(config.steps))
    chains = [
        splits.draw_for("corpus", random.Random(f"drafts {config.seed} {i}"), difficulty)
        for i in range(config.problems)
    ]
    problems = [to_problem(chain, "corpus", i) for i, chain in enumerate(chains)]
    model = models.load_policy(ctx, "pretrain", writer, "hf")

    likeliest = Sampling(0.0, max_new=config.max_new)
    greedy = generation.sample(ctx, f"pretrain/{name}/greedy", model, problems, likeliest, 1)
    drawn = Sampling(config.temperature, max_new=config.max_new)
    sampled = generation.sample(ctx, f"pretrain/{name}/sampled", model, problems, drawn, config.k)

    chain_of = {problem.id: chain for problem, chain in zip(problems, chains, strict=True)}
    found = {
        (row["question_id"], tuple(row["steps"]))
        for row in greedy + sampled
        if row["ended"] and row["steps"][-1].startswith(ANSWER_MARK)
    }
    return [corpus.Draft(chain_of[question_id], lines) for question_id, lines in sorted(found)]
