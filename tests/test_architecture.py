"""The house as docs/architecture.md draws it: floors, rooms, and how large a file may be.

Everything is read off the source; nothing of the package is imported. An import counts wherever it
stands: at the top of a file, inside a function, under `TYPE_CHECKING`, or as the full name of a
module in a string, as registries hold them.
"""

import ast
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = "glore_jax"

# Floor by floor, the ground first: (number, rooms, whether the rooms are steps of a staircase).
# A room is a folder or a file of the package; it may import rooms of the floors below. On its own
# floor it may import only itself, and on a staircase also the rooms that stand before it.
FLOORS = (
    (
        1,
        (
            "errors",
            "gcs",
            "storage",
            "scratch",
            "parquet",
            "records",
            "grouping",
            "config",
            "presets",
            "command",
            "parallel",
            "progress",
        ),
        True,
    ),
    (2, ("tasks", "labels"), True),
    (3, ("models", "report"), False),
    (4, ("sampling", "training"), False),
    (5, ("stages",), False),
    (6, ("pipeline", "solve", "status", "api", "publish", "planning"), True),
    (7, ("main", "__init__"), False),
)

PYTHON_FOLDERS = ("glore_jax", "configs", "launch", "tests", "benchmarks", "docs")
MAX_COLUMNS = 100
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60


@dataclasses.dataclass(frozen=True)
class Module:
    """One file of the package, parsed. `room`: its folder or file under the package."""

    name: str
    path: pathlib.Path
    tree: ast.Module

    @property
    def room(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"


@functools.cache
def package() -> dict[str, Module]:
    """The package's modules by their full names."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    assert files, f"no Python files under {ROOT / PACKAGE}"
    found = {}
    for path in files:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, path, ast.parse(path.read_text("utf-8")))
    return found


@functools.cache
def python_files() -> tuple[pathlib.Path, ...]:
    """Every Python file of the repository."""
    files = list(ROOT.glob("*.py"))
    for folder in PYTHON_FOLDERS:
        files += (ROOT / folder).rglob("*.py")
    return tuple(sorted(files))


def imports(tree: ast.Module, name: str, is_package: bool, known) -> Iterator[tuple[str, int]]:
    """(module of `known`, line) for each import in the source of module `name`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(node, name, is_package)
            targets = [f"{source}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            targets = [node.value] if re.fullmatch(rf"{PACKAGE}(\.\w+)+", node.value) else []
        else:
            continue
        for target in targets:
            module = _module_of(target, known)
            if module is not None and module != name:
                yield module, node.lineno


def _absolute(node: ast.ImportFrom, name: str, is_package: bool) -> str:
    """The module that `from X import ...` names, dots in front resolved."""
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    up = node.level - 1 if is_package else node.level
    base = parts[: len(parts) - up]
    return ".".join([*base, node.module] if node.module else base)


def _module_of(target: str, known) -> str | None:
    """The longest beginning of a dotted name that is a module: the rest names what it defines."""
    parts = target.split(".")
    for end in range(len(parts), 0, -1):
        candidate = ".".join(parts[:end])
        if candidate in known:
            return candidate
    return None


@functools.cache
def arrows() -> dict[str, dict[str, int]]:
    """module -> {module that it imports: line}."""
    modules = package()
    found: dict[str, dict[str, int]] = {}
    for module in modules.values():
        is_package = module.path.name == "__init__.py"
        targets = found.setdefault(module.name, {})
        for target, line in imports(module.tree, module.name, is_package, modules):
            targets.setdefault(target, line)
    return found


def places() -> dict[str, tuple[int, int, bool]]:
    """room -> (floor, step on it, whether the floor is a staircase)."""
    return {
        room: (floor, step, stairs)
        for floor, rooms, stairs in FLOORS
        for step, room in enumerate(rooms)
    }


def may_import(room: str, other: str) -> bool:
    """Whether the table lets a file of `room` import one of `other`."""
    if room == other:
        return True
    floor, step, stairs = places()[room]
    other_floor, other_step, _ = places()[other]
    if floor != other_floor:
        return floor > other_floor
    return stairs and step > other_step


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, straight or by way of others of the group."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            module = waiting.pop()
            if module not in seen:
                seen.add(module)
                waiting += graph[module]
        return seen

    reach = {module: reached(module) for module in graph}
    groups = {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in graph
        if module in reach[module]
    }
    return sorted(sorted(group) for group in groups)


def functions(tree: ast.Module) -> Iterator[tuple[str, int, int]]:
    """(name, line, lines of the body without its docstring) of every function."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
        if not body:
            continue
        first = min([body[0].lineno, *(d.lineno for d in getattr(body[0], "decorator_list", []))])
        yield node.name, node.lineno, (node.end_lineno or first) - first + 1


def checks_for_lists(tree: ast.Module) -> Iterator[int]:
    """Lines of `isinstance(x, list)`, also of `isinstance(x, (list, tuple))` and `list | tuple`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) != 2:
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id == "isinstance":
            names = {n.id for n in ast.walk(node.args[1]) if isinstance(n, ast.Name)}
            if "list" in names:
                yield node.lineno


def at(path: pathlib.Path, line: int = 0) -> str:
    """A place in the repository that an editor can open."""
    place = path.relative_to(ROOT).as_posix()
    return f"{place}:{line}" if line else place


def listed(advice: str, found: list[str]) -> str:
    """The message of a failed rule: what to do, then each place."""
    return "\n  ".join([advice, *found])


# The rules.


def test_every_room_has_its_floor():
    unplaced = sorted({m.room for m in package().values()} - places().keys())
    assert not unplaced, listed(
        "give these rooms a floor, in the table of this test and in docs/architecture.md:", unplaced
    )


def test_imports_go_down():
    modules = package()
    wrong = []
    for name, targets in arrows().items():
        room = modules[name].room
        for target, line in targets.items():
            other = modules[target].room
            if not {room, other} <= places().keys() or may_import(room, other):
                continue
            floors = f"floor {places()[room][0]} to {places()[other][0]}"
            wrong.append(f"{at(modules[name].path, line)} imports {target} ({floors})")
    assert not wrong, listed(
        "a room imports only rooms below it (FLOORS in this test): move what is shared down,"
        " or hand it over as an argument:",
        wrong,
    )


def test_no_circles():
    found = circles({name: set(targets) for name, targets in arrows().items()})
    assert not found, listed(
        "these modules import each other: move what they share into one below them:",
        [" <-> ".join(group) for group in found],
    )


def test_nothing_that_runs_imports_planning():
    modules = package()
    wrong = [
        f"{at(modules[name].path, line)} imports {target}"
        for name, targets in arrows().items()
        for target, line in targets.items()
        if modules[target].room == "planning" and modules[name].room != "planning"
    ]
    assert not wrong, listed(
        "planning looks at what runs, never the other way round: move what is needed to parallel/:",
        wrong,
    )


def test_no_drawers():
    drawers = [at(m.path) for m in package().values() if m.path.stem == "common"]
    assert not drawers, listed("name these files by the one subject that they have:", drawers)


def test_the_formatter_is_never_switched_off():
    marks = re.compile(r"#\s*(fmt:\s*(skip|off)|noqa:.*E501|ruff:\s*noqa)")
    wrong = [
        at(path, number)
        for path in python_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not wrong, listed("write these lines so that the formatter leaves them well:", wrong)


def test_no_long_lines():
    wrong = [
        f"{at(path, number)}: {len(line)} columns"
        for path in python_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if len(line) > MAX_COLUMNS
    ]
    assert not wrong, listed(f"wrap these lines at {MAX_COLUMNS} columns:", wrong)


def test_no_long_files():
    lengths = {m.path: len(m.path.read_text("utf-8").splitlines()) for m in package().values()}
    wrong = [f"{at(p)}: {n} lines" for p, n in lengths.items() if n > MAX_FILE_LINES]
    assert not wrong, listed(f"split these by subject, {MAX_FILE_LINES} lines at most:", wrong)


def test_no_long_functions():
    wrong = [
        f"{at(module.path, line)} {name}: {length} lines"
        for module in package().values()
        for name, line, length in functions(module.tree)
        if length > MAX_FUNCTION_LINES
    ]
    assert not wrong, listed(
        f"name the parts of these functions, {MAX_FUNCTION_LINES} lines at most:", wrong
    )


def test_layouts_are_chosen_once():
    wrong = [
        at(module.path, line)
        for module in package().values()
        if module.room == "sampling"
        for line in checks_for_lists(module.tree)
    ]
    assert not wrong, listed(
        "a layout of the store is an object with its own methods; do not ask whether it is a list:",
        wrong,
    )


# The rules see what they are meant to see.


def test_imports_are_seen_wherever_they_stand():
    known = {f"{PACKAGE}{suffix}" for suffix in ("", ".a", ".a.x", ".a.y", ".b", ".c", ".d")}
    source = """
import glore_jax.b, os
from glore_jax import c as renamed
from glore_jax.a.x import thing
from . import y
from ..d import other
def late():
    from glore_jax.a import defined_in_init
TABLE = {"name": "glore_jax.a.y", "text": "from glore_jax.d import nothing"}
"""
    found = list(imports(ast.parse(source), f"{PACKAGE}.a.z", False, known))
    assert sorted(found, key=lambda arrow: arrow[1]) == [
        (f"{PACKAGE}.b", 2),
        (f"{PACKAGE}.c", 3),
        (f"{PACKAGE}.a.x", 4),
        (f"{PACKAGE}.a.y", 5),
        (f"{PACKAGE}.d", 6),
        (f"{PACKAGE}.a", 8),
        (f"{PACKAGE}.a.y", 9),
    ]
    inside = imports(ast.parse("from . import x"), f"{PACKAGE}.a", True, known)
    assert list(inside) == [(f"{PACKAGE}.a.x", 1)]


def test_floors_forbid_up_and_across():
    assert may_import("stages", "sampling") and not may_import("sampling", "stages")
    assert not may_import("sampling", "training") and not may_import("training", "sampling")
    assert may_import("records", "storage") and not may_import("storage", "records")
    assert may_import("models", "models")


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e2"}, "e2": set()}
    assert circles(graph) == [["a", "b", "c"]]


def test_lines_of_a_function_are_those_of_its_body():
    source = 'def f(\n    x,\n):\n    """Two\n    lines."""\n    # why\n    y = x\n    return y\n'
    assert list(functions(ast.parse(source))) == [("f", 1, 2)]


def test_checks_for_lists_are_seen():
    source = "isinstance(x, list)\nisinstance(x, (tuple, list))\nisinstance(x, dict)\nlist(x)\n"
    assert list(checks_for_lists(ast.parse(source))) == [1, 2]
