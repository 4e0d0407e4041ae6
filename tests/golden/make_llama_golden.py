"""Remakes the reference models in this folder (needs torch and transformers).

    python tests/golden/make_llama_golden.py

Each is a random LLaMA of transformers in its own folder (config and float32 weights), with
`golden.npz`: the tokens of a 600-token prompt, and the logits of every 25th token as transformers
computes them. The tests hold our model to them where torch is not installed. Weights are large
enough for attention to be far from uniform, or a wrong rotation would not show.
"""

import pathlib
import shutil

import numpy as np
import torch
import transformers

HERE = pathlib.Path(__file__).parent
LENGTH = 600  # tokens: short prompts cannot show a wrong rotation
SIZES = dict(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=1024,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=50000.0,
    factor=4.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=128,
)
MODELS = {
    # Grouped heads wider than hidden_size / heads, Llama 3 frequencies, separate head.
    "llama_grouped": dict(
        num_key_value_heads=2, head_dim=16, rope_parameters=LLAMA3, tie_word_embeddings=False
    ),
    # Llama 2 style, but tied.
    "llama_tied": dict(num_key_value_heads=4, rms_norm_eps=1e-5, tie_word_embeddings=True),
    # Token classification with one label: a reward model.
    "llama_reward": dict(num_key_value_heads=1, num_labels=1, tie_word_embeddings=False),
}


def make(name: str, options: dict) -> None:
    torch.manual_seed(sum(map(ord, name)))
    config = transformers.LlamaConfig(vocab_size=96, initializer_range=0.2, **SIZES, **options)
    kind = transformers.LlamaForCausalLM
    if "num_labels" in options:
        kind = transformers.LlamaForTokenClassification
    model = kind(config).eval().float()
    with torch.no_grad():
        for key, value in model.named_parameters():
            # Other values than those of a fresh model, so that they are seen to be read.
            if "norm" in key:
                value.copy_(1 + 0.3 * torch.randn_like(value))
            if key == "score.bias":
                value.fill_(0.25)
        tokens = torch.randint(0, config.vocab_size, (1, LENGTH))
        logits = model(tokens).logits[0].numpy()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    at = np.arange(24, LENGTH, 25)
    prompt = tokens.numpy().astype(np.int32)
    np.savez_compressed(folder / "golden.npz", tokens=prompt, at=at, logits=logits[at])


if __name__ == "__main__":
    for name, options in MODELS.items():
        make(name, options)
