"""The published hyperparameters train reward models: they learn what there is to learn.

Everything is as `configs/gsm8k_llama2_7b.py` says, through the stages themselves. Only the model is
a small one with random weights, and the task a toy that its hidden states can tell apart.
"""

import jax
import numpy as np
import pytest
import some_records
import tokenizers
from tiny_llama import fresh

from configs import gsm8k_llama2_7b
from glore_jax import storage
from glore_jax.models import hf_export, hf_import
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.records import Sample
from glore_jax.stages import orm, rewards
from glore_jax.stages.context import Context

QUESTIONS = 280  # of 96 samples each: a hundred updates
GOOD = ["yes"]
BAD = ["no"]


def samples(k):
    for question in range(QUESTIONS):
        for sample_id in range(k):
            correct = (question + sample_id) % 2 == 0
            yield {
                "question_id": f"q{question}",
                "sample_id": sample_id,
                "question": "abcdefgh"[question % 8],
                "steps": GOOD if correct else BAD,
                "correct": correct,
                "ended": True,
                "logprob": -1.0,
            }


def student():
    """One token a word; newlines are none."""
    words = ["<s>", "</s>", "?", *"abcdefgh", "yes", "no"]
    ids = {word: i for i, word in enumerate(words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="?"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = Tokenizer(backend, bos_id=0, eos_id=1)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=32,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        max_positions=32,
    )
    return Model(*fresh(config), config, tokenizer)


@pytest.fixture
def ctx(tmp_path):
    config = gsm8k_llama2_7b.get_config()
    config.engine.tensor = 1  # the chips of a host hold the model together: here there is one
    ctx = Context(config, tmp_path, "orm")
    ctx.mesh = ctx.local_mesh = meshes.single_device_mesh(jax.devices()[0])
    hf_export.save_policy(ctx.folder("student", "hf"), student(), config.model.dtype)
    rows = list(samples(config.sample.k))
    some_records.write(ctx.folder("sample", "records"), 0, Sample, rows)
    manifest = {"records": {"sample/records": [len(rows)]}}
    storage.write_json(ctx.folder("sample", "manifest.json"), manifest)
    return ctx


def test_a_reward_model_learns_in_a_hundred_updates(ctx):
    assert ctx.config.sorm.train.to_dict() == ctx.config.orm.train.to_dict()  # one stands for both
    counts = orm.train(ctx, "plain")
    assert 100 <= counts["steps"] < 105 and not ctx.warnings
    model = hf_import.read_reward_model(ctx.folder("orm", "hf"))
    assert {x.dtype.name for x in jax.tree.leaves(model.params)} == {"float32"}
    texts = [(question, steps) for question in "abcdefgh" for steps in (GOOD, BAD)]
    scores = np.concatenate(rewards.score(ctx, model, texts, "test"))
    assert (scores[::2] > 0.9).all() and (scores[1::2] < 0.1).all(), scores
    looks = counts["looks"]
    assert looks["learned"] and looks["within_pair"] == 1.0 and looks["acc"] == 1.0
