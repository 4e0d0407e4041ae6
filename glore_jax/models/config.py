"""What a LLaMA is: the sizes and constants that fix its computation, to and from Hugging Face form.

Anything in a Hugging Face config that would change the result and that `llama.py` does not compute
is refused by name; nothing is dropped in silence.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self, no_type_check

from glore_jax.errors import UserError

# Hugging Face key -> our field, for the values that pass through unchanged.
_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
}

# Keys whose other values need mathematics that this model lacks: key -> the values that change
# nothing.
_FIXED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "partial_rotary_factor": (1, None),
    "sliding_window": (None,),
    "use_sliding_window": (False, None),
    "pretraining_tp": (1, None),
    "quantization_config": (None,),
}

# Where transformers' LlamaConfig has another default than `LlamaConfig` below.
_HF_RMS_NORM_EPS = 1e-6


# What the tests check by type is left out here: values come from files and are checked below.
@no_type_check
@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """Llama 3 scaling of the rotary frequencies.

    Wavelengths beyond `original_max_position / low_freq_factor` are stretched `factor` times, those
    below `original_max_position / high_freq_factor` are kept; between, it blends.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def __post_init__(self) -> None:
        for name in ("factor", "low_freq_factor", "high_freq_factor"):
            _check_positive(name, getattr(self, name))
        _check_positive("original_max_position", self.original_max_position, whole=True)
        if self.low_freq_factor >= self.high_freq_factor:
            raise UserError("rope scaling: low_freq_factor must be smaller than high_freq_factor")


@no_type_check  # as above
@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a LLaMA; frozen and hashable, so it can be a static argument of a jitted function.

    Attributes:
      vocab_size, hidden_size, intermediate_size, num_layers: as in Hugging Face.
      num_heads, num_kv_heads: query heads and key/value heads (grouped-query attention when they
        differ).
      head_dim: width of one head, even; `num_heads * head_dim` may differ from `hidden_size`.
      rope_theta: base of the rotary angles.
      rope_scaling: Llama 3 scaling of the rotary frequencies, or None.
      rms_norm_eps: added to the mean square inside each norm.
      tie_embeddings: the output head is the transposed embedding and owns no parameter.
      max_positions: longest row the model accepts, in tokens.

    Raises:
      UserError: sizes that contradict each other.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    rms_norm_eps: float = 1e-5
    tie_embeddings: bool = False
    max_positions: int = 2048

    def __post_init__(self) -> None:
        for field in (*_SIZES.values(), "num_kv_heads", "head_dim", "max_positions"):
            _check_positive(field, getattr(self, field), whole=True)
        for field in ("rope_theta", "rms_norm_eps"):
            _check_positive(field, getattr(self, field))
        if self.num_heads % self.num_kv_heads:
            raise UserError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )
        if self.head_dim % 2:
            raise UserError(f"head_dim must be even for rotary positions, found {self.head_dim}")

    @classmethod
    def from_hf(cls, hf: Mapping[str, Any], source: str = "config.json") -> Self:
        """Reads the content of a Hugging Face `config.json`.

        As transformers 4 (`rope_theta`, `rope_scaling`) or transformers 5 (`rope_parameters`)
        writes it. `source` is named in errors.

        Raises:
          UserError: a missing or impossible size, or a value that `llama.py` does not compute.
        """
        try:
            _refuse_what_is_not_computed(hf)
            sizes = {field: hf[key] for key, field in _SIZES.items()}
            kv_heads = hf.get("num_key_value_heads")
            head_dim = hf.get("head_dim")
            if head_dim is None:
                head_dim = _width_of_a_head(sizes["hidden_size"], sizes["num_heads"])
            theta, scaling = _rope_from_hf(hf)
            return cls(
                **sizes,
                num_kv_heads=sizes["num_heads"] if kv_heads is None else kv_heads,
                head_dim=head_dim,
                rope_theta=theta,
                rope_scaling=scaling,
                rms_norm_eps=hf.get("rms_norm_eps", _HF_RMS_NORM_EPS),
                tie_embeddings=bool(hf.get("tie_word_embeddings", False)),
                max_positions=hf.get("max_position_embeddings", 2048),
            )
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    def to_hf(self) -> dict[str, Any]:
        """A `config.json` dict that transformers 4 and 5 load; `from_hf` gives it back equal."""
        scaling = self.rope_scaling and {
            "rope_type": "llama3",
            "factor": self.rope_scaling.factor,
            "low_freq_factor": self.rope_scaling.low_freq_factor,
            "high_freq_factor": self.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": self.rope_scaling.original_max_position,
        }
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            **{key: getattr(self, field) for key, field in _SIZES.items()},
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_embeddings,
            "max_position_embeddings": self.max_positions,
        }


def _refuse_what_is_not_computed(hf: Mapping[str, Any]) -> None:
    """UserError for another architecture, a value that changes the mathematics, a missing size."""
    if hf.get("model_type") != "llama":
        raise UserError(f"model_type is {hf.get('model_type')!r}; only 'llama' is supported")
    for key, allowed in _FIXED.items():
        if key in hf and hf[key] not in allowed:
            raise UserError(f"{key}={hf[key]!r} is not supported (only {allowed[0]!r})")
    for key in _SIZES:
        if hf.get(key) is None:
            raise UserError(f"{key} is missing")


def _width_of_a_head(hidden_size: Any, heads: Any) -> int:
    """Where the file does not say it: all heads together are as wide as the hidden state."""
    _check_positive("hidden_size", hidden_size, whole=True)
    _check_positive("num_attention_heads", heads, whole=True)
    width, rest = divmod(hidden_size, heads)
    if rest:
        raise UserError(f"hidden_size {hidden_size} is not a multiple of {heads} heads")
    return width


def _rope_from_hf(hf: Mapping[str, Any]) -> tuple[Any, RopeScaling | None]:
    """`(theta, scaling)`. transformers 5 puts theta and scaling in one dict, `rope_parameters`."""
    rope = hf.get("rope_parameters") or hf.get("rope_scaling") or {}
    if not isinstance(rope, Mapping):
        raise UserError(f"rope_scaling must be an object, found {rope!r}")
    theta = rope.get("rope_theta", hf.get("rope_theta", 10000.0))
    partial = rope.get("partial_rotary_factor", 1)
    if partial not in _FIXED["partial_rotary_factor"]:
        raise UserError(f"partial_rotary_factor={partial!r} is not supported (only 1)")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise UserError(f"rope type {kind!r} is not supported (only 'default' and 'llama3')")
    try:
        scaling = RopeScaling(
            factor=rope["factor"],
            low_freq_factor=rope["low_freq_factor"],
            high_freq_factor=rope["high_freq_factor"],
            original_max_position=rope["original_max_position_embeddings"],
        )
    except KeyError as error:
        raise UserError(f"rope scaling lacks {error.args[0]!r}") from None
    return theta, scaling


def _check_positive(name: str, value: Any, whole: bool = False) -> None:
    kinds = int if whole else (int, float)
    is_number = isinstance(value, kinds) and not isinstance(value, bool)  # True is an int
    if not is_number or value <= 0:
        kind = "whole number" if whole else "number"
        raise UserError(f"{name} must be a positive {kind}, found {value!r}")
