"""Work in parts: every part made once, whoever claims it; nothing lost, doubled or made again."""

import itertools
import json
import random
import re
import signal
import time
from typing import TypedDict

import pytest
import several

from glore_jax import parquet, records, storage
from glore_jax.errors import UserError
from glore_jax.stages import parts
from glore_jax.stages.parts import Claims, claim, layout

ITEMS = list(range(11))
NAME = "evaluate/test/scores/orm"


class Square(TypedDict):
    of: int
    square: int


def square(items):
    return [Square(of=n, square=n * n) for n in items]


EXPECTED = square(ITEMS)


@pytest.fixture
def small_parts(ctx):
    ctx.config.engine.part_questions = 4
    return ctx


def squares(asked):
    """make(items) for `parts.in_parts`, which keeps in `asked` what it was called with."""

    def make(items):
        asked.append(items)
        return square(items)

    return make


# How work is cut.


@pytest.mark.parametrize("items", [0, 1, 3, 7, 11, 256, 1319, 7473, 1_000_000])
@pytest.mark.parametrize("size, least", [(0, 4), (0, 64), (5, 4)])
def test_a_layout_covers_every_item_once_and_in_order(items, size, least):
    cut = layout(items, size, least)
    assert [i for part in cut.parts for i in part] == list(range(items)) and cut.items == items
    sizes = [len(part) for part in cut.parts]
    assert 0 not in sizes and max(sizes, default=0) <= (size or 256)


def test_parts_are_as_large_as_suits_the_number_of_items():
    def sizes(items, **options):
        return sorted({len(part) for part in layout(items, **options).parts}, reverse=True)

    assert sizes(11) == [4, 2, 1]
    assert sizes(11, size=4) == [4, 3]
    assert sizes(7473)[0] == 12 and len(layout(7473).parts) == 857
    assert sizes(7473, least=64)[0] == 64
    assert sizes(1_000_000)[0] == 256
    assert len(layout(256).parts) > 64  # the dev questions keep a large pod busy


# Who makes what.


@pytest.mark.parametrize("seed", range(20))
def test_every_part_is_claimed_once_in_whatever_order_processes_ask(seed):
    rng = random.Random(seed)
    missing = sorted(rng.sample(range(200), rng.randrange(120)))
    count, at_once = rng.randrange(1, 9), rng.randrange(1, 30)
    counter = itertools.count()
    hosts = [claim(missing, i, count, at_once, lambda: next(counter)) for i in range(count)]
    taken: list[list[int]] = [[] for _ in hosts]
    asking = list(range(count))
    while asking:
        i = rng.choice(asking)
        part = next(hosts[i], None)
        if part is None:
            asking.remove(i)
        else:
            taken[i].append(part)
    assert sorted(part for some in taken for part in some) == missing
    fair = len(missing) // count
    assert all(len(some) >= min(fair, at_once) for some in taken)  # nobody came too late


def test_who_asks_first_takes_no_more_than_a_hand_before_the_others_ask():
    counter = itertools.count()
    first, second = (claim(range(10), i, 2, 50, lambda: next(counter)) for i in range(2))
    assert list(first) == [0, 2, 4, 6, 8] and list(second) == [1, 3, 5, 7, 9]


def test_the_others_take_what_a_slow_one_leaves():
    counter = itertools.count()
    slow, fast = (claim(range(10), i, 2, 1, lambda: next(counter)) for i in range(2))
    assert next(slow) == 0 and list(fast) == [1, 2, 3, 4, 5, 6, 7, 8, 9] and list(slow) == []


# On disk.


def test_what_is_there_is_not_made_again(small_parts):
    asked = []
    assert parts.in_parts(small_parts, NAME, Square, ITEMS, squares(asked)) == EXPECTED
    parquet.part_path(small_parts.folder(*NAME.split("/")), 1).unlink()
    assert parts.in_parts(small_parts, NAME, Square, ITEMS, squares(asked)) == EXPECTED
    assert parts.in_parts(small_parts, NAME, Square, ITEMS, squares(asked)) == EXPECTED
    assert asked == [ITEMS[:4], ITEMS[4:8], ITEMS[8:], ITEMS[4:8]]


def test_a_part_that_was_cut_off_is_made_again(small_parts):
    parts.in_parts(small_parts, NAME, Square, ITEMS, square)
    file = parquet.part_path(small_parts.folder(*NAME.split("/")), 2)
    file.write_bytes(file.read_bytes()[:-20])
    asked = []
    assert parts.in_parts(small_parts, NAME, Square, ITEMS, squares(asked)) == EXPECTED
    assert asked == [ITEMS[8:]]


def test_an_end_loses_the_part_that_is_being_made_and_no_other(small_parts):
    def make(items):
        if 4 in items:
            raise KeyboardInterrupt
        return square(items)

    with pytest.raises(KeyboardInterrupt):
        parts.in_parts(small_parts, NAME, Square, ITEMS, make)
    asked = []
    assert parts.in_parts(small_parts, NAME, Square, ITEMS, squares(asked)) == EXPECTED
    assert asked == [ITEMS[4:8], ITEMS[8:]]


def test_work_goes_on_in_the_parts_in_which_it_was_begun(ctx):
    items = list(range(100))
    wanted = parts.in_parts(ctx, NAME, Square, items, square)
    ctx.config.engine.part_questions = 30  # a pipeline would call the stage stale
    asked = []
    parquet.part_path(ctx.folder(*NAME.split("/")), 3).unlink()
    assert parts.in_parts(ctx, NAME, Square, items, squares(asked)) == wanted
    assert asked == [items[24:32]]


def test_other_data_are_noticed(small_parts):
    parts.in_parts(small_parts, NAME, Square, ITEMS, square)
    with pytest.raises(UserError, match="was begun with 11 items, and there are 10: its data"):
        parts.in_parts(small_parts, NAME, Square, ITEMS[:-1], square)


def test_no_items_are_no_records(ctx):
    assert parts.in_parts(ctx, NAME, Square, [], square) == []


# What readers may expect.


def test_readers_are_told_the_rows_of_each_part(small_parts):
    told = []
    small_parts.on_rows = lambda rows: told.append(json.loads(json.dumps(rows)))
    parts.in_parts(small_parts, NAME, Square, ITEMS, square)
    parts.append(small_parts, NAME, Square, square([20, 21]))
    parts.write(small_parts, "refiner/pairs", Square, square([1]))
    parts.write(small_parts, "refiner/pairs", Square, square([1]))  # again, after a restart
    assert told[0] == {NAME: [4, 4, 3]}
    assert told[-1] == {NAME: [4, 4, 3, 2], "refiner/pairs": [1]}
    assert parts.expected(small_parts, NAME) == [4, 4, 3, 2]
    assert len(records.read(small_parts.folder("refiner", "pairs"), Square)) == 1


def test_another_stage_reads_them_in_the_manifest(ctx):
    assert parts.expected(ctx, "sample/records") is None  # by hand, as in a notebook
    inside = ctx.inside("orm", ())
    with pytest.raises(UserError, match="sample/manifest.json"):
        parts.expected(inside, "sample/records")
    manifest = {"done": True, "records": {"sample/records": [3, 2]}}
    storage.write_json(ctx.folder("sample", "manifest.json"), manifest)
    assert parts.expected(inside, "sample/records") == [3, 2]
    assert parts.expected(inside, "sample/greedy") is None


def test_a_reader_says_which_part_lacks_rows(small_parts):
    parts.in_parts(small_parts, NAME, Square, ITEMS, square)
    folder = small_parts.folder(*NAME.split("/"))
    rows = parts.expected(small_parts, NAME)
    records.write_part(folder, 1, square([4]), Square)
    with pytest.raises(UserError, match="part-00001.parquet: holds 1 rows instead of 4"):
        records.read(folder, Square, rows)
    parquet.part_path(folder, 2).unlink()
    records.write_part(folder, 1, square(ITEMS[4:8]), Square)
    with pytest.raises(UserError, match="part-00002.parquet: no such file"):
        records.read(folder, Square, rows)


# What was done for them.


def test_work_is_counted_with_the_part_that_it_made(small_parts):
    assert parts.work(small_parts, NAME) == {}
    work = {"forks": 3, "tokens": 30, "slot_steps": 40, "seconds": 1.5, "items": 4}
    for restart in range(3):
        claims = Claims(small_parts, NAME, Square, ITEMS)
        for part, some in itertools.islice(claims, 1):
            claims.write(part, square(some), work)
        assert claims.missing == [0, 1, 2][restart:]
    claims.finish()
    assert parts.work(small_parts, NAME) == {
        "forks": 9,
        "tokens": 90,
        "seconds": 4.5,
        "items": 12,
        "occupancy": 90 / 120,
    }


# Several processes, one of which is lost.

_PROGRAM = """
import sys, time
from glore_jax.parallel import processes

address, count, index, workdir = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
processes.initialize(address, count, index)
from configs import tiny
from glore_jax.stages import parts
from glore_jax.stages.context import Context
from stages.test_parts import NAME, Square, square

ctx = Context(tiny.get_config("smoke"), workdir)
ctx.config.engine.part_questions = 1

def make(items):
    # one write, so that a process that is killed leaves a whole line or none
    print(f"made {items[0]}\\n", end="", flush=True)
    time.sleep(0.05)
    return square(items)

# Their engines differ in size.
claims = parts.Claims(ctx, NAME, Square, range(40), at_once=1 + int(index))
for part, items in claims:
    claims.write(part, make(items))
rows = list(claims.finish())
print("rows", len(rows), ctx.rows == {NAME: [1] * 40} and rows == square(range(40)))
processes.barrier("end")
"""


def test_after_a_loss_any_number_of_processes_goes_on_and_makes_only_what_is_missing(tmp_path):
    def program(count):
        return lambda address, index: ("-c", _PROGRAM, address, count, index, tmp_path / "work")

    def made(text):
        return [int(number) for number in re.findall(r"^made (\d+)$", text, re.MULTILINE)]

    folder = tmp_path / "work" / NAME
    with several.together(2, program(2), log=tmp_path) as run:
        while all(p.poll() is None for p in run) and len(list(folder.glob("part-*"))) < 10:
            time.sleep(0.002)
        run[1].send_signal(signal.SIGKILL)
        codes = [p.wait() for p in run]
    logs = [(tmp_path / f"{i}.txt").read_text() for i in range(2)]
    assert codes == [3, -signal.SIGKILL], logs
    whole = {i for i in range(40) if parquet.has_part(folder, i)}
    assert all(made(text) for text in logs) and 10 <= len(whole) < 40
    with several.together(3, program(3)) as run:
        ended = several.ended(run)
    assert [code for code, *_ in ended] == [0] * 3, ended
    assert sorted(n for _, out, _ in ended for n in made(out)) == sorted(set(range(40)) - whole)
    assert all(made(out) and "rows 40 True" in out for _, out, _ in ended)
