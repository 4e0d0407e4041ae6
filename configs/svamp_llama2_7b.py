"""SVAMP with LLaMA-2 7B, as published.

    python -m glore_jax.main --config=configs/svamp_llama2_7b.py --workdir=gs://BUCKET/svamp-7b --config.model.base=FOLDER
    python -m glore_jax.main --config=configs/svamp_llama2_7b.py:smoke --workdir=runs/svamp-smoke --config.model.base=TINY_FOLDER

Meant for a v5e-16 slice (docs/pods.md says how it fits); the same command on every host. Data: a folder with SVAMP.json (--config.task.data_dir).

What the paper reports for this model (tables 1 and 3, figures 5 and 6):

    greedy draft 0.579   best of 3 0.609   reranked 0.630   oracle 0.678
    fix rate, global / local (SORM) / union: 0.14 / 0.11 / 0.19      step accuracy, ORM / SORM: 0.77 / 0.78
"""

from glore_jax import presets


def get_config(arg: str = ""):
    return presets.svamp("7b", arg)
