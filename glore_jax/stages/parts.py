"""Work cut into parts, claimed by processes as they get free, resumed after the last whole part.

    items      0..11    12..23   24..35   36..38   39..41      the last ones in smaller parts
    part        0        1        2        3        4
    on disk   whole      -        -        -        -          process 0 looks, and tells all
    dealt                0        1                            what a process can begin at once
    drawn                                  1        0          the rest, one by one, by who is free

A part is a file of records (see `parquet`). A name such as "evaluate/test/drafts" stands for the
folder of that name in the work directory, where the parts lie; how the work is cut is written
beside it, in `evaluate/work/test/drafts.json`, before its first part: it stays so, whatever the
number of processes that go on with it.

Once all parts are whole, the number of rows of each goes into the stage's manifest: whoever reads
the records knows what has to be there, and no listing of a folder is believed.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from etils import epath

from glore_jax import parquet, records, storage
from glore_jax.errors import UserError
from glore_jax.parallel import coordinator, processes
from glore_jax.progress import SCORE
from glore_jax.records import Record, StoredRecords
from glore_jax.stages.context import Context

Item = TypeVar("Item")

# Most hosts get some twenty claims of the whole, and some five of its end, by which time a part
# is what one of them does while another waits.
_PARTS = 640
_END = 8  # one in so many items lies at the end
_SMALLER = 4  # the parts there are so much smaller
_LEAST, _MOST = 4, 256  # items of a part

_SAMPLES = 32  # of a question in one item

_READERS = 16  # parts that process 0 looks at side by side


# How work is cut.


def by_samples(k: int) -> list[range]:
    """The samples 0 to k - 1 of a question as items of their own, where k is large.

    A question's 96 samples in one go would keep a few slots of one process busy long after all
    others have ended.
    """
    return [range(start, min(start + _SAMPLES, k)) for start in range(0, k, _SAMPLES)]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How items are cut into parts.

    `pieces`: (size, items) in their order: so many items lie in parts of that size, of which the
    last may have fewer.
    """

    pieces: tuple[tuple[int, int], ...]

    @functools.cached_property
    def parts(self) -> list[range]:
        """The indices of the items of each part."""
        cut: list[range] = []
        start = 0
        for size, items in self.pieces:
            stop = start + items
            cut += [range(at, min(at + size, stop)) for at in range(start, stop, size)]
            start = stop
        return cut

    @property
    def items(self) -> int:
        """How many items there are."""
        return sum(items for _, items in self.pieces)


def layout(items: int, size: int = 0, least: int = _LEAST) -> Layout:
    """How so many items are cut into parts of `size`, or, with 0, of a size that suits them.

    Then a part has at least `least` items, and the last eighth of all lies in smaller ones, with
    which processes that get free early fill up their time. The number of processes plays no role.
    """
    if size:
        return Layout(((size, items),))
    size = max(least, min(-(-items // _PARTS), _MOST))
    end = items // _END
    return Layout(((size, items - end), (max(1, size // _SMALLER), end)))


def claim(
    missing: Sequence[int], index: int, count: int, at_once: int, draw: Callable[[], int]
) -> Iterator[int]:
    """Those of the parts `missing` that process `index` of `count` makes.

    It takes one whenever it is asked for one, so ask when there is something free to make it.

    Args:
      at_once: parts that a process can work on at a time, the same number in all of them. So many
        are dealt to each, or its fair share if that is less: who comes first does not leave the
        others without any.
      draw: the next number of a counter that all processes share.
    """
    hand = min(at_once, -(-len(missing) // count))
    dealt = hand * count
    yield from missing[index:dealt:count]
    while (place := dealt + draw()) < len(missing):
        yield missing[place]


class Claims(Generic[Item, Record]):
    """Some work in parts, which the processes share; drawn from, it gives (part, its items).

    Every process makes one, with the same items, at the same point of the run.

    Args:
      name: of the folder.
      kind: type of the records.
      items: of all parts.
      at_once: items that this process can work on at a time. What process 0 says counts for all:
        with numbers of their own some would draw what others were dealt, and nobody the rest.
      least: items of a part, unless `engine.part_questions` says how many.

    Attributes:
      layout: how the items are cut.
      missing: indices of the parts that were not whole at the start, the same in every process.
      done: items of whole parts, whoever made them; those of others as of the last part that this
        process made.

    UserError if the work was begun with another number of items, or the processes have different
    numbers.
    """

    def __init__(
        self,
        ctx: Context,
        name: str,
        kind: type[Record],
        items: Sequence[Item],
        at_once: int = 1,
        least: int = _LEAST,
    ):
        self.ctx = ctx
        self.name = name
        self.kind = kind
        self.items = items
        self.folder = ctx.folder(*name.split("/"))
        coordinator.check_same(f"the number of items of {name}", str(len(items)))
        self._found: dict[int, parquet.Footer] = {}  # process 0: whole parts
        wanted = layout(len(items), ctx.config.engine.part_questions, least)
        begun = coordinator.from_main(
            f"parts of {name}", lambda: self._begin(wanted) | {"at_once": at_once}
        )
        self.layout = Layout(tuple((size, items) for size, items in begun["pieces"]))
        self.missing: list[int] = begun["missing"]
        self._at_once = -(-begun["at_once"] // max(map(len, self.layout.parts), default=1))
        self._counter = coordinator.Counter(name)
        self._written = coordinator.Counter(f"{name} written")
        self._before = len(items) - sum(len(self.layout.parts[part]) for part in self.missing)
        self.done = self._before

    def __iter__(self) -> Iterator[tuple[int, list[Item]]]:
        mine = claim(
            self.missing,
            processes.index(),
            processes.count(),
            self._at_once,
            self._counter.next,
        )
        for part in mine:
            yield part, [self.items[i] for i in self.layout.parts[part]]

    def _begin(self, wanted: Layout) -> dict[str, Any]:
        """Process 0: the pieces of the layout, those of the first start, and what is missing."""
        file = self._layout_file()
        if not storage.exists(file):
            storage.write_json(file, {"pieces": wanted.pieces})
            return {"pieces": wanted.pieces, "missing": list(range(len(wanted.parts)))}
        pieces = storage.read_json(file).get("pieces", wanted.pieces)
        begun = Layout(tuple((size, items) for size, items in pieces))
        if begun.items != wanted.items:
            raise UserError(
                f"{self.folder} was begun with {begun.items} items, and there are {wanted.items}: "
                "its data changed; delete the folder of its stage and run again"
            )
        everything = range(len(begun.parts))
        self._found = self._look(everything)
        missing = [part for part in everything if part not in self._found]
        return {"pieces": begun.pieces, "missing": missing}

    def _layout_file(self) -> epath.Path:
        # Not among the parts: a folder of records holds nothing that is not one.
        stage, *folders, last = self.name.split("/")
        return self.ctx.folder(stage, "work", *folders, f"{last}.json")

    def _look(self, some: Sequence[int]) -> dict[int, parquet.Footer]:
        """Those of the parts `some` that are whole, and what their files say of themselves."""
        with concurrent.futures.ThreadPoolExecutor(_READERS, "parts") as readers:
            footers = readers.map(functools.partial(parquet.read_footer, self.folder), some)
            return {part: f for part, f in zip(some, footers, strict=True) if f is not None}

    def write(self, part: int, rows: Sequence[Record], work: dict[str, Any] | None = None) -> None:
        """Writes `rows` as part `part`, atomically with the `work` that was done for it.

        `work`: name -> number; see `work`.
        """
        records.write_part(self.folder, part, rows, self.kind, notes=work)
        self.done = self._before + self._written.add(len(self.layout.parts[part]))

    def finish(self) -> StoredRecords[Record]:
        """Waits until all parts are whole; returns all records, in the order of the items."""
        processes.barrier(self.name)
        whole = coordinator.from_main(f"rows of {self.name}", self._describe)
        self.ctx.keep_rows(self.name, whole["rows"])
        self.ctx.work[self.name] = whole["work"]
        return StoredRecords.of(self.folder, self.kind, whole["rows"])

    def _describe(self) -> dict[str, Any]:
        """Process 0: rows of each part, and the work done for all of them."""
        self._found |= self._look(self.missing)
        total: dict[str, float] = {}
        for part in range(len(self.layout.parts)):
            if part not in self._found:
                file = parquet.part_path(self.folder, part)
                raise UserError(f"{file} is not there or not whole; run again to have it made")
            for name, number in self._found[part].notes.items():
                total[name] = total.get(name, 0) + number
        rows = [self._found[part].rows for part in range(len(self.layout.parts))]
        return {"rows": rows, "work": total}


def in_parts(
    ctx: Context,
    name: str,
    kind: type[Record],
    items: Sequence[Item],
    make: Callable[[list[Item]], Sequence[Record]],
    least: int = _LEAST,
) -> list[Record]:
    """Records of type `kind`, one for each of `items`, kept as parts under the folder `name`.

    make(the items of a part) -> their records. Each part is written as soon as it is made, and is
    always made whole: what is in it does not depend on what is there already. Parts are shared by
    the processes; every one gets all records.
    """
    claims = Claims(ctx, name, kind, items, least=least)
    with ctx.piece(name, SCORE, "solutions", len(items)) as piece:
        piece.begin(claims.done)
        for part, some in claims:
            claims.write(part, make(some))
            piece.reach(claims.done)
    return list(claims.finish())


def write(ctx: Context, name: str, kind: type[Record], rows: Sequence[Record]) -> None:
    """Writes `rows` as all that the folder `name` holds (process 0 alone; every process calls)."""
    ctx.keep_rows(name, [])
    append(ctx, name, kind, rows)


def append(ctx: Context, name: str, kind: type[Record], rows: Sequence[Record]) -> None:
    """Writes further `rows` as one part behind those of the folder `name` (process 0 alone).

    Every process calls it, once all parts before are whole.
    """
    before = ctx.rows.get(name, [])
    folder = ctx.folder(*name.split("/"))
    processes.on_main(records.write_part, folder, len(before), rows, kind)
    processes.barrier(f"further rows of {name}")
    ctx.keep_rows(name, [*before, len(rows)])


def expected(ctx: Context, name: str) -> list[int] | None:
    """How many rows each part of the records `name` has, as the manifest of their stage says.

    None if it does not say, or, outside of a running pipeline, if there is no manifest. UserError
    if a running stage finds none.
    """
    if name in ctx.rows:
        return ctx.rows[name]
    manifest = ctx.folder(name.split("/")[0], "manifest.json")
    if not ctx.stage and not storage.exists(manifest):
        return None
    return storage.read_json(manifest).get("records", {}).get(name)


def work(ctx: Context, name: str) -> dict[str, Any]:
    """What the rollout engines did for the records under the folder `name`, in all processes.

    Jobs (`items`), forks, tokens drawn and tokens of trunks: those of the records, whatever was cut
    off. Seconds (of all processes together) and occupancy (tokens drawn / slot-steps): as spent up
    to the last part that a process made whole. All this is counted with each part, in its file.
    Empty if nothing was generated.
    """
    counts = dict(ctx.work.get(name, {}))
    if not counts:
        return {}
    slot_steps = counts.pop("slot_steps")
    return counts | {"occupancy": counts["tokens"] / max(slot_steps, 1)}
