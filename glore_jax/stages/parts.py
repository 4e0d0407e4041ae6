"""Work cut into parts, shared out over the processes, and resumed after the last whole part."""

from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from glore_jax import storage
from glore_jax.parallel import processes
from glore_jax.stages.context import Context


def in_parts(
    ctx: Context, name: str, items: list, make: Callable[[list], list[dict]]
) -> list[dict]:
    """Records of `items`, one each, kept as parts under the folder `name`.

    make(some of the items) -> their records, called once: what is there already is not made again.
    Parts are shared out over the processes; returns all records.
    """
    folder, parts, mine = share(ctx, name, items)
    rows = iter(make([item for i in mine for item in parts[i]]) if mine else ())
    for i in mine:
        storage.write_part(folder, i, [next(rows) for _ in parts[i]])
    processes.barrier(name)
    return storage.read_records(folder)


def share(ctx: Context, name: str, items: list) -> tuple[epath.Path, list[list], list[int]]:
    """(folder, items of each part, the parts that this process still has to make)."""
    folder = ctx.folder(*name.split("/"))
    size = ctx.config.engine.part_questions
    parts = [items[i : i + size] for i in range(0, len(items), size)]
    dealt = range(jax.process_index(), len(parts), jax.process_count())
    return folder, parts, [i for i in dealt if not storage.has_part(folder, i)]


def add_work(folder: epath.Path, stats: Any, items: int) -> None:
    """Keeps what the engine did in `work.json` beside the parts; a restart adds to it."""
    file = folder / "work.json"
    fields = ("forks", "tokens", "prefill_tokens", "slot_steps", "seconds")
    counts = {field: getattr(stats, field) for field in fields}
    counts["items"] = items
    before = storage.read_json(file) if file.exists() else {}
    storage.write_json(file, {k: before.get(k, 0) + v for k, v in counts.items()})


def work(ctx: Context, name: str) -> dict:
    """What the rollout engine did for the records under the folder `name`.

    Forks, tokens drawn, tokens of trunks, seconds and occupancy (live slot-steps / slot-steps):
    process 0's share; of a run that was cut off, only what was done since (`items` says of how many
    jobs). Empty if nothing was generated.
    """
    file = ctx.folder(*name.split("/"), "work.json")
    if not file.exists():
        return {}
    counts = storage.read_json(file)
    slot_steps = counts.pop("slot_steps")
    return counts | {"occupancy": counts["tokens"] / max(slot_steps, 1)}
