"""LLaMA folders in Hugging Face form: `config.json`, safetensors weights, tokenizer; in and out, no torch.

Weights stream: a file is open once, each process reads only the part of each tensor that its own devices
hold and hands it over before it reads the next, and a remote file (gs://...) is on the local disk only while
it is being read. Every tensor must be expected and every expected tensor must be there; nothing is skipped or
left at its initial value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from etils import epath
from flax import nnx
from jax.experimental import multihost_utils

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import Array
from glore_jax.models.model import Model

INDEX = "model.safetensors.index.json"
_LIKELIHOOD = "value_counts_likelihood"  # key of config.json, ours
_FILE_BYTES = 5_000_000_000  # a weight file is closed before it grows beyond this

# Our path -> (tensor name, transposed). Hugging Face keeps kernels as [out, in], and each layer by itself.
_NAMES = {
    "embedding": ("model.embed_tokens.weight", False),
    "norm/scale": ("model.norm.weight", False),
    "head": ("lm_head.weight", True),
    "layers/attention_norm/scale": ("model.layers.{}.input_layernorm.weight", False),
    "layers/attention/q": ("model.layers.{}.self_attn.q_proj.weight", True),
    "layers/attention/k": ("model.layers.{}.self_attn.k_proj.weight", True),
    "layers/attention/v": ("model.layers.{}.self_attn.v_proj.weight", True),
    "layers/attention/o": ("model.layers.{}.self_attn.o_proj.weight", True),
    "layers/mlp_norm/scale": ("model.layers.{}.post_attention_layernorm.weight", False),
    "layers/mlp/gate": ("model.layers.{}.mlp.gate_proj.weight", True),
    "layers/mlp/up": ("model.layers.{}.mlp.up_proj.weight", True),
    "layers/mlp/down": ("model.layers.{}.mlp.down_proj.weight", True),
    "weight": ("score.weight", False),  # [D] here, [num_labels = 1, D] there
    "bias": ("score.bias", False),
    "scale": ("score.likelihood", False),
}


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """One tensor of a file and the place of its content in our parameters."""

    leaf: int  # which parameter, in the order of jax.tree.leaves
    layer: int | None  # which slice along its leading axis; None if it is not stacked
    transposed: bool
    shape: tuple[int, ...]  # as it must be in the file


def expected(state: nnx.State) -> dict[str, _Tensor]:
    """Tensor name -> what it is, for every tensor of the files that make up `state` (arrays or shapes)."""
    found = {}
    for number, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path(state)):
        key = "/".join(str(p.key) for p in path if isinstance(p, jax.tree_util.DictKey))
        name, transposed = _NAMES[key.removeprefix("backbone/")]
        layers = range(leaf.shape[0]) if "{}" in name else [None]
        for layer in layers:
            shape = leaf.shape if layer is None else leaf.shape[1:]
            shape = shape[::-1] if transposed else (1, *shape) if name == "score.weight" else shape
            found[name.format(layer)] = _Tensor(number, layer, transposed, tuple(shape))
    return found


# Reading.


def read_config(folder: epath.PathLike) -> LlamaConfig:
    """The sizes in `folder/config.json`. UserError if it is missing, malformed or not a LLaMA we compute."""
    file = storage.path(folder) / "config.json"
    content = storage.read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(content).__name__}")
    return LlamaConfig.from_hf(content, source=str(file))


def load_policy_params(
    folder: epath.PathLike, config: LlamaConfig, dtype: Any = jnp.float32, shardings: Any = None
) -> nnx.State:
    """Parameters of a `LlamaForCausalLM` folder, shaped as `llama.init(config, ...)` gives them.

    Args:
      folder: holds `model.safetensors`, or several files with `model.safetensors.index.json`; any epath.
      config: `read_config(folder)`.
      dtype: what the parameters are cast to, float32 or bfloat16.
      shardings: a tree of `jax.sharding.Sharding` beside the parameters; None: all on the first local device.

    Raises:
      UserError: no weights, a damaged file, or a tensor that is missing, unknown or of another shape.
    """
    return _load(storage.path(folder), llama.abstract(config, param_dtype=dtype)[1], shardings)


def load_reward_params(
    folder: epath.PathLike, config: LlamaConfig, dtype: Any = jnp.float32, shardings: Any = None
) -> nnx.State:
    """Parameters of a one-label `LlamaForTokenClassification` folder, shaped as `reward.init` gives them.
    Arguments and errors as for `load_policy_params`."""
    shapes = reward.abstract(config, param_dtype=dtype, **read_reward_options(folder))[1]
    return _load(storage.path(folder), shapes, shardings)


def read_reward_options(folder: epath.PathLike) -> dict[str, bool]:
    """Arguments of `RewardModel` that `folder/config.json` asks for."""
    return {
        "likelihood": bool(storage.read_json(storage.path(folder) / "config.json").get(_LIKELIHOOD))
    }


def _load(folder: epath.Path, abstract: nnx.State, shardings: Any) -> nnx.State:
    leaves, treedef = jax.tree.flatten(abstract)
    tensors = expected(abstract)
    files = _files(folder)
    names = {name for content in files.values() for name in content}
    names = {
        name for name in names if not name.endswith("rotary_emb.inv_freq")
    }  # a constant in old files
    if "lm_head.weight" not in tensors and "score.weight" not in tensors:
        names.discard(
            "lm_head.weight"
        )  # a tied model may carry its head as a second copy of the embedding
    if missing := sorted(set(tensors) - names):
        raise UserError(f"{folder}: weights lack {_some(missing)}")
    if unknown := sorted(names - set(tensors)):
        raise UserError(
            f"{folder}: unknown weights {_some(unknown)}; does config.json belong to them?"
        )

    if shardings is None:
        shardings = [jax.sharding.SingleDeviceSharding(jax.local_devices()[0])] * len(leaves)
    shardings = jax.tree.leaves(shardings)
    targets = [_Target(leaf, sharding) for leaf, sharding in zip(leaves, shardings, strict=True)]
    for file in files:
        with _open(folder / file) as tensors_of_file:
            for name in tensors_of_file.keys():  # noqa: SIM118, it is no dict
                if name in tensors:
                    source, tensor = tensors_of_file.get_slice(name), tensors[name]
                    _check(folder / file, name, source, tensor)
                    targets[tensor.leaf].take(source, tensor)
    return jax.tree.unflatten(treedef, [target.array() for target in targets])


class _Target:
    """A parameter that fills tensor by tensor, in whatever order the files have them.

    Its parts lie on this process's devices from the start; the host holds one part of one tensor at a time.
    """

    def __init__(self, leaf: jax.ShapeDtypeStruct, sharding: jax.sharding.Sharding):
        self.leaf, self.sharding = leaf, sharding
        self.holders: dict[
            tuple, list[jax.Device]
        ] = {}  # bounds of a part -> the devices that hold it
        for device, index in sharding.addressable_devices_indices_map(leaf.shape).items():
            self.holders.setdefault(_bounds(index, leaf.shape), []).append(device)
        self.parts: dict[jax.Device, Array] = {}

    def take(self, source: Any, tensor: _Tensor) -> None:
        """Reads from an open tensor what the devices hold of it, and no more."""
        for bounds, devices in self.holders.items():
            index = tuple(slice(*b) for b in bounds)
            if tensor.layer is not None:
                if not bounds[0][0] <= tensor.layer < bounds[0][1]:
                    continue
                index = index[1:]
            read = _read(source, index, tensor).astype(self.leaf.dtype)
            for device in devices:
                part = jax.device_put(read, device)
                if tensor.layer is not None:
                    shape = self.sharding.shard_shape(self.leaf.shape)
                    stack = self.parts.pop(device, None)
                    if stack is None:
                        stack = jnp.zeros(shape, self.leaf.dtype, device=device)
                    part = _set_layer(stack, part, tensor.layer - bounds[0][0])
                self.parts[device] = part
            jax.block_until_ready(part)  # otherwise the host runs ahead and holds many

    def array(self) -> Array:
        return jax.make_array_from_single_device_arrays(
            self.leaf.shape, self.sharding, list(self.parts.values())
        )


@functools.partial(jax.jit, donate_argnums=0)
def _set_layer(stack: Array, part: Array, layer: int) -> Array:
    """`stack` [layers, ...] with `part` [...] at `layer`, in place."""
    return jax.lax.dynamic_update_index_in_dim(stack, part, layer, 0)


def _check(file: epath.Path, name: str, source: Any, tensor: _Tensor) -> None:
    if tuple(source.get_shape()) != tensor.shape:
        raise UserError(
            f"{file}: tensor {name} has shape {list(source.get_shape())}, expected {list(tensor.shape)}"
        )
    if source.get_dtype() not in ("F32", "F16", "BF16"):
        raise UserError(
            f"{file}: tensor {name} is {source.get_dtype()}; only F32, F16 and BF16 are supported"
        )


def _read(source: Any, index: tuple[slice, ...], tensor: _Tensor) -> np.ndarray:
    """`index` of our form of a tensor, in the file's dtype."""
    if tensor.transposed:
        return source[index[::-1]].T
    ones = (slice(0, 1),) * (len(tensor.shape) - len(index))
    read = source[ones + index]
    return read.reshape(read.shape[len(ones) :])


def _bounds(index: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """An index as (start, stop) of each axis: what slices cannot be before Python 3.12, a dictionary key."""
    return tuple(s.indices(n)[:2] for s, n in zip(index, shape, strict=True))


def _files(folder: epath.Path) -> dict[str, list[str]]:
    """Weight file name -> names of its tensors."""
    if (folder / INDEX).exists():
        index = storage.read_json(folder / INDEX)
        weight_map = index.get("weight_map") if isinstance(index, dict) else None
        if not isinstance(weight_map, dict):
            raise UserError(f"{folder / INDEX}: has no weight_map")
        files: dict[str, list[str]] = {}
        for name, file in weight_map.items():
            files.setdefault(file, []).append(name)
        for file in files:
            if not (folder / file).exists():
                raise UserError(
                    f"{folder / file}: no such file, but {INDEX} names it; download it again"
                )
        return files
    if (folder / "model.safetensors").exists():
        with _open(folder / "model.safetensors") as tensors:
            return {"model.safetensors": list(tensors.keys())}
    if (folder / "pytorch_model.bin").exists() or (
        folder / "pytorch_model.bin.index.json"
    ).exists():
        raise UserError(
            f"{folder}: has pytorch_model.bin only; transformers' save_pretrained writes safetensors"
        )
    raise UserError(f"{folder}: no weights (model.safetensors or {INDEX})")


@contextlib.contextmanager
def _open(file: epath.Path) -> Iterator[Any]:
    """A safetensors file; a remote one is fetched to a temporary local copy first."""
    with contextlib.ExitStack() as stack:
        local = os.fspath(file)
        if "://" in local:
            local = os.path.join(stack.enter_context(tempfile.TemporaryDirectory()), file.name)
            with file.open("rb") as source, open(local, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 24)
        try:
            tensors = stack.enter_context(safetensors.safe_open(local, framework="np"))
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(
                f"{file}: truncated or damaged safetensors file ({error}); download it again"
            ) from error
        yield tensors


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# Writing.


def save_policy(folder: epath.PathLike, model: Model, dtype: str = "bfloat16") -> None:
    """Writes a folder that transformers loads as `LlamaForCausalLM`, with its tokenizer; the old one goes.

    Every process must call it when the parameters are spread over several (they are gathered layer by layer);
    process 0 writes. `dtype` is "bfloat16" or "float32". UserError if the disk refuses; what was there stays.
    """
    _save(folder, model.config.to_hf(), model, dtype)


def save_reward(folder: epath.PathLike, model: Model, dtype: str = "bfloat16") -> None:
    """Like `save_policy`, for reward parameters: transformers loads it as `LlamaForTokenClassification` with
    one label, whose logit at a token is the model's; of a model with `likelihood`, the part that is read from the hidden state."""
    one_label = {
        "architectures": ["LlamaForTokenClassification"],
        "id2label": {"0": "correct"},
        "label2id": {"correct": 0},
        "classifier_dropout": 0.0,
    }
    if "scale" in model.params:
        one_label[_LIKELIHOOD] = True
    _save(folder, {**model.config.to_hf(), **one_label}, model, dtype)


def _save(folder: epath.PathLike, hf: dict[str, Any], model: Model, dtype: str) -> None:
    tokenizer = model.tokenizer
    if dtype not in ("bfloat16", "float32"):
        raise ValueError(f"dtype must be bfloat16 or float32, found {dtype!r}")
    hf |= {"torch_dtype": dtype, "bos_token_id": tokenizer.bos_id, "eos_token_id": tokenizer.eos_id}
    if tokenizer.pad_id != tokenizer.eos_id:
        hf["pad_token_id"] = tokenizer.pad_id

    def write(target: epath.Path) -> None:
        _write_weights(target, model.params, jnp.dtype(dtype))
        if jax.process_index() == 0:
            tokenizer.save(target)
            storage.write_json(target / "config.json", hf)

    _replace_folder(storage.path(folder), write)


def _write_weights(target: epath.Path, params: nnx.State, dtype: np.dtype) -> None:
    """Weight files in `target`, a local folder; several with an index when they are large."""
    leaves = jax.tree.leaves(params)
    groups: list[list[tuple[str, _Tensor]]] = [[]]
    size = 0
    for name, tensor in expected(params).items():
        bytes_of_it = math.prod(tensor.shape) * dtype.itemsize
        if groups[-1] and size + bytes_of_it > _FILE_BYTES:
            groups.append([])
            size = 0
        groups[-1].append((name, tensor))
        size += bytes_of_it

    weight_map = {}
    for number, group in enumerate(groups, start=1):
        part = f"-{number:05d}-of-{len(groups):05d}" if len(groups) > 1 else ""
        file = f"model{part}.safetensors"
        weight_map |= dict.fromkeys((name for name, _ in group), file)
        _write_file(target / file, group, leaves, dtype)
    if len(groups) > 1 and jax.process_index() == 0:
        total = sum(math.prod(t.shape) for group in groups for _, t in group) * dtype.itemsize
        storage.write_json(
            target / INDEX, {"metadata": {"total_size": total}, "weight_map": weight_map}
        )


def _write_file(
    file: epath.Path, group: list[tuple[str, _Tensor]], leaves: list, dtype: np.dtype
) -> None:
    """One safetensors file: the length of its header, the header, the tensors. The library's own writer wants all
    tensors in memory; here the host holds one."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in group:
        start, end = end, end + math.prod(tensor.shape) * dtype.itemsize
        kind = {"bfloat16": "BF16", "float32": "F32"}[dtype.name]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    with open(file if jax.process_index() == 0 else os.devnull, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in group:
            stored = _as_stored(
                leaves[tensor.leaf], tensor.layer, tensor.transposed, tensor.shape, dtype
            )
            out.write(_to_host(stored).view(np.uint8).data)
            del stored


@functools.partial(jax.jit, static_argnames=("transposed", "shape", "dtype"))
def _as_stored(
    leaf: Array, layer: int | None, transposed: bool, shape: tuple[int, ...], dtype: np.dtype
) -> Array:
    """The tensor of a file that `layer` of `leaf` (or all of it) is, made on the devices: an array of its own, whose copy on
    the host, which JAX keeps beside it, goes with it."""
    value = leaf if layer is None else jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False)
    return (value.T if transposed else value.reshape(shape)).astype(dtype)


def _to_host(x: Array) -> np.ndarray:
    value = x if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True)
    return np.ascontiguousarray(value)


def _replace_folder(folder: epath.Path, write: Callable[[epath.Path], None]) -> None:
    """Calls `write(target)` with an empty local folder, then makes `folder` be its content.

    On a local disk that is a rename. An object store has none: there the files are copied and `config.json`,
    without which the folder cannot be read, goes first and comes back last.
    """
    remote = "://" in os.fspath(folder)
    try:
        if not remote and jax.process_index() == 0:
            folder.parent.mkdir(parents=True, exist_ok=True)
        beside = None if remote or jax.process_index() else os.fspath(folder.parent)
        with tempfile.TemporaryDirectory(
            dir=beside, prefix=f".{folder.name}.", ignore_cleanup_errors=True
        ) as temporary:
            target = epath.Path(temporary) / folder.name
            target.mkdir()
            write(target)
            if jax.process_index():
                return
            if remote:
                (folder / "config.json").unlink(missing_ok=True)
                folder.mkdir(parents=True, exist_ok=True)
                for file in sorted(target.iterdir(), key=lambda f: f.name == "config.json"):
                    file.copy(folder / file.name, overwrite=True)
            else:
                if folder.exists():
                    folder.rename(epath.Path(temporary) / "old")
                target.rename(folder)
    except (
        OSError,
        ImportError,
        safetensors.SafetensorError,
    ) as error:  # ImportError: no client for gs://
        raise UserError(
            f"cannot write {folder}: {getattr(error, 'strerror', None) or error}"
        ) from error


# One more token.


def grow_vocab(
    params: nnx.State, config: LlamaConfig, new_size: int
) -> tuple[nnx.State, LlamaConfig]:
    """(params, config) of a policy with `new_size` rows of vocabulary.

    A new token starts as the mean of all old ones, in the embedding and in the head, so its first logit is an
    average one instead of an outlier. The same objects come back if there is nothing to add.

    Raises:
      ValueError: `new_size` is smaller than the vocabulary.
    """
    extra = new_size - config.vocab_size
    if extra < 0:
        raise ValueError(
            f"the vocabulary has {config.vocab_size} tokens already; it cannot become {new_size}"
        )
    if extra == 0:
        return params, config
    grown = jax.tree.map(lambda x: x, params)  # new containers, the same arrays
    for name, axis in (("embedding", 0), ("head", 1)):
        if name in params:
            old = params[name][...]
            mean = jnp.mean(old, axis=axis, keepdims=True, dtype=jnp.float32).astype(old.dtype)
            new = jnp.repeat(mean, extra, axis=axis)
            grown[name] = params[name].replace(jnp.concatenate([old, new], axis=axis))
    return grown, dataclasses.replace(config, vocab_size=new_size)
