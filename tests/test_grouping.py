"""Groups are those of a sort in memory, whatever the order, the parts and the buckets."""

import itertools
from typing import TypedDict

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glore_jax import grouping, records


class Row(TypedDict):
    question_id: str
    number: int
    steps: list[str]


IDS = st.text(st.sampled_from("ab19é\U0001f600"), max_size=2)


def rows_of(ids):
    return [Row(question_id=q, number=i, steps=["s"] * (i % 3)) for i, q in enumerate(ids)]


def in_memory(rows):
    by_id = sorted(rows, key=lambda row: row["question_id"])
    return [list(group) for _, group in itertools.groupby(by_id, lambda row: row["question_id"])]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(IDS, max_size=40), st.integers(1, 9), st.sampled_from([1, 3, 100]), st.integers(1, 4)
)
def test_groups_are_those_of_a_sort_in_memory(
    tmp_path_factory, monkeypatch, ids, part, bucket, most
):
    monkeypatch.setattr(grouping, "_BUCKET_ROWS", bucket)
    monkeypatch.setattr(grouping, "_MOST_BUCKETS", most)
    monkeypatch.setattr(grouping, "_PIECE_ROWS", 2)
    folder = tmp_path_factory.mktemp("records")
    rows = rows_of(ids)
    for index, start in enumerate(range(0, max(len(rows), 1), part)):
        records.write_part(folder, index, rows[start : start + part], Row)
    groups = grouping.of_folder(folder, Row)
    assert list(groups) == in_memory(rows)
    assert list(groups) == in_memory(rows)  # a second time


def test_only_the_columns_asked_for(tmp_path):
    records.write_part(tmp_path, 0, rows_of("ba"), Row)
    found = list(grouping.of_folder(tmp_path, Row, ("question_id", "number"), rows=[2]))
    assert found == [[{"question_id": "a", "number": 1}], [{"question_id": "b", "number": 0}]]


@pytest.mark.parametrize(
    "left, right, found",
    [
        ("abd", "acd", ["a", "", "d"]),
        ("b", "abc", ["b"]),
        ("ab", "", ["", ""]),
        ("", "ab", []),
        ("c", "ab", [""]),
    ],
)
def test_groups_of_one_question_meet(left, right, found):
    groups, others = ([[{"question_id": q}] * 2 for q in ids] for ids in (left, right))
    pairs = list(grouping.joined(groups, others))
    assert [group for group, _ in pairs] == groups
    assert [other[0]["question_id"] if other else "" for _, other in pairs] == found
