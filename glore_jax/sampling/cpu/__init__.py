"""What only a CPU needs of the rollout engine: to follow what a TPU runs, skip this folder.

listed.py      keys, values and weights layer by layer, for a model whose layers are unrolled
products.py    products of one row
lanes.py       several engines side by side, one a core
"""
