"""Reads models: folders in Hugging Face form, and GGUF files; no torch.

Weights stream, from a disk or a bucket, in pieces of what is wanted: of parameters over a mesh of
several processes each reads its share of every tensor, so that together they read a file once; of
parameters on its own devices a process reads all. A host holds about one tensor at a time. Every
tensor must be expected and every expected tensor must be there; nothing is skipped or left at its
initial value.
"""

import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Float, Int

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import gguf_files, llama, reward, weight_files, weight_folders
from glore_jax.models.config import LlamaConfig
from glore_jax.models.hf_names import LIKELIHOOD, Tensor, tensors_of
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.models.weight_files import Rows, Stored
from glore_jax.parallel import mesh as meshes


def is_export(folder: epath.PathLike) -> bool:
    """Whether `folder` holds a whole model: its `config.json` is written last."""
    return storage.exists(storage.path(folder) / "config.json")


def is_model(source: epath.PathLike) -> bool:
    """Whether `source`, a folder or the name of a GGUF file, says what model it is."""
    return storage.exists(source) if gguf_files.is_one(source) else is_export(source)


def read_config(folder: epath.PathLike) -> LlamaConfig:
    """The sizes in `folder/config.json`, or in a GGUF file.

    Raises:
      UserError: it is missing, malformed or not a LLaMA that we compute.
    """
    source = storage.path(folder)
    if gguf_files.is_one(source):
        return gguf_files.read_config(source)
    file = source / "config.json"
    if not storage.exists(file):
        raise UserError(
            f"{file}: no such file; a folder in Hugging Face form has one, and a model of the hub "
            "is written hf://ORG/NAME"
        )
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
    """A policy from the folder of a causal language model.

    Args:
      folder: `config.json`, `tokenizer.json` and its like, and `model.safetensors` or several
        files with `model.safetensors.index.json`; any epath. Or a GGUF file.
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
    """A reward model from the folder of a token classification with one label.

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
        device. All processes that have devices in them call it together.

    Raises:
      UserError: as for `read_policy`.
      TransientError: the store does not answer.
    """
    folder = storage.path(folder)
    leaves, treedef = jax.tree.flatten(shapes)
    tensors = tensors_of(shapes)
    found = weight_folders.tensors(folder)
    _check_names(folder, {stored.name for stored in found}, tensors)
    found = [stored for stored in found if stored.name in tensors]
    for stored in found:
        _check_tensor(stored, tensors[stored.name])

    if shardings is None:
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        shardings = [here] * len(leaves)
    places = jax.tree.leaves(shardings)
    targets = [_Target(leaf, place) for leaf, place in zip(leaves, places, strict=True)]
    wanted = [targets[tensors[stored.name].leaf].rows(stored) for stored in found]
    largest = max(stored.bytes for stored in found)
    for stored, read in zip(found, weight_files.read(wanted, largest), strict=True):
        tensor = tensors[stored.name]
        targets[tensor.leaf].take(stored, tensor, read)
    return jax.tree.unflatten(treedef, [target.value for target in targets])


class _Target:
    """A parameter that fills tensor by tensor, in whatever order the files have them.

    The rows of a tensor as the file has it are divided over all devices of the parameter, so each
    byte is read once, by one process; from there they move to where they belong over the devices'
    own network. Here two processes of two devices each, and a parameter divided by columns:

        process   device   reads      the tensor     the parameter
        0         0        row 0      0 0 0 0        0 1 2 3
        0         1        row 1      1 1 1 1   ->   0 1 2 3
        1         2        row 2      2 2 2 2        0 1 2 3
        1         3        row 3      3 3 3 3        0 1 2 3
    """

    def __init__(self, leaf: jax.ShapeDtypeStruct, sharding: Sharding):
        self.leaf = leaf
        self.sharding = sharding
        self.value: Array | None = None
        self._by_rows = sharding
        if isinstance(sharding, NamedSharding):
            self._by_rows = NamedSharding(sharding.mesh, PartitionSpec(sharding.mesh.axis_names))

    def rows(self, stored: Stored) -> list[Rows]:
        """What this process reads of a tensor: rows that follow each other, in as few runs as
        there are."""
        runs: list[Rows] = []
        for first, after, _ in self._pieces(stored):
            if runs and runs[-1].after == first:
                first = runs.pop().first
            if after > first:
                runs.append(Rows(stored, first, after))
        return runs

    def take(self, stored: Stored, tensor: Tensor, read: list[np.ndarray]) -> None:
        """Puts what this process read of a tensor in place. All processes call it together."""
        into = self.value
        if into is None and tensor.layer is not None:
            into = jnp.zeros(self.leaf.shape, self.leaf.dtype, device=self.sharding)
        put = _put(self.sharding)
        shape = stored.shape or (1,)
        divided = self._divided(stored, read)
        self.value = put(
            into, divided, tensor.layer, shape[0], stored.turned_heads, tensor.transposed, self.leaf
        )
        # Otherwise the host runs ahead and holds many.
        jax.block_until_ready(self.value)

    def _pieces(self, stored: Stored) -> list[tuple[int, int, jax.Device]]:
        """(first row, the one after the last, device) of this process's devices, in this order."""
        total = stored.shape[0] if stored.shape else 1
        shape = (self._height(stored) * len(self._by_rows.device_set),)
        where = self._by_rows.addressable_devices_indices_map(shape)
        pieces = []
        for device, index in where.items():
            assert index is not None  # only of devices that are not addressable
            first, after, _ = index[0].indices(shape[0])
            pieces.append((min(first, total), min(after, total), device))
        return sorted(pieces, key=lambda piece: piece[:2])

    def _height(self, stored: Stored) -> int:
        """How many rows of a tensor a device gets; the last devices may get fewer."""
        total = stored.shape[0] if stored.shape else 1
        return -(-total // len(self._by_rows.device_set))

    def _divided(self, stored: Stored, read: list[np.ndarray]) -> Array:
        """The tensor with its rows over the devices; behind them empty ones, where their number
        does not divide."""
        runs = iter(read)
        run = np.empty((0, *stored.shape[1:]), stored.numpy_dtype)
        height = self._height(stored)
        parts = []
        for first, after, device in self._pieces(stored):
            if after > first and not len(run):
                run = next(runs)
            part, run = run[: after - first], run[after - first :]
            if len(part) < height:
                empty = np.zeros((height - len(part), *part.shape[1:]), part.dtype)
                part = np.concatenate([part, empty])
            parts.append(jax.device_put(part, device))
        shape = (height * len(self._by_rows.device_set), *stored.shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self._by_rows, parts)


@functools.cache
def _put(sharding: Sharding) -> Callable[..., Array]:
    """The compiled step from rows to a parameter that lies as `sharding` says."""

    def put(
        into: Float[Array, "..."] | None,
        divided: Float[Array, "rows ..."],
        layer: int | Int[Array, ""] | None,
        rows: int,
        turned_heads: int,
        transposed: bool,
        leaf: jax.ShapeDtypeStruct,
    ) -> Float[Array, "..."]:
        """A tensor, the first `rows` of what was read, as `leaf`, or as `layer` of it in `into`,
        in place. `turned_heads`: as of `Stored`."""
        value = divided[:rows]
        if turned_heads:
            pairs = value.reshape(turned_heads, -1, 2, *value.shape[1:])
            value = pairs.swapaxes(1, 2).reshape(value.shape)
        value = (value.T if transposed else value).astype(leaf.dtype)
        if into is None:
            return value.reshape(leaf.shape)
        value = value.reshape(leaf.shape[1:])
        return jax.lax.dynamic_update_index_in_dim(into, value, layer, 0)

    return jax.jit(put, out_shardings=sharding, donate_argnums=0, static_argnums=(3, 4, 5, 6))


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


def _check_tensor(stored: Stored, tensor: Tensor) -> None:
    if stored.shape != tensor.shape:
        raise UserError(
            f"{stored.file}: tensor {stored.name} has shape {list(stored.shape)}, "
            f"expected {list(tensor.shape)}"
        )
    stored.check_dtype()


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
