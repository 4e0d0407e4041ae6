"""Memory of the host while a large model is read onto devices and written back.

    python -m benchmarks.weights
    python -m benchmarks.weights --layers=4 --hidden=512 --ffn=1408 --heads=8 --kv_heads=2

The first command takes 1.1 billion parameters on 8 devices: 5 GiB of memory and 5 of disk. Makes a
random LLaMA of bfloat16 in several files in a temporary folder, reads it as float32 onto fake CPU
devices (mesh fsdp), once in one process and once in two that hold half of the devices each, and in
the first case writes it back and compares every tensor. Prints one line of JSON.

On a CPU the arrays of the devices lie in the memory of the host too. So `beyond` is the peak of a
process's own (anonymous) memory less what it had before and less its share of the arrays: what
reading needed besides, compiled programs included. `bound` is what it may be: 1.5 times the largest
tensor as the file has it, and the largest shard of a parameter. All in MiB.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import harness

if TYPE_CHECKING:  # a worker sets JAX up first
    from glore_jax.models.model import Model

MIB = 2**20
SIZES = {"vocab": 32000, "hidden": 2048, "ffn": 5632, "layers": 22, "heads": 32, "kv_heads": 4}
FILE_BYTES = 500_000_000
LOOK_SECONDS = 0.002  # between two looks at the memory


class Peak:
    """The most memory of this process within a `with`.

    Attributes:
      own: bytes above `before`.
    """

    def __init__(self, before: int):
        self.before = before

    def __enter__(self) -> Peak:
        self.most_own = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while True:
            self.most_own = max(self.most_own, memory())
            if self.ended.wait(LOOK_SECONDS):
                return

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.thread.join()
        self.own = self.most_own - self.before


def memory() -> int:
    """Own (anonymous) memory of this process, bytes."""
    text = pathlib.Path("/proc/self/status").read_text()
    fields = dict(line.split(":") for line in text.splitlines())
    return 1024 * int(fields["RssAnon"].split()[0])


def write_random(folder: pathlib.Path, config) -> None:
    """A folder that transformers would read, its tensors uniform in +-0.03; without tokenizer."""
    import ml_dtypes
    import safetensors.numpy

    from glore_jax.models import hf_names

    rng = np.random.default_rng(0)
    groups = grouped(tensor_shapes(config))
    files: dict[str, str] = {}
    for number, group in enumerate(groups):
        file = f"model-{number + 1:05d}-of-{len(groups):05d}.safetensors"
        content = {
            name: ((rng.random(shape, np.float32) - 0.5) * 0.06).astype(ml_dtypes.bfloat16)
            for name, shape in group.items()
        }
        safetensors.numpy.save_file(content, folder / file)
        files |= dict.fromkeys(group, file)
    (folder / hf_names.INDEX).write_text(json.dumps({"weight_map": files}))
    (folder / "config.json").write_text(json.dumps(config.to_hf()))


def tensor_shapes(config) -> dict[str, tuple[int, ...]]:
    """The tensors of a checkpoint of `config` in Hugging Face form, by name."""
    from glore_jax.models import hf_names, llama

    _, shapes = llama.abstract(config)
    return {name: tensor.shape for name, tensor in hf_names.tensors_of(shapes).items()}


def grouped(shapes: dict[str, tuple[int, ...]]) -> list[dict[str, tuple[int, ...]]]:
    """`shapes` in their order, cut where a file of bfloat16 would exceed FILE_BYTES."""
    groups: list[dict[str, tuple[int, ...]]] = [{}]
    size = 0
    for name, shape in shapes.items():
        tensor_bytes = 2 * math.prod(shape)
        if groups[-1] and size + tensor_bytes > FILE_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = shape
        size += tensor_bytes
    return groups


def worker(folder: str, rank: int, port: int, again: str) -> None:
    """One process: reads `folder`, writes it to `again` if that is given, prints its figures."""
    import jax

    if port:
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    from glore_jax.models import hf_export

    described = describe(folder)
    # Modules and devices take memory when they are first used; that is not of reading.
    jax.block_until_ready([jax.numpy.zeros(8, device=d) for d in jax.local_devices()])
    before = memory()
    with Peak(before) as peak, harness.Clock() as clock:
        params = jax.block_until_ready(read_params(folder, described))
    leaves = jax.tree.leaves(params)
    shards = [shard.data.nbytes for x in leaves for shard in x.addressable_shards]
    line: dict[str, Any] = {
        "read": {
            "arrays": sum(shards) // MIB,
            "beyond": (peak.own - sum(shards)) // MIB,
            "seconds": round(clock.wall, 1),
        },
        "shard_bytes": max(shards),
    }
    if again:
        with Peak(before) as peak, harness.Clock() as clock:
            hf_export.save_policy(again, described.with_params(params))
        line["write"] = {
            "beyond": (peak.own - sum(shards)) // MIB,
            "seconds": round(clock.wall, 1),
        }
    print(json.dumps(line), flush=True)


def describe(folder: str) -> Model:
    """The model in `folder` before it is read: float32 shapes, divided over all devices."""
    import tokenizers

    from glore_jax.models import hf_import, llama
    from glore_jax.models.model import Model
    from glore_jax.models.tokenizer import Tokenizer
    from glore_jax.parallel import mesh as meshes

    config = hf_import.read_config(folder)
    graphdef, abstract = llama.abstract(config)
    shapes = meshes.placed(abstract, meshes.param_shardings(abstract, meshes.make_mesh()))
    words = tokenizers.models.WordLevel({"a": 0}, "a")
    tokenizer = Tokenizer(tokenizers.Tokenizer(words), bos_id=1, eos_id=2)
    return Model(graphdef, shapes, config, tokenizer)


def read_params(folder: str, described: Model):
    """The parameters in `folder`, each where `described` says."""
    import jax

    from glore_jax.models import hf_import

    shardings = jax.tree.map(lambda x: x.sharding, described.params)
    return hf_import.read_weights(folder, described.params, shardings)


def start(folder, devices: int, rank: int = 0, port: int = 0, again="") -> subprocess.Popen:
    """Starts a worker with fake `devices` of its own."""
    flags = (f"--folder={folder}", f"--rank={rank}", f"--port={port}", f"--again={again}")
    environment = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "NPROC": "16",  # fewer threads than fake devices deadlock on a small machine
    }
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.weights", *flags],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(workers: list[subprocess.Popen]) -> list[dict[str, Any]]:
    """The figures that the workers print, once all have ended."""
    try:
        outputs = [w.communicate()[0] for w in workers]
    finally:
        for w in workers:
            w.kill()
    if any(w.returncode for w in workers):
        sys.exit("a worker failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def differing(folder: pathlib.Path, again: pathlib.Path) -> list[str]:
    """Names of the tensors that are not the same, bit for bit, in both folders."""
    import safetensors

    from glore_jax.models import hf_import

    def names(folder: pathlib.Path) -> dict[str, pathlib.Path]:
        found: dict[str, pathlib.Path] = {}
        for file in sorted(folder.glob("*.safetensors")):
            with safetensors.safe_open(file, "np") as tensors:
                found |= dict.fromkeys(tensors.keys(), file)
        return found

    def value(file: pathlib.Path, name: str) -> np.ndarray:
        with safetensors.safe_open(file, "np") as tensors:
            return tensors.get_tensor(name).view(np.uint16)  # the bits of a bfloat16

    first = names(folder)
    second = names(again)
    assert hf_import.read_config(folder) == hf_import.read_config(again)
    return [
        name
        for name in first.keys() | second.keys()
        if not np.array_equal(value(first[name], name), value(second[name], name))
    ]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def read_flags() -> argparse.Namespace:
    parser = harness.parser(__doc__)
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--devices", type=int, default=8)
    for name in ("folder", "rank", "port", "again"):  # of a worker
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    return parser.parse_args()


def config_of(flags: argparse.Namespace):
    """The model whose sizes the flags give."""
    from glore_jax.models.config import LlamaConfig

    return LlamaConfig(
        vocab_size=flags.vocab,
        hidden_size=flags.hidden,
        intermediate_size=flags.ffn,
        num_layers=flags.layers,
        num_heads=flags.heads,
        num_kv_heads=flags.kv_heads,
        head_dim=flags.hidden // flags.heads,
        max_positions=2048,
    )


def main() -> None:
    flags = read_flags()
    if flags.folder:
        worker(flags.folder, int(flags.rank), int(flags.port), flags.again)
        return
    config = config_of(flags)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "model"
        again = pathlib.Path(temporary) / "again"
        folder.mkdir()
        write_random(folder, config)
        (one,) = finish([start(folder, flags.devices, again=again)])
        unequal = differing(folder, again)
        port = free_port()
        two = finish([start(folder, flags.devices // 2, rank, port) for rank in range(2)])
        file_bytes = [file.stat().st_size for file in folder.glob("*.safetensors")]

    sizes = [math.prod(shape) for shape in tensor_shapes(config).values()]
    bound = 1.5 * max(2 * size for size in sizes) + one["shard_bytes"]
    line = {
        "parameters": sum(sizes),
        "files": len(file_bytes),
        "file_mib": max(file_bytes) // MIB,
        "devices": flags.devices,
        "bound": int(bound) // MIB,
        "read": one["read"],
        "read_by_two": [w["read"] for w in two],
        "write": one["write"],
        "unequal": unequal,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
