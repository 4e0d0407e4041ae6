"""Memory of the host while a large model is read onto devices and written back; prints one line of JSON.

    python -m benchmarks.weights                                  # 1.1 billion parameters on 8 devices: 5 GiB of memory, 5 of disk
    python -m benchmarks.weights --layers=4 --hidden=512 --ffn=1408 --heads=8 --kv_heads=2

Makes a random LLaMA of bfloat16 in several files in a temporary folder, reads it as float32 onto fake CPU devices (mesh fsdp), once
in one process and once in two that hold half of the devices each, and in the first case writes it back and compares every tensor.

On a CPU the arrays of the devices lie in the memory of the host too. So `beyond` is the peak of a process's own (anonymous) memory
less what it had before and less its share of the arrays: what reading needed besides, compiled programs included. `bound` is what
it may be: 1.5 times the largest tensor as the file has it, and the largest shard of a parameter. `mapped` is the most that a file's
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
    """The most memory of this process within a `with`: `own` (anonymous) and `mapped` (pages of files), bytes above `before`."""

    def __init__(self, before: tuple[int, int]):
        self.before = before

    def __enter__(self):
        self.most, self.ended = (0, 0), threading.Event()
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
    lines = dict(
        line.split(":") for line in pathlib.Path("/proc/self/status").read_text().splitlines()
    )
    return tuple(1024 * int(lines[name].split()[0]) for name in ("RssAnon", "RssFile"))


def write_random(folder: pathlib.Path, config) -> None:
    """A folder that transformers would read, its tensors uniform in +-0.03; the tokenizer is left out."""
    import ml_dtypes
    import safetensors.numpy

    from glore_jax.models import hf, llama

    rng, groups, size = np.random.default_rng(0), [{}], 0
    for name, tensor in hf.expected(llama.abstract(config)[1]).items():
        bytes_of_it = 2 * math.prod(tensor.shape)
        if groups[-1] and size + bytes_of_it > FILE_BYTES:
            groups.append({})
            size = 0
        groups[-1][name] = tensor.shape
        size += bytes_of_it
    files = {}
    for number, group in enumerate(groups):
        file = f"model-{number + 1:05d}-of-{len(groups):05d}.safetensors"
        content = {
            name: ((rng.random(shape, np.float32) - 0.5) * 0.06).astype(ml_dtypes.bfloat16)
            for name, shape in group.items()
        }
        safetensors.numpy.save_file(content, folder / file)
        files |= dict.fromkeys(group, file)
    (folder / hf.INDEX).write_text(json.dumps({"weight_map": files}))
    (folder / "config.json").write_text(json.dumps(config.to_hf()))


def worker(folder: str, rank: int, port: int, again: str) -> None:
    """One process: reads `folder`, writes it to `again` unless that is empty, prints its figures."""
    import jax

    if port:
        jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    from glore_jax.models import hf, llama
    from glore_jax.models.model import Model
    from glore_jax.models.tokenizer import Tokenizer
    from glore_jax.parallel import mesh as meshes

    config = hf.read_config(folder)
    shardings = meshes.param_shardings(llama.abstract(config)[1], meshes.make_mesh())
    jax.block_until_ready([jax.numpy.zeros(8, device=d) for d in jax.local_devices()])
    before, start = memory(), time.perf_counter()
    with Peak(before) as peak:
        params = jax.block_until_ready(hf.load_policy_params(folder, config, shardings=shardings))
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
        import tokenizers

        words = Tokenizer(
            tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, "a")), bos_id=1, eos_id=2
        )
        start = time.perf_counter()
        with Peak(before) as peak:
            hf.save_policy(again, Model(None, params, config, words))
        line["write"] = {
            "beyond": (peak.own - sum(shards)) // MIB,
            "seconds": round(time.perf_counter() - start, 1),
        }
    print(json.dumps(line), flush=True)


def start(folder, devices: int, rank: int = 0, port: int = 0, again: str = "") -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.weights",
            f"--folder={folder}",
            f"--rank={rank}",
            f"--port={port}",
            f"--again={again}",
        ],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "NPROC": "16"},
        stdout=subprocess.PIPE,
        text=True,
    )


def finish(workers: list[subprocess.Popen]) -> list[dict]:
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

    from glore_jax.models import hf

    def each(folder):
        for file in sorted(pathlib.Path(folder).glob("*.safetensors")):
            with safetensors.safe_open(file, "np") as tensors:
                yield {name: (file, name) for name in tensors.keys()}

    def value(place):
        with safetensors.safe_open(place[0], "np") as tensors:
            return tensors.get_tensor(place[1])

    first, second = ({k: v for part in each(f) for k, v in part.items()} for f in (folder, again))
    assert hf.read_config(folder) == hf.read_config(again)
    return [
        n
        for n in first.keys() | second.keys()
        if not np.array_equal(*(value(f[n]).view(np.uint16) for f in (first, second)))
    ]


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
    from glore_jax.models import hf, llama
    from glore_jax.models.config import LlamaConfig

    config = LlamaConfig(
        flags.vocab,
        flags.hidden,
        flags.ffn,
        flags.layers,
        flags.heads,
        flags.kv_heads,
        flags.hidden // flags.heads,
        max_positions=2048,
    )
    tensors = hf.expected(llama.abstract(config)[1]).values()
    with tempfile.TemporaryDirectory() as temporary:
        folder, again = pathlib.Path(temporary) / "model", pathlib.Path(temporary) / "again"
        folder.mkdir()
        write_random(folder, config)
        (one,) = finish([start(folder, flags.devices, again=again)])
        unequal = differing(folder, again)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        two = finish([start(folder, flags.devices // 2, rank, port) for rank in range(2)])
        files = [f.stat().st_size for f in folder.glob("*.safetensors")]
    bound = 1.5 * max(2 * math.prod(t.shape) for t in tensors) + one["shard_bytes"]
    line = {
        "parameters": sum(math.prod(t.shape) for t in tensors),
        "files": len(files),
        "file_mib": max(files) // MIB,
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
