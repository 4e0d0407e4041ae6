"""SVAMP with LLaMA-2 13B, as published.

    python -m glore_jax.main --config=configs/svamp_llama2_13b.py --workdir=gs://BUCKET/svamp-13b --config.model.base=FOLDER
    python -m glore_jax.main --config=configs/svamp_llama2_13b.py:smoke --workdir=runs/svamp-smoke --config.model.base=TINY_FOLDER

Meant for a v4-32 slice (docs/pods.md says how it fits); the same command on every host. Data: a folder with SVAMP.json (--config.task.data_dir).

What the paper reports for this model (tables 1 and 3, figures 5 and 6):

    greedy draft 0.678   best of 3 0.759   reranked 0.749   oracle 0.809
    fix rate, global / local (SORM) / union: 0.255 / 0.237 / 0.37      step accuracy, ORM / SORM: 0.85 / 0.87
"""

from glore_jax import presets


def get_config(arg: str = ""):
    return presets.svamp("13b", arg)
