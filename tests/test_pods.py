"""The committed figures of docs/pods.json: the page shows them, and what they promise holds."""

import json

import pytest

from benchmarks import pods

STORED = json.loads((pods.DOCS / "pods.json").read_text())
FIGURES = {(row, name): f for row, r in STORED["rows"].items() for name, f in r["programs"].items()}
FITTING = {k: f for k, f in FIGURES.items() if f["fits"]}


def test_the_page_shows_what_is_stored():
    assert pods.table(STORED["rows"]) in (pods.DOCS / "pods.md").read_text()


@pytest.mark.parametrize("row", ["llama2_7b v5e-16", "llama2_13b v4-32"])
def test_the_paper_s_runs_fit(row):
    """Each with its committed config on the slice that the config names."""
    assert set(STORED["rows"][row]["programs"]) == {
        "student",
        "reward",
        "refiner",
        "rollout",
        "prefill",
        "score",
    }
    assert all(f["fits"] for f in STORED["rows"][row]["programs"].values())
    assert "--config.mesh" not in STORED["rows"][row]["command"]


@pytest.mark.parametrize("key", FITTING, ids=" ".join)
def test_figures_keep_their_bounds(key):
    f = FITTING[key]
    assert f["flops_ratio"] <= 1.40
    assert f["bytes_ratio"] is None or f["bytes_ratio"] <= 1.3
    assert f["unaliased_bytes"] == 0 and f["unsharded"] == []
    assert "gathers_as_all_reduce" not in f["collectives"]


def test_refusals_carry_the_compiler_s_words():
    for f in FIGURES.values():
        assert f["fits"] or f["says"]


def test_rows_can_be_merged_and_cells_are_complete(tmp_path, monkeypatch):
    (tmp_path / "pods.md").write_text(f"before\n{pods.MARKS[0]}\nold\n{pods.MARKS[1]}\nafter\n")
    monkeypatch.setattr(pods, "DOCS", tmp_path)
    refused = {
        "fits": False,
        "says": "no",
        "needed_bytes": 3 * 2**30,
        "mesh": {"fsdp": 1},
        "layout": "1 row",
    }
    stored = {
        "versions": {"jax": "1"},
        "rows": STORED["rows"] | {"llama3_70b v6e-16": {"programs": {"score": refused}}},
    }
    pods.write(stored)
    page = (tmp_path / "pods.md").read_text()
    assert page.startswith("before\n") and page.endswith("\nafter\n") and "old" not in page
    assert "| llama3_70b | v6e-16 | score | one chip; 1 row | **no** needs 3.0 GiB |" in page
    assert len({line.count("|") for line in page.splitlines() if line.startswith("| llama")}) == 1
    assert json.loads((tmp_path / "pods.json").read_text()) == stored
