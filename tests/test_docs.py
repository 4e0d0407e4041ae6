"""The drawings of docs/architecture.md speak of functions and files that are there."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
DRAWINGS = "\n".join(re.findall(r"^```\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))


def names(tree: ast.Module | ast.ClassDef) -> set[str]:
    """What a module or a class defines."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return found


def definitions() -> dict[str, set[str]]:
    """Module or class -> what it defines; of equal names all together."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "glore_jax").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        module = path.parent.name if path.stem == "__init__" else path.stem
        found.setdefault(module, set()).update(names(tree))
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(names(node))
    return found


DEFINED = definitions()
FILE_NAMES = {"py", "json"}


@pytest.mark.parametrize(
    "holder, name", sorted(set(re.findall(r"\b(\w+)\.([A-Za-z]\w+)", DRAWINGS)))
)
def test_what_the_drawings_name_is_there(holder, name):
    if name in FILE_NAMES:
        return
    assert name in DEFINED.get(holder, ()), f"docs/architecture.md: {holder}.{name} is not there"


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:\w+/)*\w+\.py|(?:\w+/)+)`", PAGE))))
def test_what_the_page_calls_a_file_is_one(path):
    places = (ROOT / "glore_jax" / path, ROOT / path, *ROOT.glob(f"glore_jax/*/{path}"))
    assert any(place.exists() for place in places), f"docs/architecture.md: there is no {path}"
