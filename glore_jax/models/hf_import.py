"""Reads LLaMA folders in Hugging Face form: config, safetensors weights, tokenizer; no torch.

Weights stream: a file is open once, each process reads only the part of each tensor that its own
devices hold and hands it over before it reads the next, and a remote file (gs://...) is on the
local disk only while it is being read. Every tensor must be expected and every expected tensor must
be there; nothing is skipped or left at its initial value.
"""

import contextlib
import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from etils import epath
from flax import nnx
from jax import Array
from jax.sharding import Mesh, Sharding
from jaxtyping import Float, Int

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import llama, reward
from glore_jax.models.config import LlamaConfig
from glore_jax.models.hf_names import INDEX, LIKELIHOOD, WEIGHTS, Tensor, tensors_of
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes

_COPY_BYTES = 1 << 24  # of a remote file at a time

# (start, stop) along each axis of an array.
Bounds = tuple[tuple[int, int], ...]


def is_export(folder: epath.PathLike) -> bool:
    """Whether `folder` holds a whole model: its `config.json` is written last."""
    return storage.exists(storage.path(folder) / "config.json")


def read_config(folder: epath.PathLike) -> LlamaConfig:
    """The sizes in `folder/config.json`.

    Raises:
      UserError: it is missing, malformed or not a LLaMA that we compute.
    """
    file = storage.path(folder) / "config.json"
    content = storage.read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(content).__name__}")
    return LlamaConfig.from_hf(content, source=str(file))


def read_reward_options(folder: epath.PathLike) -> dict[str, bool]:
    """Arguments of `RewardModel` that `folder/config.json` asks for."""
    content = storage.read_json(storage.path(folder) / "config.json")
    return {"likelihood": bool(content.get(LIKELIHOOD))}


def read_policy(
    folder: epath.PathLike,
    *,
    param_dtype: Any = "float32",
    mesh: Mesh | None = None,
    **options: Any,
) -> Model:
    """A policy from a `LlamaForCausalLM` folder.

    Args:
      folder: `config.json`, `tokenizer.json` and its like, and `model.safetensors` or several
        files with `model.safetensors.index.json`; any epath.
      param_dtype: what the parameters are cast to, float32 or bfloat16.
      mesh: over which the parameters are spread; None: all on the first local device.
      options: `dtype`, `remat`, `unroll`, `kernel`, as for `Llama`.

    Raises:
      UserError: no such folder, no weights, a damaged file, or a tensor that is missing, unknown
        or of another shape.
    """
    return _read_model(folder, llama.abstract, param_dtype, mesh, options)


def read_reward_model(
    folder: epath.PathLike,
    *,
    param_dtype: Any = "float32",
    mesh: Mesh | None = None,
    **options: Any,
) -> Model:
    """A reward model from a `LlamaForTokenClassification` folder with one label.

    Arguments and errors as for `read_policy`.
    """
    asked = read_reward_options(folder)
    return _read_model(folder, reward.abstract, param_dtype, mesh, options | asked)


def _read_model(
    folder: epath.PathLike,
    abstract: Callable[..., Any],
    param_dtype: Any,
    mesh: Mesh | None,
    options: dict[str, Any],
) -> Model:
    config = read_config(folder)
    tokenizer = Tokenizer.load(folder)
    graphdef, shapes = abstract(config, param_dtype=param_dtype, **options)
    shardings = None if mesh is None else meshes.param_shardings(shapes, mesh)
    return Model(graphdef, read_weights(folder, shapes, shardings), config, tokenizer)


def read_weights(folder: epath.PathLike, shapes: nnx.State, shardings: Any = None) -> nnx.State:
    """The weight files of `folder` as parameters.

    Args:
      folder: as for `read_policy`; only its weight files are read.
      shapes: `abstract` parameters of `llama.py` or `reward.py`, stacked: what the files must
        hold, and the dtypes that they are cast to.
      shardings: a tree of `jax.sharding.Sharding` beside `shapes`; None: all on the first local
        device.

    Raises:
      UserError: as for `read_policy`.
    """
    folder = storage.path(folder)
    leaves, treedef = jax.tree.flatten(shapes)
    tensors = tensors_of(shapes)
    files = _files(folder)
    stored = {name for content in files.values() for name in content}
    _check_names(folder, stored, tensors)

    if shardings is None:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shardings = [here] * len(leaves)
    places = jax.tree.leaves(shardings)
    targets = [_Target(leaf, place) for leaf, place in zip(leaves, places, strict=True)]
    for file in files:
        with _open(folder / file) as content:
            for name in content.keys():  # noqa: SIM118, it is no dict
                if name in tensors:
                    source, tensor = content.get_slice(name), tensors[name]
                    _check_tensor(folder / file, name, source, tensor)
                    targets[tensor.leaf].take(source, tensor)
    return jax.tree.unflatten(treedef, [target.array() for target in targets])


class _Target:
    """A parameter that fills tensor by tensor, in whatever order the files have them.

    Its parts lie on this process's devices from the start; the host holds one part of one tensor
    at a time.
    """

    def __init__(self, leaf: jax.ShapeDtypeStruct, sharding: Sharding):
        self.leaf = leaf
        self.sharding = sharding
        # Bounds of a part -> the devices that hold it (several, where it is replicated).
        self.holders: dict[Bounds, list[jax.Device]] = {}
        for device, index in sharding.addressable_devices_indices_map(leaf.shape).items():
            self.holders.setdefault(_bounds(index, leaf.shape), []).append(device)
        self.parts: dict[jax.Device, Array] = {}

    def take(self, source: Any, tensor: Tensor) -> None:
        """Reads from an open tensor what the devices hold of it, and no more."""
        for bounds, devices in self.holders.items():
            index = tuple(slice(start, stop) for start, stop in bounds)
            slot = None  # which of the layers in this part it is
            if tensor.layer is not None:
                first, after = bounds[0]
                if not first <= tensor.layer < after:
                    continue
                slot = tensor.layer - first
                index = index[1:]  # the file has each layer by itself
            values = _read(source, index, tensor).astype(self.leaf.dtype)
            for device in devices:
                part = self._hand_over(values, device, slot)
            # Otherwise the host runs ahead and holds many.
            jax.block_until_ready(part)

    def _hand_over(self, values: np.ndarray, device: jax.Device, slot: int | None) -> Array:
        """Puts values on a device: the whole part, or layer `slot` of it."""
        part = jax.device_put(values, device)
        if slot is not None:
            stack = self.parts.pop(device, None)  # given up here, to be written in place
            if stack is None:
                shape = self.sharding.shard_shape(self.leaf.shape)
                stack = jnp.zeros(shape, self.leaf.dtype, device=device)
            part = _set_layer(stack, part, slot)
        self.parts[device] = part
        return part

    def array(self) -> Array:
        parts = list(self.parts.values())
        return jax.make_array_from_single_device_arrays(self.leaf.shape, self.sharding, parts)


@functools.partial(jax.jit, donate_argnums=0)
def _set_layer(
    stack: Float[Array, "layers ..."], part: Float[Array, "..."], layer: int | Int[Array, ""]
) -> Float[Array, "layers ..."]:
    """`stack` [layers, ...] with `part` [...] at `layer`, in place."""
    return jax.lax.dynamic_update_index_in_dim(stack, part, layer, 0)


def _read(source: Any, index: tuple[slice, ...], tensor: Tensor) -> np.ndarray:
    """`index` of our form of a tensor, in the file's dtype."""
    if tensor.transposed:
        return source[index[::-1]].T
    # The file may have axes of size 1 in front that we do not have.
    ones = (slice(0, 1),) * (len(tensor.shape) - len(index))
    values = source[ones + index]
    return values.reshape(values.shape[len(ones) :])


def _bounds(index: Any, shape: tuple[int, ...]) -> Bounds:
    """Slices as (start, stop) of each axis: a key, which slices cannot be before Python 3.12."""
    return tuple(s.indices(n)[:2] for s, n in zip(index, shape, strict=True))


def _check_names(folder: epath.Path, stored: set[str], expected: Collection[str]) -> None:
    """UserError if the files lack an expected tensor or hold an unknown one."""
    # A constant in old files.
    stored = {name for name in stored if not name.endswith("rotary_emb.inv_freq")}
    if "lm_head.weight" not in expected and "score.weight" not in expected:
        # A tied policy may carry its head as a second copy of the embedding.
        stored.discard("lm_head.weight")
    if missing := sorted(set(expected) - stored):
        raise UserError(f"{folder}: weights lack {_some(missing)}")
    if unknown := sorted(stored - set(expected)):
        raise UserError(
            f"{folder}: unknown weights {_some(unknown)}; does config.json belong to them?"
        )


def _check_tensor(file: epath.Path, name: str, source: Any, tensor: Tensor) -> None:
    shape, dtype = source.get_shape(), source.get_dtype()
    if tuple(shape) != tensor.shape:
        raise UserError(
            f"{file}: tensor {name} has shape {list(shape)}, expected {list(tensor.shape)}"
        )
    if dtype not in ("F32", "F16", "BF16"):
        raise UserError(f"{file}: tensor {name} is {dtype}; only F32, F16 and BF16 are supported")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _files(folder: epath.Path) -> dict[str, list[str]]:
    """Weight file name -> names of its tensors."""
    if (folder / INDEX).exists():
        return _indexed_files(folder)
    if (folder / WEIGHTS).exists():
        with _open(folder / WEIGHTS) as content:
            return {WEIGHTS: list(content.keys())}
    torch_files = ("pytorch_model.bin", "pytorch_model.bin.index.json")
    if any((folder / name).exists() for name in torch_files):
        raise UserError(
            f"{folder}: has pytorch_model.bin only; "
            "transformers' save_pretrained writes safetensors"
        )
    raise UserError(f"{folder}: no weights ({WEIGHTS} or {INDEX})")


def _indexed_files(folder: epath.Path) -> dict[str, list[str]]:
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


@contextlib.contextmanager
def _open(file: epath.Path) -> Iterator[Any]:
    """A safetensors file; a remote one is fetched to a temporary local copy first."""
    with contextlib.ExitStack() as stack:
        local = os.fspath(file)
        if "://" in local:
            copies = stack.enter_context(tempfile.TemporaryDirectory())
            local = os.path.join(copies, file.name)
            with file.open("rb") as source, open(local, "wb") as copy:
                shutil.copyfileobj(source, copy, _COPY_BYTES)
        try:
            content = stack.enter_context(safetensors.safe_open(local, framework="np"))
        except (safetensors.SafetensorError, OSError) as error:
            raise UserError(
                f"{file}: truncated or damaged safetensors file ({error}); download it again"
            ) from error
        yield content
