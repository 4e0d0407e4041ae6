"""Reading one figure out of the nested results, its interval, and the check that report.json keeps its contract.

A figure is named by its path, `step.sorm.acc`. Everything may be missing, None or NaN (a task that knows no step
truth, a stage that was not run); readers ask here and get None, so that no table or plot has its own idea of it.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

# Every key of the results that holds a rate in 0..1.
_BANDS = ("mean", "low", "high")
RATES = frozenset(
    ("acc", "f1", "first_error_acc", "auc", "within_pair", "false_positive", "false_negative")
    + ("fix_rate", "break_rate", "all_acc", "oracle_when_acc", "draft", "rerank", "oracle")
    + ("maj1", "mean1", "majK", "passK", "rerankK", "loglikK", "rate", "p", *_BANDS)
)
# What a rate is counted over, where that is not `n` beside it.
_COUNT_OF = {"fix_rate": "n_wrong", "break_rate": "n_right", "auc": "n_auc"}


def at(results: Mapping, path: str) -> Any:
    """What stands at dotted `path` in `results`; None where any part of the path is missing."""
    value: Any = results
    for key in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number(results: Mapping, path: str) -> float | None:
    """The number at dotted `path`; None if it is missing, no number, or not finite."""
    value = at(results, path)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def interval(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion `rate` seen in `n` independent trials; (0, 1) for n = 0."""
    if n <= 0:
        return 0.0, 1.0
    z2 = 1.959964**2
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (rate * (1 - rate) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _rates(value: Any, path: str = "") -> Iterator[tuple[str, Mapping, Any]]:
    """(path, the mapping it stands in, value) for every rate in `value`."""
    if isinstance(value, (list, tuple)):
        for i, inner in enumerate(value):
            yield from _rates(inner, f"{path}[{i}]")
    if not isinstance(value, Mapping):
        return
    for key, inner in value.items():
        here = f"{path}.{key}" if path else str(key)
        # `draft`, `oracle` and others name a rate in one place and a group of figures in another.
        if key in RATES and not isinstance(inner, Mapping):
            yield here, value, inner
        else:
            yield from _rates(inner, here)


def _listed(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def check(results: Mapping) -> None:
    """Check what report.json promises: rates lie in 0..1, have their count beside them, and curves fit their axis.

    Missing figures (None, NaN) pass, arrays do not: results are plain JSON values. Raises ValueError naming the path; that is a mistake of the program.
    """
    for path, siblings, value in _rates(results):
        present = [
            x
            for x in _listed(value)
            if x is not None and not (isinstance(x, float) and math.isnan(x))
        ]
        for x in present:
            if isinstance(x, bool) or not isinstance(x, (int, float)) or not 0 <= x <= 1:
                raise ValueError(f"report.json: {path} is {x!r}, not a rate in 0..1")
        key = path.rpartition(".")[2]
        counts = (_COUNT_OF.get(key, "n"), "n")
        if present and key not in _BANDS and all(siblings.get(count) is None for count in counts):
            raise ValueError(f"report.json: {path} has no count `{counts[0]}` beside it")

    curves = results.get("curves") or {}
    axes = [("rerank", "k"), ("label_rate", "length")]
    axes += [(f"reliability.{model}", "p") for model in curves.get("reliability") or ()]
    for curve, axis in axes:
        group = at(curves, curve)
        if not group:
            continue
        size = len(_listed(group.get(axis)))
        lists = {k: v for k, v in group.items() if not isinstance(v, Mapping)}
        lists |= {
            f"{k}.{b}": v[b]
            for k, v in group.items()
            if isinstance(v, Mapping)
            for b in _BANDS
            if b in v
        }
        for name, values in lists.items():
            if len(_listed(values)) != size:
                raise ValueError(f"report.json: curves.{curve}.{name} and .{axis} differ in length")
