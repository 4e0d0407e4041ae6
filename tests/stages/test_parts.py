"""Work in parts: shared out without gaps or doubles, never done twice, and counted."""

from typing import TypedDict

import jax
import pytest

from glore_jax import parquet, storage
from glore_jax.errors import UserError
from glore_jax.parallel import processes
from glore_jax.sampling.engine import Stats
from glore_jax.stages import parts

ITEMS = list(range(11))


class Square(TypedDict):
    of: int
    square: int


EXPECTED = [Square(of=n, square=n * n) for n in ITEMS]


@pytest.fixture
def small_parts(ctx):
    ctx.config.engine.part_questions = 4
    return ctx


@pytest.fixture
def of_three(small_parts, monkeypatch):
    """of_three(index) -> the context, in process `index` of three."""
    monkeypatch.setattr(processes, "barrier", lambda name: None)
    monkeypatch.setattr(jax, "process_count", lambda: 3)

    def process(index):
        monkeypatch.setattr(jax, "process_index", lambda: index)
        return small_parts

    return process


def squares(asked):
    """make(items) for `parts.in_parts`, which keeps in `asked` what it was called with."""

    def make(items):
        asked.append(items)
        return [Square(of=n, square=n * n) for n in items]

    return make


def test_processes_deal_out_the_parts_in_turn(of_three):
    shares = [parts.share(of_three(i), "sample/records", list(range(17))) for i in range(3)]
    assert [share.todo for share in shares] == [[0, 3], [1, 4], [2]]
    assert [len(part) for part in shares[0].parts] == [4, 4, 4, 4, 1]
    assert shares[1].items == [4, 5, 6, 7, 16]
    assert sorted(item for share in shares for item in share.items) == list(range(17))
    assert parts.count_parts(of_three(0), 17) == 5 and parts.count_parts(of_three(0), 16) == 4


def test_each_process_makes_its_parts_in_one_call(of_three):
    name = "evaluate/test/scores/orm"
    asked = []
    for index in (2, 1):
        # Without the barrier it finds that the parts of others are not there yet.
        with pytest.raises(UserError, match="part-0000[01].parquet is missing"):
            parts.in_parts(of_three(index), name, Square, ITEMS, squares(asked))
    rows = parts.in_parts(of_three(0), name, Square, ITEMS, squares(asked))
    assert asked == [ITEMS[8:], ITEMS[4:8], ITEMS[:4]] and rows == EXPECTED


def test_what_is_there_is_not_made_again(small_parts):
    name = "evaluate/test/scores/orm"
    asked = []
    assert parts.in_parts(small_parts, name, Square, ITEMS, squares(asked)) == EXPECTED
    parquet.part_path(small_parts.folder(*name.split("/")), 1).unlink()
    assert parts.in_parts(small_parts, name, Square, ITEMS, squares(asked)) == EXPECTED
    assert parts.in_parts(small_parts, name, Square, ITEMS, squares(asked)) == EXPECTED
    assert asked == [ITEMS, ITEMS[4:8]]


@pytest.mark.parametrize(
    "name, file",
    [
        ("sample/records", "sample/work/records.json"),
        ("evaluate/test/drafts", "evaluate/work/test/drafts.json"),
    ],
)
def test_work_is_counted_beside_the_records(ctx, name, file):
    assert parts.work(ctx, name) == {}
    stats = Stats(forks=3, tokens=30, prefill_tokens=7, slot_steps=40, rounds=9, seconds=1.5)
    parts.add_work(ctx, name, stats, 2)
    parts.add_work(ctx, name, stats, 5)  # after a restart
    assert storage.read_json(ctx.folder(file))["slot_steps"] == 80
    assert not ctx.folder(*name.split("/")).exists()
    assert parts.work(ctx, name) == {
        "forks": 6,
        "tokens": 60,
        "prefill_tokens": 14,
        "seconds": 3.0,
        "items": 7,
        "occupancy": 60 / 80,
    }
