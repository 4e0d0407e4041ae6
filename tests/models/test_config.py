"""LlamaConfig: both transformers forms in, one form out, and refusals by name."""

import dataclasses

import pytest

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig, RopeScaling

LLAMA_2 = dict(
    model_type="llama",
    vocab_size=32000,
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    hidden_act="silu",
    max_position_embeddings=4096,
    rms_norm_eps=1e-5,
    rope_scaling=None,
    tie_word_embeddings=False,
    pretraining_tp=1,
)
SCALING = dict(
    rope_type="llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)
LLAMA_3 = dict(LLAMA_2, num_key_value_heads=8, rope_theta=500000.0, rope_scaling=SCALING)


def test_llama_2():
    config = LlamaConfig.from_hf(LLAMA_2)
    assert config == LlamaConfig(
        32000, 4096, 11008, 32, 32, 32, 128, 10000.0, None, 1e-5, False, 4096
    )


def test_both_transformers_forms_mean_the_same():
    new = {k: v for k, v in LLAMA_3.items() if k not in ("rope_theta", "rope_scaling")}
    new["rope_parameters"] = {"rope_theta": 500000.0, **SCALING}
    config = LlamaConfig.from_hf(new)
    assert config == LlamaConfig.from_hf(LLAMA_3)
    assert (config.rope_theta, config.rope_scaling) == (500000.0, RopeScaling(8.0, 1.0, 4.0, 8192))


def test_transformers_5_default_rope():
    new = {k: v for k, v in LLAMA_2.items() if k != "rope_scaling"}
    config = LlamaConfig.from_hf(
        dict(new, rope_parameters={"rope_type": "default", "rope_theta": 7000.0})
    )
    assert (config.rope_theta, config.rope_scaling) == (7000.0, None)


def test_absent_keys_take_the_defaults_of_transformers():
    keep = (
        "model_type",
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
    )
    config = LlamaConfig.from_hf({k: LLAMA_2[k] for k in keep})
    assert config == LlamaConfig(
        32000, 4096, 11008, 32, 32, 32, 128, 10000.0, None, 1e-6, False, 2048
    )


def test_how_much_a_training_was_split_says_nothing():
    assert LlamaConfig.from_hf(dict(LLAMA_2, pretraining_tp=2)) == LlamaConfig.from_hf(LLAMA_2)


def test_old_spelling_of_a_scaling():
    old = {("type" if key == "rope_type" else key): value for key, value in SCALING.items()}
    assert LlamaConfig.from_hf(dict(LLAMA_3, rope_scaling=old)) == LlamaConfig.from_hf(LLAMA_3)


FAMILIES = {
    "mistral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_a_llama_but_for_a_flag(family):
    hf = dict(LLAMA_2, model_type=family, head_dim=128, sliding_window=None)
    config = LlamaConfig.from_hf(hf)
    assert config == dataclasses.replace(LlamaConfig.from_hf(LLAMA_2), **FAMILIES[family])
    written = config.to_hf()
    assert written["model_type"] == ("llama" if family == "mistral" else family)
    assert LlamaConfig.from_hf(written) == config


def test_a_head_of_qwen3_is_as_wide_as_its_family_says():
    hf = dict(LLAMA_2, model_type="qwen3", hidden_size=1024, num_attention_heads=16)
    assert LlamaConfig.from_hf(dict(hf, num_key_value_heads=8)).head_dim == 128


@pytest.mark.parametrize(
    ("change", "positions"),
    [
        ({"model_type": "mistral"}, 4096),  # a Mistral that says nothing has a window
        ({"model_type": "mistral", "sliding_window": 1024}, 1024),
        ({"model_type": "mistral", "sliding_window": None}, 32768),
        ({"model_type": "qwen2", "sliding_window": 1024}, 32768),
        ({"model_type": "qwen2", "sliding_window": 1024, "use_sliding_window": True}, 1024),
    ],
)
def test_rows_are_no_longer_than_a_window(change, positions):
    hf = {**LLAMA_2, "max_position_embeddings": 32768, **change}
    assert LlamaConfig.from_hf(hf).max_positions == positions


def test_no_family_has_both_flags():
    both = dataclasses.replace(LlamaConfig.from_hf(LLAMA_2), qkv_bias=True, qk_norm=True)
    with pytest.raises(UserError, match="qk_norm and qkv_bias"):
        both.to_hf()


def test_head_dim_may_differ_from_hidden_over_heads():
    assert LlamaConfig.from_hf(dict(LLAMA_2, head_dim=64)).head_dim == 64


@pytest.mark.parametrize(
    "hf", [LLAMA_2, LLAMA_3, dict(LLAMA_2, tie_word_embeddings=True, head_dim=64)]
)
def test_round_trip(hf):
    config = LlamaConfig.from_hf(hf)
    assert LlamaConfig.from_hf(config.to_hf()) == config
    assert hash(LlamaConfig.from_hf(config.to_hf())) == hash(config)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_type": "gemma"}, "model_type"),
        ({"model_type": None}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor",
        ),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "yarn"),
        ({"rope_scaling": {k: v for k, v in SCALING.items() if k != "factor"}}, "factor"),
        ({"rope_scaling": dict(SCALING, low_freq_factor=4.0)}, "low_freq_factor"),
        ({"rope_scaling": dict(SCALING, factor="8")}, "factor"),
        ({"rope_scaling": "llama3"}, "llama3"),
        ({"vocab_size": None}, "vocab_size"),
        ({"hidden_size": 4097}, "hidden.size"),
        ({"hidden_size": "4096"}, "hidden_size"),
        ({"num_key_value_heads": 5}, "num_kv_heads"),
        ({"model_type": "qwen3", "attention_bias": True}, "attention_bias"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window"),
        ({"num_hidden_layers": 0}, "num_layers"),
        ({"head_dim": 33}, "head_dim"),
        ({"rms_norm_eps": 0}, "rms_norm_eps"),
        ({"rope_theta": -1.0}, "rope_theta"),
    ],
)
def test_refusals_name_the_key_and_the_file(change, named):
    with pytest.raises(UserError, match=named) as refused:
        LlamaConfig.from_hf({**LLAMA_2, **change}, source="some/config.json")
    assert "some/config.json" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        LlamaConfig.from_hf(LLAMA_2).vocab_size = 1
