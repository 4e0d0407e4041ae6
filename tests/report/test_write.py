"""The report as files."""

import pytest

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.report import plots
from glore_jax.report.run_figures import Report
from glore_jax.report.write import write


def test_all_files_are_there_and_nothing_else(written):
    page, folder = written
    assert page == folder / "report.html"
    assert {file.name for file in folder.iterdir()} == {
        "report.json",
        "report.md",
        "report.html",
        "plots",
    }
    assert {file.name for file in (folder / "plots").iterdir()} == {
        f"{name}.png" for name in plots.PLOTS
    }


def test_report_json_is_the_results(written, results):
    assert storage.read_json(written[1] / "report.json") == results


def test_the_markdown_links_plots_that_exist(written):
    folder = written[1]
    text = (folder / "report.md").read_text()
    for name in plots.PLOTS:
        assert f"](plots/{name}.png)" in text and (folder / "plots" / f"{name}.png").exists()


def test_a_broken_contract_writes_nothing(tmp_path, results, examples):
    results["final"]["orm"]["acc"] = 84.6
    with pytest.raises(ValueError, match=r"final\.orm\.acc"):
        write(Report.from_json(results), examples, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_plots_of_an_earlier_report_do_not_stay(tmp_path, monkeypatch, results, examples):
    monkeypatch.setattr(plots, "draw", lambda results, dark=False: {"scores": b"image"})
    old = tmp_path / "plots" / "rerank.png"
    storage.write_bytes(old, b"old")
    results["curves"]["rerank"] = None
    write(Report.from_json(results), examples, tmp_path)
    assert not old.exists() and (tmp_path / "plots" / "scores.png").read_bytes() == b"image"
    assert "`curves.rerank.k`" in (tmp_path / "report.md").read_text()


def test_an_unknown_column_of_the_paper_is_the_users_mistake(tmp_path, results):
    results["paper_column"] = "GSM8K 70B"
    with pytest.raises(UserError, match="GSM8K 70B"):
        write(Report.from_json(results), [], tmp_path / "report")
    assert not (tmp_path / "report").exists()
