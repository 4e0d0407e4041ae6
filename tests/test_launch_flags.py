"""Each generation's row of launch/libtpu_flags.txt against the real compiler.

A flag that it does not know would end every process of a run at its start.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FILE = ROOT / "launch" / "libtpu_flags.txt"
SLICES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}

# A product whose weights are gathered, as in training.
COMPILE = """
import sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from glore_jax.planning import slices
mesh = Mesh(np.array(slices.describe(sys.argv[1])), "fsdp")
rows = NamedSharding(mesh, P("fsdp"))
shape = jax.ShapeDtypeStruct((1024, 1024), jnp.bfloat16, sharding=rows)
text = jax.jit(lambda x, w: x @ w, out_shardings=rows).lower(shape, shape).compile().as_text()
print("compiled", "all-gather" in text or "collective-permute" in text)
"""


def rows():
    """generation -> its flags."""
    found = {generation: [] for generation in SLICES}
    for line in FILE.read_text().splitlines():
        generations, colon, flag = line.partition("#")[0].partition(":")
        if colon:
            for generation in generations.split():
                found[generation].append(flag.strip())
    return found


def compiled(topology, flags):
    """(exit code, output) of a small program compiled for a slice."""
    environment = os.environ | {"LIBTPU_INIT_ARGS": " ".join(flags), "PYTHONPATH": _path()}
    ended = subprocess.run(
        [sys.executable, "-c", COMPILE, topology],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return ended.returncode, ended.stdout + ended.stderr


def _path():
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def test_every_line_is_a_flag_of_known_generations():
    for generation, flags in rows().items():
        assert flags and len(set(flags)) == len(flags), generation
        assert all(flag.startswith("--xla_") and "=" in flag for flag in flags), generation


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)


@needs_libtpu
@pytest.mark.parametrize("generation", SLICES)
def test_the_compiler_knows_the_flags_of(generation):
    code, said = compiled(SLICES[generation], rows()[generation])
    assert (code, said.splitlines()[-1]) == (0, "compiled True"), said


@needs_libtpu
def test_an_unknown_flag_would_be_seen():
    code, said = compiled(SLICES["v5e"], [*rows()["v5e"], "--xla_tpu_no_such_flag=true"])
    assert code != 0 and "xla_tpu_no_such_flag" in said
