"""Two runs are the same but for clocks, null columns and last digits, and nothing else."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import same_run

ROWS = [
    {"question_id": "a", "steps": ["2+3=5", "#### 5"], "correct": True, "logprob": -1.234567},
    {"question_id": "b", "steps": [], "correct": False, "logprob": -20.5},
]
REPORT = {
    "draft": {"acc": 0.5, "n": 2},
    "seconds": {"sample": 12.5},
    "curve": [0.1, None],
    "about": {"config": "tiny", "commit": "one"},
}


def write(workdir, rows=ROWS, report=REPORT, sizes=(1, 1)):
    folder = workdir / "sample" / "records"
    folder.mkdir(parents=True)
    rest = list(rows)
    for index, size in enumerate(sizes):
        part = pa.Table.from_pylist(rest[:size], schema=pa.Table.from_pylist(list(rows)).schema)
        pq.write_table(part, folder / f"part-{index:05d}.parquet")
        del rest[:size]
    (workdir / "report").mkdir()
    (workdir / "report" / "report.json").write_text(json.dumps(report))
    manifest = {"seconds": 3.0, "counts": {"samples": len(rows), "work": {"seconds": 1.0}}}
    (workdir / "sample" / "manifest.json").write_text(json.dumps(manifest))
    return workdir


@pytest.fixture
def compare(tmp_path, monkeypatch, capsys):
    """compare(**what the second run has) -> (exit code, lines printed)."""

    def go(**changes):
        folders = [write(tmp_path / "one"), write(tmp_path / "other", **changes)]
        monkeypatch.setattr(sys, "argv", ["same_run", *map(str, folders)])
        code = same_run.main()
        return code, capsys.readouterr().out.splitlines()

    return go


def changed(index, **fields):
    return [row | fields if i == index else row for i, row in enumerate(ROWS)]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sizes": (2,)},
        {"sizes": (2, 0)},
        {"report": REPORT | {"seconds": {"sample": 1.0}}},
        {"report": REPORT | {"about": {"config": "tiny", "commit": "other"}}},
        {"report": REPORT | {"new": None}},
        {"rows": [row | {"seed": None} for row in ROWS]},
        {"rows": [dict(reversed(row.items())) for row in ROWS]},
    ],
)
def test_what_says_nothing(compare, changes):
    code, lines = compare(**changes)
    assert code == 0 and lines[-1] == "same"
    names = ["report/report.json", "sample/manifest.json", "sample/records"]
    assert [line.split()[1:] for line in lines[:-1]] == [[name] for name in names]
    assert all(len(line.split()[0]) == 64 for line in lines[:-1])


def test_last_digits_of_a_float_do_not_count(compare):
    code, lines = compare(rows=changed(0, logprob=-1.2345672))
    assert code == 0 and lines[-1] == "same"


@pytest.mark.parametrize(
    "changes, difference",
    [
        ({"rows": changed(0, logprob=-1.2355)}, "sample/records[0]: logprob is -1.234567 and"),
        ({"rows": changed(1, steps=["#### 5"])}, "sample/records[1]: steps has 0 entries and 1"),
        ({"rows": changed(0, correct=False)}, "sample/records[0]: correct is True and False"),
        ({"rows": changed(0, seed=0)}, "sample/records[0]: seed is only in the second"),
        ({"rows": ROWS[::-1]}, "sample/records[0]: correct is True and False"),
        ({"sizes": (1,)}, "sample/records has 2 entries and 1"),
        (
            {"report": REPORT | {"draft": {"acc": 0.5, "n": 3}}},
            "report/report.json: draft: n is 2 and 3",
        ),
    ],
)
def test_the_first_difference_is_named(compare, changes, difference):
    code, lines = compare(**changes)
    assert code == 1 and lines[-1].startswith(f"different: {difference}")
    assert any("(other: " in line for line in lines)


def test_a_folder_that_only_one_has(tmp_path):
    one, other = write(tmp_path / "one"), write(tmp_path / "other")
    (one / "sample" / "records").rename(one / "sample" / "greedy")
    found = list(same_run.differences(same_run.read_run(one), same_run.read_run(other)))
    assert found == [
        "sample/greedy is only in the first",
        "sample/records is only in the second",
    ]
