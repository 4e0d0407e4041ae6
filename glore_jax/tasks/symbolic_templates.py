"""The templates of GSM-Symbolic, as the package `reasoning-gym` carries them.

GSM-Symbolic (Mirzadeh et al., 2024, arXiv 2410.05229) turns questions of GSM8K into templates: a
story, whose names and numbers are drawn, and the worked solution that follows from them.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from glore_jax.errors import UserError

# A question is its template and its draw, so another version asks other questions under the same
# ids. `setup.py` has the same one.
VERSION = "0.1.25"

# (random numbers, difficulty, of which 1.0 is the only one) -> question and metadata
Template = Callable[[Random, float], Mapping[str, Any]]

_PACKAGE = "reasoning_gym"
_PARENTS = (_PACKAGE, f"{_PACKAGE}.arithmetic", f"{_PACKAGE}.arithmetic.gsm_symbolic")
_MODULES = ("generators_00_49", "generators_50_99")
_FUNCTION = "generate_"

# Templates that the package itself lists as in need of mending.
_BROKEN = {32, 35, 37, 61, 63, 65, 74, 76, 77, 79, 86, 87, 90, 97, 98}
# Their solutions are outlines of headings and bullets; a step here is a line that computes.
_OUTLINES = {11, 21}


def load() -> dict[int, Template]:
    """Number -> template, in the order of the numbers.

    UserError if the package is not installed, or another version of it.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "task gsm_symbolic needs the package reasoning-gym: pip install 'glore-jax"
            f"[gsm_symbolic]', or pip install --no-deps reasoning-gym=={VERSION}"
        )
    version = importlib.metadata.version("reasoning-gym")
    if version != VERSION:
        raise UserError(
            f"reasoning-gym {version} is installed, whose questions are others: "
            f"pip install reasoning-gym=={VERSION}"
        )
    found: dict[int, Template] = {}
    with _without_siblings(spec.submodule_search_locations[0]):
        for name in _MODULES:
            module = importlib.import_module(f"{_PARENTS[-1]}.{name}")
            for attribute, template in vars(module).items():
                number = attribute.removeprefix(_FUNCTION)
                if number != attribute and number.isdecimal():
                    found[int(number)] = template
    return {n: found[n] for n in sorted(found.keys() - _BROKEN - _OUTLINES)}


@contextlib.contextmanager
def _without_siblings(folder: str) -> Iterator[None]:
    """Within, submodules of the package can be imported alone.

    Its `__init__` imports a hundred other data sets, and with them seconds of libraries (of cubes,
    of logic). Empty packages stand for those above the templates meanwhile; afterwards whoever
    imports the package gets it whole.
    """
    before = {name: module for name, module in sys.modules.items() if _is_of_package(name)}
    for name in before:
        del sys.modules[name]
    for name in _PARENTS:
        package = types.ModuleType(name)
        inside = name.removeprefix(_PACKAGE).replace(".", "/")
        package.__path__ = [folder + inside]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_of_package(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_of_package(name: str) -> bool:
    return name == _PACKAGE or name.startswith(f"{_PACKAGE}.")
