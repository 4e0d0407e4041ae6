"""Under which versions of packages a run computes, and computed before.

Between stages lie files that every version reads (Parquet, safetensors, JSON), so a stage may well
be made by other packages than the one before it. A stage that is half done is another matter: its
checkpoints are trees of Flax, Optax and Orbax, and its parts and updates come from one stream of
random numbers. It goes on under other versions only if it is told to.

config.json keeps the versions of the last run, and all that there were before under `history`.
"""

import datetime
import functools
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.parallel import coordinator
from glore_jax.pipeline.plan import Stage

# What a half-done stage depends on. Not glore-jax: a checkout changes without its number.
_DECISIVE = (
    "jax",  # random numbers, and with jaxlib and libtpu the programs and so the last digits
    "jaxlib",
    "libtpu",
    "flax",  # names and nesting of parameters
    "optax",  # the tree of an optimizer's state
    "orbax-checkpoint",  # how checkpoints lie on disk, by the means of tensorstore
    "tensorstore",
    "numpy",  # the order of training examples
    "tokenizers",  # tokens of a text, by the rules
    "transformers",  # that this one reads
)
# What else config.json says.
_OTHERS = (
    *("glore-jax", "pyarrow", "safetensors", "ml-collections", "tensorflow-datasets"),
    "reasoning-gym",  # the questions of gsm_symbolic
)

FLAG = "--other_versions"


@functools.cache
def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """package -> version of those that are installed."""
    return {name: version for name in packages if (version := _installed(name))}


def decisive() -> dict[str, str]:
    """package -> version of what a half-done stage depends on, as a manifest keeps it."""
    return _versions(_DECISIVE)


def check(todo: Iterable[Stage], workdir: epath.Path, other_versions: bool) -> None:
    """UserError if a half-done stage of `todo` was made under others, or a process has others.

    other_versions: the user knows that they are others.
    """
    here = decisive()
    coordinator.check_same("the versions of packages", storage.fingerprint(here))
    if other_versions:
        return
    for stage in todo:
        half_done = stage.manifest and not stage.stale
        if half_done:
            made = stage.manifest.get("packages") or _described(workdir).get("packages", {})
            _refuse_others(stage.name, made, here)


def _refuse_others(name: str, made: Mapping[str, str], here: Mapping[str, str]) -> None:
    # What is missing on one side is of other hardware: libtpu.
    differing = [p for p in here if p in made and made[p] != here[p]]
    if not differing:
        return
    was = ", ".join(f"{p} {made[p]}" for p in differing)
    now = ", ".join(f"{p} {here[p]}" for p in differing)
    pins = " ".join(f"{p}=={made[p]}" for p in differing)
    raise UserError(
        f"stage {name} is half done with {was}, but here is {now}: install what it began with "
        f"(pip install {pins}; on a slice launch/tpu_vm.sh setup), or go on all the same with "
        f"{FLAG}"
    )


@functools.cache
def commit() -> str | None:
    """The git commit of the package, with `-dirty` behind it if files were changed since.

    Of the checkout that it lies in, as git or, where launch/tpu_vm.sh copied it without git, its
    file COMMIT says; or of the repository that it was installed from. None if none is known.
    """
    return _commit_of(pathlib.Path(__file__).parents[2])


def _commit_of(checkout: pathlib.Path) -> str | None:
    if (checkout / ".git").exists():
        words = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
        return _git(checkout, *words)
    if (checkout / "COMMIT").exists():
        return (checkout / "COMMIT").read_text().strip()
    try:
        installed = importlib.metadata.distribution("glore-jax").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    return json.loads(installed or "{}").get("vcs_info", {}).get("commit_id")


def _git(folder: pathlib.Path, *words: str) -> str | None:
    """What git says in `folder`; None if there is no git, or it refuses."""
    command = ("git", "-C", str(folder), *words)
    # Without its locks: somebody may be at work there.
    environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        said = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def describe(workdir: epath.Path) -> dict[str, Any]:
    """`python`, `packages`, `commit` and `history` of config.json for a run that begins in
    `workdir`.

    `history`: {since, python, packages, commit} of each change, the oldest first; the last one is
    in force.
    """
    before = _described(workdir)
    present = {
        "python": platform.python_version(),
        "packages": _versions((*_DECISIVE, *_OTHERS)),
        "commit": commit(),
    }
    history = list(before.get("history", []))
    if not history and "packages" in before:  # of a run that kept none
        history = [{"since": None} | {key: before.get(key) for key in present}]
    last = history[-1] if history else {}
    if any(last.get(key) != value for key, value in present.items()):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        history.append({"since": now} | present)
    return present | {"history": history}


def _described(workdir: epath.Path) -> dict[str, Any]:
    """What config.json says; {} if there is none."""
    file = workdir / "config.json"
    content = storage.read_json(file) if storage.exists(file) else {}
    return content if isinstance(content, dict) else {}
