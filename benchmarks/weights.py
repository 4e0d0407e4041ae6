"""Memory of the host while a large model is read onto devices and written back.

    python -m benchmarks.weights    # 1.1 billion parameters: 5 GiB of memory, 5 of disk
    python -m benchmarks.weights --layers=4 --hidden=512 --ffn=1408 --heads=8 --kv_heads=2

Makes a random LLaMA of bfloat16 in several files in a temporary folder, reads it as float32 onto
fake CPU devices (mesh fsdp), once in one process and once in two that hold half of the devices
each, and in the first case writes it back and compares every tensor. Prints one line of JSON.

On a CPU the arrays of the devices lie in the memory of the host too. So `beyond` is the peak of a
process's own (anonymous) memory less what it had before and less its share of the arrays: what
reading needed besides, compiled programs included. `bound` is what it may be: 1.5 times the largest
tensor as the file has it, and the largest shard of a parameter. `mapped` is the most that a file's
pages took in memory: the system lends them as long as nobody else wants them. All in MiB.
"""

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
import time

import numpy as np

MIB = 2**20
SIZES = {"vocab": 32000, "hidden": 2048, "ffn": 5632, "layers": 22, "heads": 32, "kv_heads": 4}
FILE_BYTES = 500_000_000


class Peak:
    """The most memory of this process within a `with`, bytes above `before`.

    `own` is anonymous memory, `mapped` are pages of files.
    """

    def __init__(self, before: tuple[int, int]):
        self.before = before

    def __enter__(self):
        self.most = (0, 0)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while True:
            self.most = tuple(map(max, self.most, memory()))
            if self.ended.wait(0.002):
                return

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()
        self.own, self.mapped = (m - b for m, b in zip(self.most, self.before, strict=True))


def memory() -> tuple[int, int]:
    """Anonymous memory and mapped pages of files of this process, bytes."""
    status = pathlib.Path("/proc/self/status").read_text()
    lines = dict(line.split(":") for line in status.splitlines())
    return tuple(1024 * int(lines[name].split()[0]) for name in ("RssAnon", "RssFile"))


def write_random(folder: pathlib.Path, config) -> None:
    """A folder that transformers would read but for its tokenizer, tensors uniform in +-0.03."""
    import ml_dtypes
    import safetensors.numpy

    from glore_jax.models import hf_names, llama

    groups = [{}]
    size = 0
    for name, tensor in hf_names.tensors_of(llama.abstract(config)[1]).items():
        bytes_of_it = 2 * math.prod(tensor.shape)
        if groups[-1] and size + bytes_of_it > FILE_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = tensor.shape
        size += bytes_of_it
    rng = np.random.default_rng(0)

    def draw(shape):
        return ((rng.random(shape, np.float32) - 0.5) * 0.06).astype(ml_dtypes.bfloat16)

    files = {}
    for number, group in enumerate(groups, start=1):
        file = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        content = {name: draw(shape) for name, shape in group.items()}
        safetensors.numpy.save_file(content, folder / file)
        files |= dict.fromkeys(group, file)
    (folder / hf_names.INDEX).write_text(json.dumps({"weight_map": files}))
    (folder / "config.json").write_text(json.dumps(config.to_hf()))


def worker(folder: str, rank: int, port: int, again: str) -> None:
    """One process: reads `folder`, writes it to `again` if that is given, prints its figures."""
    import jax

    if port:
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    from glore_jax.models import hf_export, hf_import, llama
    from glore_jax.models.model import Model
    from glore_jax.parallel import mesh as meshes

    config = hf_import.read_config(folder)
    graphdef, shapes = llama.abstract(config)
    shardings = meshes.param_shardings(shapes, meshes.make_mesh())
    jax.block_until_ready([jax.numpy.zeros(8, device=d) for d in jax.local_devices()])
    before, start = memory(), time.perf_counter()
    with Peak(before) as peak:
        params = jax.block_until_ready(hf_import.read_weights(folder, shapes, shardings))
    shards = [s.data.nbytes for x in jax.tree.leaves(params) for s in x.addressable_shards]
    line = {
        "read": {
            "arrays": sum(shards) // MIB,
            "beyond": (peak.own - sum(shards)) // MIB,
            "mapped": peak.mapped // MIB,
            "seconds": round(time.perf_counter() - start, 1),
        },
        "shard_bytes": max(shards),
    }
    if again:
        model = Model(graphdef, params, config, one_word())
        start = time.perf_counter()
        with Peak(before) as peak:
            hf_export.save_policy(again, model)
        line["write"] = {
            "beyond": (peak.own - sum(shards)) // MIB,
            "seconds": round(time.perf_counter() - start, 1),
        }
    print(json.dumps(line), flush=True)


def one_word():
    """A tokenizer, since a folder needs one."""
    import tokenizers

    from glore_jax.models.tokenizer import Tokenizer

    words = tokenizers.models.WordLevel({"a": 0}, "a")
    return Tokenizer(tokenizers.Tokenizer(words), bos_id=1, eos_id=2)


def start(folder, devices: int, rank: int = 0, port: int = 0, again: str = "") -> subprocess.Popen:
    """A process that runs `worker`."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.weights"]
    command += [f"--folder={folder}", f"--rank={rank}", f"--port={port}", f"--again={again}"]
    return subprocess.Popen(
        command,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": "16"},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(workers: list[subprocess.Popen]) -> list[dict]:
    """What each of them printed."""
    try:
        lines = [w.communicate()[0].splitlines() for w in workers]
    finally:
        for w in workers:
            w.kill()
    if any(w.returncode for w in workers):
        sys.exit("a worker failed")
    return [json.loads(found[-1]) for found in lines]


def differing(folder, again) -> list[str]:
    """Names of the tensors that are not the same, bit for bit, in both folders."""
    import safetensors

    from glore_jax.models import hf_import

    def each(folder):
        for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
            with safetensors.safe_open(file, "np") as tensors:
                yield {name: (file, name) for name in tensors.keys()}

    def value(place):
        with safetensors.safe_open(place[0], "np") as tensors:
            return tensors.get_tensor(place[1])

    first, second = ({k: v for part in each(f) for k, v in part.items()} for f in (folder, again))
    assert hf_import.read_config(folder) == hf_import.read_config(again)

    def same(name):
        a, b = (value(found[name]).view(np.uint16) for found in (first, second))
        return np.array_equal(a, b)

    return [name for name in first.keys() | second.keys() if not same(name)]


def measure(config, devices: int) -> dict:
    """The figures of a model of `config`, see the module docstring."""
    from glore_jax.models import hf_names, llama

    tensors = hf_names.tensors_of(llama.abstract(config)[1]).values()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "model"
        again = pathlib.Path(temporary) / "again"
        folder.mkdir()
        write_random(folder, config)
        (one,) = finish([start(folder, devices, again=again)])
        unequal = differing(folder, again)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        two = finish([start(folder, devices // 2, rank, port) for rank in range(2)])
        files = [f.stat().st_size for f in folder.glob("*.safetensors")]
    largest = max(2 * math.prod(t.shape) for t in tensors)
    return {
        "parameters": sum(math.prod(t.shape) for t in tensors),
        "files": len(files),
        "file_mib": max(files) // MIB,
        "devices": devices,
        "bound": int(1.5 * largest + one["shard_bytes"]) // MIB,
        "read": one["read"],
        "read_by_two": [w["read"] for w in two],
        "write": one["write"],
        "unequal": unequal,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, size in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--devices", type=int, default=8)
    for name in ("folder", "rank", "port", "again"):  # of a worker
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.folder:
        worker(flags.folder, int(flags.rank), int(flags.port), flags.again)
        return
    from glore_jax.models.config import LlamaConfig

    config = LlamaConfig(
        vocab_size=flags.vocab,
        hidden_size=flags.hidden,
        intermediate_size=flags.ffn,
        num_layers=flags.layers,
        num_heads=flags.heads,
        num_kv_heads=flags.kv_heads,
        head_dim=flags.hidden // flags.heads,
        max_positions=2048,
    )
    print(json.dumps(measure(config, flags.devices)))


if __name__ == "__main__":
    main()
