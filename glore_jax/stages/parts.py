"""Work cut into parts, shared out over the processes, and resumed after the last whole part.

    items      0..7     8..15    16..23   24..31   32..35     `engine.part_questions` = 8 a part
    part        0        1        2        3        4
    process     0        1        0        1        0         dealt out in turn, here to two
    on disk   whole      -      whole      -        -         a restart makes 1, 3 and 4

A part is a file of records (see `parquet`). A name such as "evaluate/test/drafts" stands for the
folder of that name in the work directory, where the parts lie; what the rollout engine did for
them is counted beside it, in `evaluate/work/test/drafts.json`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import jax
from etils import epath

from glore_jax import parquet, records, storage
from glore_jax.parallel import processes
from glore_jax.records import Record
from glore_jax.sampling.engine import Stats
from glore_jax.stages.context import Context

Item = TypeVar("Item")

_COUNTED = ("forks", "tokens", "prefill_tokens", "slot_steps", "seconds")


@dataclasses.dataclass(frozen=True)
class Share(Generic[Item]):
    """What this process has to do of some work.

    Attributes:
      folder: where the parts lie.
      parts: the items of every part, of all processes.
      todo: indices of the parts that this process still has to make, in ascending order.
    """

    folder: epath.Path
    parts: list[list[Item]]
    todo: list[int]

    @property
    def items(self) -> list[Item]:
        """The items of the parts `todo`, in order."""
        return [item for index in self.todo for item in self.parts[index]]


def share(ctx: Context, name: str, items: Sequence[Item]) -> Share[Item]:
    """This process's share of the work whose records lie under the folder `name`."""
    folder = ctx.folder(*name.split("/"))
    size = ctx.config.engine.part_questions
    parts = [list(items[start : start + size]) for start in range(0, len(items), size)]
    dealt = range(jax.process_index(), len(parts), jax.process_count())
    todo = [index for index in dealt if not parquet.has_part(folder, index)]
    return Share(folder, parts, todo)


def count_parts(ctx: Context, items: int) -> int:
    """How many parts so many items fill."""
    return -(-items // ctx.config.engine.part_questions)


def in_parts(
    ctx: Context,
    name: str,
    kind: type[Record],
    items: Sequence[Item],
    make: Callable[[list[Item]], Sequence[Record]],
) -> list[Record]:
    """Records of type `kind`, one for each of `items`, kept as parts under the folder `name`.

    make(some of the items) -> their records. It is called once, with what is not there already.
    Parts are shared out over the processes; every one gets all records.
    """
    mine = share(ctx, name, items)
    if mine.todo:
        rows = iter(make(mine.items))
        for index in mine.todo:
            part = [next(rows) for _ in mine.parts[index]]
            records.write_part(mine.folder, index, part, kind)
    processes.barrier(name)
    return records.read(mine.folder, kind)


def add_work(ctx: Context, name: str, stats: Stats, items: int) -> None:
    """Counts what the engine did for `items` jobs of `name`; a restart adds to what is there."""
    file = _work_file(ctx, name)
    counts = {field: getattr(stats, field) for field in _COUNTED} | {"items": items}
    before = storage.read_json(file) if file.exists() else {}
    total = {field: before.get(field, 0) + count for field, count in counts.items()}
    storage.write_json(file, total)


def work(ctx: Context, name: str) -> dict[str, Any]:
    """What the rollout engine did for the records under the folder `name`.

    Forks, tokens drawn, tokens of trunks, seconds and occupancy (live slot-steps / slot-steps):
    process 0's share; of a run that was cut off, only what was done since (`items` says of how many
    jobs). Empty if nothing was generated.
    """
    file = _work_file(ctx, name)
    if not file.exists():
        return {}
    counts = storage.read_json(file)
    slot_steps = counts.pop("slot_steps")
    return counts | {"occupancy": counts["tokens"] / max(slot_steps, 1)}


def _work_file(ctx: Context, name: str) -> epath.Path:
    # Not among the parts: a folder of records holds nothing that is not one.
    stage, *folders, last = name.split("/")
    return ctx.folder(stage, "work", *folders, f"{last}.json")
