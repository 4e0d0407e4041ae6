"""A work directory in which a stage has ended: a tiny model whose vocabulary is padded."""

import json

import pytest
import tokenizers
from tiny_llama import CONFIG, fresh

from glore_jax.models import hf_export, llama, reward
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer

IDS = 50


@pytest.fixture
def make_model():
    """make_model(module) -> a model with rows for 64 words, of which its tokenizer has 50."""

    def make(module=llama, config=CONFIG):
        words = ["<s>", "</s>", *(f"w{i}" for i in range(IDS - 2))]
        vocab = {word: i for i, word in enumerate(words)}
        backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="</s>"))
        backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
        graphdef, params = fresh(config, module=module)
        return Model(graphdef, params, config, Tokenizer(backend, bos_id=0, eos_id=1))

    return make


def _write_facts(workdir, stage, *, done=True, report=None, base="models/base"):
    config = {
        "model": {"base": base},
        "task": {"name": "gsm8k", "prompt": "{question}\n"},
        **dict.fromkeys(("student", "orm", "sorm", "refiner"), {"train": {"lr": 0.001}}),
    }
    manifest = {"done": done, "commits": ["abc"], "devices": "8 x TPU", "warnings": ["few drafts"]}
    files = {"config.json": {"config": config}, f"{stage}/manifest.json": manifest}
    if report is not None:
        files["report/report.json"] = report
    for name, content in files.items():
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(json.dumps(content))


@pytest.fixture
def write_facts():
    """write_facts(workdir, stage, ...): config.json, the stage's manifest, perhaps a report."""
    return _write_facts


@pytest.fixture
def workdir(tmp_path, make_model):
    """A run of which the refiner and the ORM have ended."""
    work = tmp_path / "work"
    _write_facts(work, "orm")
    _write_facts(work, "refiner")
    hf_export.save_policy(work / "refiner" / "hf", make_model(), "float32")
    hf_export.save_reward(work / "orm" / "hf", make_model(reward))
    return work
