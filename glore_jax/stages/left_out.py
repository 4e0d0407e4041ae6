"""What stages did not use, or did not see to its end, as their manifests count it."""

from collections.abc import Iterator, Mapping
from typing import Any

from glore_jax.report.figures import Student
from glore_jax.report.run_figures import LeftOut

Counts = Mapping[str, Any]  # `counts` of a stage's manifest

_NO_ROW = "longer than a training row"


def left_out(counts: Mapping[str, Counts], student: Student | None) -> tuple[LeftOut, ...]:
    """A row for everything that is counted, also where the count is 0.

    Args:
      counts: by stage.
      student: of the split that the report shows; its samples.
    """
    rows = [row for stage, found in counts.items() for row in _of_stage(stage, found)]
    if student is not None and student.truncated is not None:
        drawn = student.K * student.n if student.K and student.n else None
        rows.append(
            _row("evaluate", "samples cut off at the length limit", student.truncated, drawn)
        )
    return tuple(rows)


def _of_stage(stage: str, counts: Counts) -> Iterator[LeftOut]:
    for split, n in counts.get("left_out", {}).items():
        yield _row(stage, f"questions of {split}, too long to be asked", n)
    if stage == "student":
        for entry in counts.get("rounds", ()):
            what = f"solutions of round {entry['round']}, {_NO_ROW}"
            yield _row(stage, what, entry["too_long"], entry["examples"])
    if stage == "sample":
        what = "samples cut off at the length limit"
        yield _row(stage, what, counts["truncated"], counts["samples"])
    if stage == "rollout":
        yield _row(stage, "questions that no sample solves", counts["unsolved"])
    if stage == "orm":
        for variant, of_variant in counts.items():
            if isinstance(of_variant, Mapping) and "too_long" in of_variant:
                yield from _of_training(stage, f"solutions ({variant})", of_variant)
    if stage == "sorm":
        yield from _of_training(stage, "solutions", counts)
    if stage == "refiner":
        yield _row(stage, f"pairs, {_NO_ROW}", counts["too_long"], sum(counts["pairs"].values()))


def _of_training(stage: str, what: str, counts: Counts) -> Iterator[LeftOut]:
    """Of a reward model."""
    yield _row(stage, f"{what}, {_NO_ROW}", counts["too_long"], counts["solutions"])
    if "cut" in counts:
        yield _row(stage, f"{what}, cut to a training row", counts["cut"], counts["solutions"])


def _row(stage: str, what: str, n: int, of: int | None = None) -> LeftOut:
    return LeftOut(stage=stage, what=what, n=n, of=of)
