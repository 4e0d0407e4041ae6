"""The configurations of the paper, every stage, on small data of the published form.

The LLaMA folder has random weights.
"""

import importlib.util
import json
import pathlib

import pytest
import tokenizers
from tokenizers import decoders, pre_tokenizers

from glore_jax import pipeline, presets, storage
from glore_jax.errors import UserError
from glore_jax.models import hf_export, llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer

ROOT = pathlib.Path(__file__).parent.parent


def config_of(name: str, arg: str = "smoke"):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(arg)


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory):
    """A LLaMA with random weights and a byte-level tokenizer without [BAD], as users have it."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = tokenizers.Tokenizer(
        tokenizers.models.BPE({t: i for i, t in enumerate(["<s>", "</s>", *alphabet])}, [])
    )
    backend.add_special_tokens(["<s>", "</s>"])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = Tokenizer(backend, bos_id=0, eos_id=1)
    config = LlamaConfig(tokenizer.vocab_size, 32, 64, 2, 4, 2, 8, max_positions=1024)
    folder = tmp_path_factory.mktemp("llama")
    model = Model(*llama.init(config, 0), config, tokenizer)
    hf_export.save_policy(folder, model, "float32")
    return folder


def gsm8k_rows(count: int):
    for i in range(count):
        a, b = 3 + i % 7, 2 + i % 5
        once = a + b
        twice = 2 * once
        lines = [
            f"He buys {a}+{b}=<<{a}+{b}={once}>>{once} nuts.",
            f"He has 2*{once}=<<2*{once}={twice}>>{twice}.",
            f"#### {twice}",
        ]
        question = f"Row {i}: Tim buys {a} nuts, then {b}, twice. How many?"
        yield {"question": question, "answer": "\n".join(lines)}


@pytest.fixture(scope="module")
def data_folders(tmp_path_factory):
    gsm8k, svamp = tmp_path_factory.mktemp("gsm8k"), tmp_path_factory.mktemp("svamp")
    storage.write_jsonl(gsm8k / "train.jsonl", gsm8k_rows(280))
    storage.write_jsonl(gsm8k / "test.jsonl", gsm8k_rows(8))
    rows = [
        {
            "ID": f"row-{i}",
            "Body": f"A shelf has {i + 9} jars. {i} fall",
            "Question": "How many are left?",
            "Equation": f"( {i + 9}.0 - {i}.0 )",
            "Answer": 9.0,
            "Type": "Subtraction",
        }
        for i in range(200)
    ]
    storage.write_json(svamp / "SVAMP.json", rows)
    return {"gsm8k": str(gsm8k), "svamp": str(svamp)}


@pytest.mark.parametrize(
    "name, variant", [("gsm8k_llama2_7b", "smoke"), ("svamp_llama2_13b", "paper")]
)
def test_every_stage_runs_on_published_rows(
    name, variant, llama_folder, data_folders, tmp_path, capsys
):
    config = config_of(name, variant)
    if variant == "paper":
        config.task.worked = "equation"  # random weights write no right answer to start from
        config = presets.smoke(config)
    config.model.base = str(llama_folder)
    config.task.data_dir = data_folders[config.task.name]
    done = pipeline.run(config, tmp_path)
    assert done == ["student", "sample", "rollout", "orm", "sorm", "refiner", "evaluate", "report"]
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["draft"]["n"] == report["pipeline"]["rerank"]["n"] == 6
    assert report.get("step_truth") is None  # these tasks do not know the truth of a step
    assert 0 <= report["pipeline"]["rerank"]["acc"] <= report["pipeline"]["oracle"]["acc"] <= 1
    assert Tokenizer.load(tmp_path / "student" / "hf").bad_id is not None
    assert "Draft (greedy)" in (tmp_path / "report" / "summary.txt").read_text()

    capsys.readouterr()
    assert pipeline.run(config, tmp_path) == []
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("task", ["gsm8k", "svamp"])
def test_the_two_sizes_differ_only_in_name_base_and_column(task):
    small, large = (config_of(f"{task}_llama2_{size}", "").to_dict() for size in ("7b", "13b"))
    for config in (small, large):
        del config["name"], config["model"]["base"], config["report"]["paper_column"]
    assert small == large


def test_an_untrained_model_that_solves_nothing_is_a_clear_error(
    llama_folder, data_folders, tmp_path
):
    config = config_of("gsm8k_llama2_7b")
    config.model.base, config.task.data_dir = str(llama_folder), data_folders["gsm8k"]
    config.sample.include_worked, config.student.ei.rounds = False, 0
    with pytest.raises(UserError, match="reward models need both kinds"):
        pipeline.run(config, tmp_path, ("student", "sample"))
