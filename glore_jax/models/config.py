"""What a LLaMA is: the sizes and constants that fix its computation, to and from Hugging Face form.

Mistral, Qwen2 (and 2.5) and Qwen3 are a LLaMA but for a flag.

Anything in a Hugging Face config that would change the result and that `llama.py` does not compute
is refused by name; nothing is dropped in silence.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Self, no_type_check

from glore_jax.errors import UserError
from glore_jax.models import hf_auto

# Hugging Face key -> our field, for the values that pass through unchanged.
_PLAIN = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "head_dim",
    "rms_norm_eps": "rms_norm_eps",
    "tie_word_embeddings": "tie_embeddings",
}
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads")

# Families that are this model with some of its flags set: Hugging Face's name -> the flags.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True},
}
# The names of their classes in transformers.
_CLASSES = {"llama": "Llama", "qwen2": "Qwen2", "qwen3": "Qwen3"}

# Keys whose other values need mathematics that this model lacks: key -> the values that change
# nothing.
_FIXED = {
    "hidden_act": ("silu",),
    "attention_bias": (False,),
    "mlp_bias": (False,),
    "quantization_config": (None,),
}


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
      qkv_bias: the projections to q, k and v add a bias (Qwen2).
      qk_norm: every head's q and k are normed before they turn (Qwen3).

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
    qkv_bias: bool = False
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for field in (*_SIZES, "num_kv_heads", "head_dim", "max_positions"):
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
        """Reads the content of a Hugging Face `config.json`, as any transformers wrote it.

        What a key means, and what stands for one that is missing, is what `AutoConfig` says.
        `source` is named in errors.

        Attention within a window of W tokens is that to all tokens in rows of up to W; so a model
        with a window becomes one without, which accepts no longer rows.

        Raises:
          UserError: another architecture, a malformed or impossible value, or one that `llama.py`
            does not compute.
        """
        family = hf.get("model_type")
        if family not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise UserError(f"{source}: model_type is {family!r}; only {known} are supported")
        hf = hf_auto.complete_config(hf, source)
        try:
            _refuse_what_is_not_computed(hf)
            sizes: dict[str, Any] = {field: hf.get(key) for key, field in _PLAIN.items()}
            if sizes["num_kv_heads"] is None:
                sizes["num_kv_heads"] = sizes["num_heads"]
            if sizes["head_dim"] is None:
                sizes["head_dim"] = _width_of_a_head(sizes["hidden_size"], sizes["num_heads"])
            theta, scaling = _rope_from_hf(hf)
            return cls(
                **sizes,
                **FAMILIES[family],
                rope_theta=theta,
                rope_scaling=scaling,
                max_positions=_longest_row(hf),
            )
        except UserError as error:
            raise UserError(f"{source}: {error}") from None

    @property
    def family(self) -> str:
        """The family with these flags, as Hugging Face names it; a Mistral is a LLaMA."""
        flags = {name for name in ("qkv_bias", "qk_norm") if getattr(self, name)}
        named = [name for name, wanted in FAMILIES.items() if flags == set(wanted)]
        if not named:
            raise UserError(f"no family of models has {' and '.join(sorted(flags))}")
        return named[0]

    def to_hf(self, task: str = "CausalLM") -> dict[str, Any]:
        """A `config.json` dict that transformers 4 and 5 load; `from_hf` gives it back equal.

        task: what the class is for, as transformers names it.
        """
        scaling = self.rope_scaling and {
            "rope_type": "llama3",
            "factor": self.rope_scaling.factor,
            "low_freq_factor": self.rope_scaling.low_freq_factor,
            "high_freq_factor": self.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": self.rope_scaling.original_max_position,
        }
        return {
            "architectures": [f"{_CLASSES[self.family]}For{task}"],
            "model_type": self.family,
            **{key: getattr(self, field) for key, field in _PLAIN.items()},
            "hidden_act": "silu",
            "attention_bias": False,
            "mlp_bias": False,
            "use_sliding_window": False,
            "rope_theta": self.rope_theta,
            "rope_scaling": scaling,
            "max_position_embeddings": self.max_positions,
        }


def _refuse_what_is_not_computed(hf: Mapping[str, Any]) -> None:
    """UserError for a value that changes the mathematics."""
    for key, allowed in _FIXED.items():
        if key in hf and hf[key] not in allowed:
            raise UserError(f"{key}={hf[key]!r} is not supported (only {allowed[0]!r})")


def _longest_row(hf: Mapping[str, Any]) -> Any:
    """Tokens of the longest row: the context, or the window of attention if that is shorter."""
    context = hf.get("max_position_embeddings")
    window = hf.get("sliding_window")
    if window is None:
        return context
    _check_positive("max_position_embeddings", context, whole=True)
    _check_positive("sliding_window", window, whole=True)
    return min(context, window)


def _width_of_a_head(hidden_size: Any, heads: Any) -> int:
    """Where the file does not say it: all heads together are as wide as the hidden state."""
    _check_positive("hidden_size", hidden_size, whole=True)
    _check_positive("num_attention_heads", heads, whole=True)
    width, rest = divmod(hidden_size, heads)
    if rest:
        raise UserError(f"hidden_size {hidden_size} is not a multiple of {heads} heads")
    return width


def _rope_from_hf(hf: Mapping[str, Any]) -> tuple[Any, RopeScaling | None]:
    """`(theta, scaling)`."""
    rope = hf.get("rope_parameters") or {}
    theta = rope.get("rope_theta", 10000.0)
    partial = rope.get("partial_rotary_factor", hf.get("partial_rotary_factor", 1))
    if partial not in (1, None):
        raise UserError(f"partial_rotary_factor={partial!r} is not supported (only 1)")
    kind = rope.get("rope_type", "default")
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
