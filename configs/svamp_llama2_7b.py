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
    c = presets.llama2("svamp", "7b")
    c.task.dev_size = 50
    c.task.url = c.task.tfds_dir = ""
    c.task.worked = "equation" if arg else "none"
    # The paper prompts the base with one worked example, since SVAMP has no solutions; its text is not stated. This one is ours.
    c.student.shot.question = (
        "Nora has 14 pencils. She buys 3 packs with 6 pencils each. How many pencils does Nora have now?"
    )
    c.student.shot.solution = (
        "The packs hold 3*6=<<3*6=18>>18 pencils.\nNora now has 14+18=<<14+18=32>>32 pencils.\n#### 32"
    )
    c.student.ei.rounds = 6  # the paper needed 5 rounds on SVAMP
    if arg not in ("", "smoke"):
        raise ValueError(f"takes smoke or nothing, not {arg!r}")
    return presets.smoke(c) if arg else c
