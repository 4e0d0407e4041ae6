"""GSM8K with LLaMA-2 7B.

    python -m glore_jax.main --config=configs/gsm8k_llama2_7b.py \\
        --workdir=gs://BUCKET/gsm8k-7b --config.model.base=FOLDER

Meant for a v5e-16 slice (docs/pods.md says how it fits): the same command on every host. `FOLDER`
is a Hugging Face folder of LLaMA-2 7B. Data: the TFDS catalog downloads them, or give a folder with
train.jsonl and test.jsonl, `--config.task.data_dir=FOLDER`.

    python -m glore_jax.main --config=configs/gsm8k_llama2_7b.py:smoke \\
        --workdir=runs/gsm8k-smoke --config.model.base=TINY_FOLDER

runs every stage on a few rows with a tiny LLaMA.

`configs/gsm8k_llama2_7b.py:paper` is the published recipe to the letter; README.md says what the
default does otherwise, and why.

What the paper reports for this model (tables 1 and 3, figures 5 and 6):

    greedy draft 0.485   best of 3 0.547   reranked 0.582   oracle 0.618
    fix rate, global / local (SORM) / union: 0.203 / 0.211 / 0.280
    step accuracy, ORM / SORM: 0.74 / 0.79
"""

from ml_collections import ConfigDict

from glore_jax import presets


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: what stands after the colon: "paper", "smoke" or nothing."""
    return presets.gsm8k("7b", arg)
