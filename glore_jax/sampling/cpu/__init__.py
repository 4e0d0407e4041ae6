"""What the rollout engine does for CPUs: to follow what a TPU computes, skip this folder.

listed.py      keys, values and weights layer by layer, for a model whose layers are unrolled
products.py    products of one row (the form a CPU needs is taken on all devices but NVIDIA GPUs)
lanes.py       several engines side by side, one a core
"""
