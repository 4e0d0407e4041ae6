"""Our parameters and the tensors of Hugging Face weight files: which is which.

Hugging Face keeps kernels as [out, in] and each layer by itself; we keep [in, out] and all layers
of a weight as one array:

    layers/mlp/gate [L, D, F]   <->   model.layers.0.mlp.gate_proj.weight [F, D]
                                      model.layers.1.mlp.gate_proj.weight [F, D]
                                      ...
"""

import dataclasses

import jax
from flax import nnx

WEIGHTS = "model.safetensors"  # of a model in one file
INDEX = "model.safetensors.index.json"  # of a model in several files: which tensor lies in which
LIKELIHOOD = "value_counts_likelihood"  # key of config.json, ours: `RewardModel.likelihood`

# Our path -> (tensor name, is it transposed). A reward model's path starts with "backbone/" where
# its backbone's does.
_NAMES = {
    "embedding": ("model.embed_tokens.weight", False),
    "norm/scale": ("model.norm.weight", False),
    "head": ("lm_head.weight", True),
    "layers/attention_norm/scale": ("model.layers.{}.input_layernorm.weight", False),
    "layers/attention/q": ("model.layers.{}.self_attn.q_proj.weight", True),
    "layers/attention/k": ("model.layers.{}.self_attn.k_proj.weight", True),
    "layers/attention/v": ("model.layers.{}.self_attn.v_proj.weight", True),
    "layers/attention/o": ("model.layers.{}.self_attn.o_proj.weight", True),
    "layers/attention/q_bias": ("model.layers.{}.self_attn.q_proj.bias", False),
    "layers/attention/k_bias": ("model.layers.{}.self_attn.k_proj.bias", False),
    "layers/attention/v_bias": ("model.layers.{}.self_attn.v_proj.bias", False),
    "layers/attention/q_norm/scale": ("model.layers.{}.self_attn.q_norm.weight", False),
    "layers/attention/k_norm/scale": ("model.layers.{}.self_attn.k_norm.weight", False),
    "layers/mlp_norm/scale": ("model.layers.{}.post_attention_layernorm.weight", False),
    "layers/mlp/gate": ("model.layers.{}.mlp.gate_proj.weight", True),
    "layers/mlp/up": ("model.layers.{}.mlp.up_proj.weight", True),
    "layers/mlp/down": ("model.layers.{}.mlp.down_proj.weight", True),
    # Of a reward model, as transformers' token classification has it; the last is ours alone.
    "weight": ("score.weight", False),
    "bias": ("score.bias", False),
    "scale": ("score.likelihood", False),
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a file and the place of its content in our parameters.

    Attributes:
      leaf: which parameter, in the order of `jax.tree.leaves`.
      layer: which slice along its leading axis; None if it is not stacked.
      transposed: whether the file has it the other way round.
      shape: as it must be in the file.
    """

    leaf: int
    layer: int | None
    transposed: bool
    shape: tuple[int, ...]


def tensors_of(params: nnx.State) -> dict[str, Tensor]:
    """Tensor name -> what it is, for every tensor of the files that make up `params`.

    params: of a policy or a reward model, arrays or shapes; its layers are stacked.
    """
    found = {}
    for leaf_number, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(params)):
        keys = [p.key for p in path if isinstance(p, jax.tree_util.DictKey)]
        our_path = "/".join(str(key) for key in keys)
        pattern, transposed = _NAMES[our_path.removeprefix("backbone/")]
        stacked = "{}" in pattern
        shape = tuple(leaf.shape[1:] if stacked else leaf.shape)
        if transposed:
            shape = shape[::-1]
        if pattern == "score.weight":  # [D] here, [num_labels = 1, D] there
            shape = (1, *shape)
        layers = range(leaf.shape[0]) if stacked else [None]
        for layer in layers:
            found[pattern.format(layer)] = Tensor(leaf_number, layer, transposed, shape)
    return found
