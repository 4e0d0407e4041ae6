"""Solutions that the student learns from: which samples become one, and where they are kept."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from glore_jax import grouping, parquet, records
from glore_jax.grouping import Groups
from glore_jax.parallel import processes
from glore_jax.records import Sample, Solution, StoredRecords
from glore_jax.stages.context import Context

COLUMNS = ("question_id", "sample_id", "question", "steps", "correct")


def once(
    ctx: Context, name: str, make: Callable[[], Iterable[Solution]]
) -> StoredRecords[Solution]:
    """The solutions that `make` gives, kept as records in `student/NAME`; a restart finds them.

    Every process calls `make`; what process 0 gets is kept. `student/NAME.json` is written last,
    and says how many rows each part has.
    """
    folder = ctx.folder("student", name)

    def write() -> dict:
        solutions = make()
        if not processes.is_main():
            return {}
        return {"rows": records.write_all(folder, solutions, Solution)}

    def is_whole(kept: dict) -> bool:
        footers = (parquet.read_footer(folder, part) for part in range(len(kept["rows"])))
        return all(
            footer is not None and footer.rows == rows
            for footer, rows in zip(footers, kept["rows"], strict=True)
        )

    return StoredRecords.of(folder, Solution, ctx.step(name, write, is_whole)["rows"])


def distinct_right(
    samples: Iterable[Sequence[Sample]], per_question: int, known: Iterable[Sequence[Solution]] = ()
) -> Iterator[Solution]:
    """Right samples, each text once a question and none that is `known`, by question.

    Args:
      samples: of each question, in any order, with the fields `COLUMNS`.
      per_question: at most so many of a question, those of the smallest sample ids; 0: all.
      known: solutions of each question.

    Both by ascending question id.
    """
    for group, before in grouping.joined(samples, known):
        seen = {tuple(solution["steps"]) for solution in before}
        found = 0
        for sample in sorted(group, key=lambda sample: sample["sample_id"]):
            steps = tuple(sample["steps"])
            enough = per_question and found >= per_question
            if not sample["correct"] or steps in seen or enough:
                continue
            seen.add(steps)
            found += 1
            yield {
                "question_id": sample["question_id"],
                "question": sample["question"],
                "steps": sample["steps"],
            }


def samples_of(drawn: StoredRecords[Sample]) -> Groups[Sample]:
    """The samples of each question, as `distinct_right` takes them."""
    return Groups(Sample, drawn.columns, COLUMNS)


def by_question(solutions: StoredRecords[Solution]) -> Groups[Solution]:
    """The solutions of each question."""
    return Groups(Solution, solutions.columns, ("question_id", "steps"))
