"""GSM8K with LLaMA-2 13B.

    python -m glore_jax.main --config=configs/gsm8k_llama2_13b.py \\
        --workdir=gs://BUCKET/gsm8k-13b --config.model.base=FOLDER

Meant for a v4-32 slice (docs/pods.md says how it fits): the same command on every host. `FOLDER` is
a Hugging Face folder of LLaMA-2 13B. Data: the TFDS catalog downloads them, or give a folder with
train.jsonl and test.jsonl, `--config.task.data_dir=FOLDER`.

    python -m glore_jax.main --config=configs/gsm8k_llama2_13b.py:smoke \\
        --workdir=runs/gsm8k-smoke --config.model.base=TINY_FOLDER

runs every stage on a few rows with a tiny LLaMA.

`configs/gsm8k_llama2_13b.py:paper` is the published recipe to the letter; README.md says what the
default does otherwise, and why.

What the paper reports for this model (tables 1 and 3, figures 5 and 6):

    greedy draft 0.529   best of 3 0.563   reranked 0.641   oracle 0.710
    fix rate, global / local (SORM) / union: 0.281 / 0.283 / 0.412
    step accuracy, ORM / SORM: 0.73 / 0.81
"""

from ml_collections import ConfigDict

from glore_jax import presets


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: what stands after the colon: "paper", "smoke" or nothing."""
    return presets.gsm8k("13b", arg)
