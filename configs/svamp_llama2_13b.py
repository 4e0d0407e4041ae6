"""SVAMP with LLaMA-2 13B.

    python -m glore_jax.main --config=configs/svamp_llama2_13b.py \\
        --workdir=gs://BUCKET/svamp-13b --config.model.base=FOLDER

Meant for a v4-32 slice (docs/pods.md says how it fits): the same command on every host. `FOLDER` is
a Hugging Face folder of LLaMA-2 13B. Data: TFDS downloads the authors' SVAMP.json, or give a folder
that has it, `--config.task.data_dir=FOLDER`.

    python -m glore_jax.main --config=configs/svamp_llama2_13b.py:smoke \\
        --workdir=runs/svamp-smoke --config.model.base=TINY_FOLDER

runs every stage on a few rows with a tiny LLaMA.

`configs/svamp_llama2_13b.py:paper` is the published recipe to the letter; README.md says what the
default does otherwise, and why.

What the paper reports for this model (tables 1 and 3, figures 5 and 6):

    greedy draft 0.678   best of 3 0.759   reranked 0.749   oracle 0.809
    fix rate, global / local (SORM) / union: 0.255 / 0.237 / 0.37
    step accuracy, ORM / SORM: 0.85 / 0.87
"""

from ml_collections import ConfigDict

from glore_jax import presets


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: what stands after the colon: "paper", "smoke" or nothing."""
    return presets.svamp("13b", arg)
