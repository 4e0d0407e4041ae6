"""The versions that passed, as constraints for pip: `launch/constraints-PYTHON.txt`.

    .venv/bin/python .ci/constraints.py check     what is installed here is what the file says
    .venv/bin/python .ci/constraints.py write     the file says what is installed here

They cover all that the package depends on, with what a TPU adds. libtpu is not installed where
there is no TPU: pip is asked which one belongs to the jax that is.
"""

import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PACKAGE = "glore-jax"
EXTRAS = ("", "tpu")
FOLDER = pathlib.Path(__file__).parent.parent / "launch"


def file() -> pathlib.Path:
    """The constraints of the Python that runs this."""
    major, minor = sys.version_info[:2]
    return FOLDER / f"constraints-{major}.{minor}.txt"


def requirements(package: str, extra: str) -> Iterator[Requirement]:
    """What an installed `package` asks for with its `extra` ("": without any)."""
    for line in importlib.metadata.requires(package) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def closure() -> tuple[dict[str, str], list[str]]:
    """(name -> version of all that is needed and installed, requirements that are not)."""
    found: dict[str, str] = {}
    absent: list[str] = []
    waiting = [(PACKAGE, extra) for extra in EXTRAS]
    seen = set(waiting)
    while waiting:
        for requirement in requirements(*waiting.pop()):
            name = canonicalize_name(requirement.name)
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                requirement.marker = None
                absent.append(str(requirement))
                continue
            for extra in ("", *requirement.extras):
                if (name, extra) not in seen:
                    seen.add((name, extra))
                    waiting.append((name, extra))
    return found, sorted(set(absent))


def resolve(absent: list[str], pins: list[str]) -> dict[str, str]:
    """name -> version that pip would install for `absent` under `pins`; installs nothing."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(pins))
        constraints.flush()
        command += ["--constraint", constraints.name, *absent]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    installs = json.loads(done.stdout)["install"]
    return {canonicalize_name(i["metadata"]["name"]): i["metadata"]["version"] for i in installs}


def text(known: str = "") -> str:
    """What the file should say; `known`, what it says, decides on what is not installed here."""
    found, absent = closure()
    if absent:
        installed = [f"{name}=={version}" for name, version in found.items()]
        others = [line for line in known.splitlines() if line.partition("==")[0] not in found]
        found |= resolve(absent, installed + others)
    lines = [f"{name}=={found[name]}\n" for name in sorted(found)]
    return f"# Written by .ci/constraints.py, of the versions that passed.\n{''.join(lines)}"


def main(verb: str) -> int:
    if verb == "write":
        file().write_text(text())
        return 0
    expected = file().read_text() if file().exists() else ""
    actual = text(expected)
    if actual == expected:
        return 0
    differing = sorted(set(actual.splitlines()) ^ set(expected.splitlines()))
    print(
        f"{file()} is not what is installed here ({', '.join(differing)}): "
        "`.ci/run --refresh` tests the newest versions, and writes them down if they pass",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    if sys.argv[1:] not in (["check"], ["write"]):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
