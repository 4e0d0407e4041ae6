"""Reading one figure or gain out of the results as JSON, and the interval of a rate.

A figure is named by its path, `step.sorm.acc`, which is also how the paper's rows are laid beside
ours. Everything may be missing, None or NaN (a task that knows no step truth, a stage that was not
run); readers ask here and get None, so that no table or plot has its own idea of it.
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

from glore_jax.report.names import MODELS

Results = Mapping[str, Any]  # `Report.to_json()`

FEWEST = 10  # questions of different stories, below which no interval says anything

_Z_SQUARED = 1.959964**2  # the normal quantile of a two-sided 95 % interval, squared


def at(results: Results, path: str) -> Any:
    """What stands at dotted `path` in `results`; None where any part of the path is missing."""
    value: Any = results
    for key in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def finite(value: Any) -> float | None:
    """`value` if it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if math.isfinite(value) else None


def number(results: Results, path: str) -> float | None:
    """The number at dotted `path`; None if it is missing, no number, or not finite."""
    return finite(at(results, path))


@dataclasses.dataclass(frozen=True)
class Difference:
    """A gain of the results: what is measured, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    n: float


def difference(results: Results, name: str) -> Difference | None:
    """The gain `gains.NAME`; None if a part of it is missing, or if it is over few stories."""
    return difference_at(results, f"gains.{name}")


def difference_at(results: Results, path: str, fewest: int = FEWEST) -> Difference | None:
    """The gain at dotted `path`; None as of `difference`, or of fewer stories than `fewest`."""
    parts = [number(results, f"{path}.{key}") for key in ("value", "low", "high", "n")]
    known = [part for part in parts if part is not None]
    stories = number(results, f"{path}.stories")
    if len(known) < len(parts) or min(known[-1], stories or known[-1]) < fewest:
        return None
    return Difference(*known)


def told(entry: Results) -> float | None:
    """How many stories the questions of `entry` tell, a group with `n` and `stories`.

    None where no question is a variation of another, or this was not counted.
    """
    n = number(entry, "n")
    stories = number(entry, "stories")
    return stories if n and stories and stories < n else None


def in_force(results: Results, what: str, models: Collection[str] = MODELS) -> str:
    """Thresholds or marks (`what` of `marks`) of `models` in words; empty if they are not known."""
    known = at(results, f"marks.{what}") or {}
    values = {model: value for model, value in known.items() if model in models}
    if len(set(values.values())) == 1:
        return f"{next(iter(values.values())):.3g}"
    return ", ".join(f"{MODELS.get(model, model)} {value:.3g}" for model, value in values.items())


def interval(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a proportion `rate` seen in `n` independent trials.

    Unlike the normal interval it stays inside 0..1 and is not empty for a rate of 0 or 1. It is
    (0, 1) for n = 0.
    """
    if n <= 0:
        return 0.0, 1.0
    shrink = 1 + _Z_SQUARED / n
    centre = (rate + _Z_SQUARED / (2 * n)) / shrink
    variance = rate * (1 - rate) / n + _Z_SQUARED / (4 * n * n)
    half = math.sqrt(_Z_SQUARED * variance) / shrink
    return max(0.0, centre - half), min(1.0, centre + half)


def stage_seconds(results: Results) -> dict[str, float]:
    """Seconds by stage, of the stages that were timed."""
    seconds = {}
    for stage, value in (at(results, "seconds") or {}).items():
        if (finite_value := finite(value)) is not None:
            seconds[stage] = finite_value
    return seconds
