"""Writes models as LLaMA folders in Hugging Face form, which `transformers` loads; no torch.

Weights stream out as they stream in: parameters that are spread over processes are gathered tensor
by tensor, and the host holds one at a time. A folder is an export if it has a `config.json`:

    on a disk     the new folder is written beside the old one and takes its place when it is whole
    in a bucket   which cannot rename: the old `config.json` goes first, the new one comes last, and
                  between the two there is no export; the weights go there as they are gathered
"""

import functools
import math
import os
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jaxtyping import Float, Int

from glore_jax import storage
from glore_jax.models import reward
from glore_jax.models.hf_names import INDEX, LIKELIHOOD, Tensor, tensors_of
from glore_jax.models.model import Model
from glore_jax.models.weight_files import make_header
from glore_jax.parallel import processes

_FILE_BYTES = 5_000_000_000  # a weight file is closed before it grows beyond this
_STORED = {"bfloat16": "BF16", "float32": "F32"}  # our name of a dtype -> that of safetensors


def save_policy(folder: epath.PathLike, model: Model, dtype: str = "bfloat16") -> None:
    """Writes a folder that transformers loads as a causal language model, with its tokenizer.

    Every process calls it; process 0 writes, and all return when the folder is there. What was in
    it goes; if a disk refuses, it stays.

    Args:
      folder: any epath.
      model: a policy; its `graphdef` plays no part.
      dtype: of the weights in the files, "bfloat16" or "float32".

    Raises:
      UserError: the disk or the bucket refuses; TransientError where it may not, later.
      ValueError: another dtype.
    """
    _save(folder, model.config.to_hf(), model, dtype)


def save_reward(folder: epath.PathLike, model: Model, dtype: str = "float32") -> None:
    """Like `save_policy`, for a reward model: token classification with one label.

    The label's logit at a token is the model's; of a model with `likelihood`, the part that is read
    from the hidden state. A vocabulary head that only the training needed stays behind.

    dtype: float32 keeps all that was learned. A short training at a low rate moves most weights by
    less than half of bfloat16's step there, so that in bfloat16 they would be those of before.
    """
    one_label = {
        "id2label": {"0": "correct"},
        "label2id": {"correct": 0},
        "classifier_dropout": 0.0,
    }
    if "scale" in model.params:
        one_label[LIKELIHOOD] = True
    read_again = model.with_params(reward.without_vocabulary(model.params))
    _save(folder, {**model.config.to_hf("TokenClassification"), **one_label}, read_again, dtype)


def _save(folder: epath.PathLike, config: dict[str, Any], model: Model, dtype: str) -> None:
    """config: the content of config.json but for what is added here."""
    if dtype not in _STORED:
        raise ValueError(f"dtype must be bfloat16 or float32, found {dtype!r}")
    tokenizer = model.tokenizer
    config |= {
        "torch_dtype": dtype,
        "bos_token_id": tokenizer.bos_id,
        "eos_token_id": tokenizer.eos_id,
    }
    # transformers trains no embedding for the padding token; the end of text needs one.
    if tokenizer.pad_id != tokenizer.eos_id:
        config["pad_token_id"] = tokenizer.pad_id

    def write(target: epath.Path) -> None:
        _write_weights(target, model.params, jnp.dtype(dtype))
        if _writes():
            tokenizer.save(target)
            storage.write_json(target / "config.json", config)

    target = storage.path(folder)
    with storage.refusals("write", target):
        if not _writes():
            write(target)
        elif storage.is_remote(target):
            clear(target)
            write(target)
        else:
            _replace_folder(target, write)
    processes.barrier(f"{target} is written")


def _writes() -> bool:
    """Whether this process writes what all gather."""
    return jax.process_index() == 0


# Weight files.


def _write_weights(target: epath.Path, params: nnx.State, dtype: np.dtype) -> None:
    """Weight files in `target`; several with an index when they are large."""
    leaves = jax.tree.leaves(params)
    files = _divide(tensors_of(params), dtype)
    weight_map: dict[str, str] = {}
    for number, tensors in enumerate(files, start=1):
        part = f"-{number:05d}-of-{len(files):05d}" if len(files) > 1 else ""
        name = f"model{part}.safetensors"
        weight_map |= dict.fromkeys(tensors, name)
        _write_file(target / name, tensors, leaves, dtype)
    if len(files) > 1 and _writes():
        sizes = [_bytes_of(tensor, dtype) for tensors in files for tensor in tensors.values()]
        index = {"metadata": {"total_size": sum(sizes)}, "weight_map": weight_map}
        storage.write_json(target / INDEX, index)


def _divide(tensors: dict[str, Tensor], dtype: np.dtype) -> list[dict[str, Tensor]]:
    """The tensors of each file, in order; a file is as full as `_FILE_BYTES` allows."""
    files: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = _bytes_of(tensor, dtype)
        if files[-1] and filled + size > _FILE_BYTES:
            files.append({})
            filled = 0
        files[-1][name] = tensor
        filled += size
    return files


def _bytes_of(tensor: Tensor, dtype: np.dtype) -> int:
    return math.prod(tensor.shape) * dtype.itemsize


def _write_file(
    file: epath.Path, tensors: dict[str, Tensor], leaves: list[Array], dtype: np.dtype
) -> None:
    """One safetensors file.

    The library's own writer wants all tensors in memory; here the host holds one.
    """
    header = make_header(
        (name, _STORED[dtype.name], tensor.shape, _bytes_of(tensor, dtype))
        for name, tensor in tensors.items()
    )
    # All processes take part in gathering; those that do not write write to nowhere.
    with storage.open_whole(file) if _writes() else open(os.devnull, "wb") as out:
        out.write(header)
        for tensor in tensors.values():
            stored = _as_stored(
                leaves[tensor.leaf], tensor.layer, tensor.transposed, tensor.shape, dtype
            )
            out.write(_to_host(stored).view(np.uint8).data)
            del stored  # before the next one is made


@functools.partial(jax.jit, static_argnames=("transposed", "shape", "dtype"))
def _as_stored(
    leaf: Float[Array, "..."],
    layer: int | Int[Array, ""] | None,
    transposed: bool,
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> Float[Array, "..."]:
    """The tensor of a file that `layer` of `leaf` (or all of it) is, made on the devices.

    An array of its own: its copy on the host, which JAX keeps beside it, goes with it.
    """
    value = leaf if layer is None else jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False)
    return (value.T if transposed else value.reshape(shape)).astype(dtype)


def _to_host(x: Array) -> np.ndarray:
    value = x if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True)
    return np.ascontiguousarray(value)


# The folder.


def clear(folder: epath.Path) -> None:
    """Takes the files out of `folder`, config.json first: from then on it is no export."""
    for name in sorted(storage.names(folder), key=lambda name: name != "config.json"):
        storage.remove(folder / name)


def _replace_folder(folder: epath.Path, write: Callable[[epath.Path], None]) -> None:
    """Calls `write(target)` with an empty folder, then makes `folder` be its content."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, so that it can be renamed: that works only within one disk.
    with tempfile.TemporaryDirectory(
        dir=os.fspath(folder.parent), prefix=f".{folder.name}.", ignore_cleanup_errors=True
    ) as temporary:
        target = epath.Path(temporary) / folder.name
        target.mkdir()
        write(target)
        if folder.exists():
            folder.rename(epath.Path(temporary) / "old")
        target.rename(folder)
