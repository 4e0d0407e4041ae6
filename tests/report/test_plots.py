"""The plots draw the figures of the run, and each is left out alone when its figures are missing."""

import struct

import matplotlib
import numpy as np
import pytest

from glore_jax.report import plots
from glore_jax.report.figures import interval


def axes_of(name: str, results: dict) -> list:
    with matplotlib.rc_context(plots._style(plots._LIGHT)):
        return plots.PLOTS[name].draw(results, plots._LIGHT).axes


def test_rerank_draws_the_means_and_the_bands(results):
    (axes,) = axes_of("rerank", results)
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"pass@K", "majority", "log-likelihood", "ORM", "SORM"}
    curve = results["curves"]["rerank"]["orm"]
    np.testing.assert_allclose(lines["ORM"].get_xdata(), [1, 2, 4, 8])
    np.testing.assert_allclose(lines["ORM"].get_ydata(), curve["mean"])
    spans = [band.get_paths()[0].get_extents() for band in axes.collections]
    assert any(
        np.isclose(s.y0, curve["low"][0]) and np.isclose(s.y1, curve["high"][-1]) for s in spans
    )
    assert {text.get_text() for text in axes.texts} == set(lines)  # every line is named at its end


def test_labels_at_line_ends_do_not_overlap():
    placed = plots._spread([0.50, 0.505, 0.51, 0.9], 0.05)
    assert np.diff(placed).min() >= 0.05 - 1e-6
    assert placed[3] == 0.9  # what stands free stays


def test_first_error_bars_are_the_counts(results):
    (axes,) = axes_of("first_error", results)
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in axes.patches] == [
        (step, n) for step, n in results["draft"]["first_error_histogram"]
    ]
    assert "n = 224" in axes.get_title(loc="left")


def test_label_rate_and_its_counts(results):
    top, bottom = axes_of("label_rate", results)
    np.testing.assert_allclose(top.lines[0].get_ydata(), results["curves"]["label_rate"]["rate"])
    assert [bar.get_height() for bar in bottom.patches] == results["curves"]["label_rate"]["n"]


def test_reliability_points_grow_with_their_count(results):
    (axes,) = axes_of("reliability", results)
    sorm = next(points for points in axes.collections if points.get_label() == "SORM")
    group = results["curves"]["reliability"]["sorm"]
    np.testing.assert_allclose(
        sorm.get_offsets(), list(zip(group["p"], group["rate"], strict=True))
    )
    assert np.argsort(sorm.get_sizes())[-1] == np.argmax(group["n"])


def test_scores_are_shares_of_their_kind(results):
    panels = axes_of("scores", results)
    assert [axes.get_title(loc="left") for axes in panels] == ["ORM", "SORM"]
    for axes in panels:
        for patch in axes.patches:
            np.testing.assert_allclose(patch.get_data().values.sum(), 1)


def test_refinement_bars_intervals_and_the_papers_marks(results):
    fix, broken = axes_of("refinement", results)
    names = [label.get_text().replace("\n", " ") for label in fix.get_yticklabels()]
    widths = dict(zip(names, [bar.get_width() for bar in fix.patches], strict=True))
    assert widths["Global ∪ Local (SORM)"] == 0.366 and widths["Global"] == 0.257
    assert {bar.get_width() for bar in broken.patches} == {0.118, 0.067, 0.059, 0.021, 0.019}
    marks = [line.get_xdata()[0] for line in fix.lines if line.get_marker() == "D"]
    assert sorted(marks) == [0.182, 0.203, 0.211, 0.252, 0.28]
    assert not any(
        line.get_marker() == "D" for line in broken.lines
    )  # the paper reports no break rates
    whiskers = [tuple(line.get_xdata()) for line in fix.lines if line.get_marker() != "D"]
    assert interval(0.257, 224) in whiskers


def test_pipeline_shows_the_chosen_column_and_keeps_its_marks_in_view(results):
    results["paper_column"] = "SVAMP 13B"
    results["draft"]["acc"], results["pipeline"]["rerank"]["acc"] = 0.1, 0.2
    results["pipeline"]["oracle"]["acc"] = 0.25
    del results["pipeline"]["bo3"]
    (axes,) = axes_of("pipeline", results)
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert sorted(marks) == [0.678, 0.749] and max(marks) < axes.get_xlim()[1]
    # Nothing is written over a mark: the numbers stand to the right of bar, interval and mark.
    assert all(text.xy[0] >= 0.678 for text in axes.texts)


@pytest.mark.parametrize("name", plots.PLOTS)
def test_a_plot_without_figures_is_named(name, results):
    assert plots.missing(name, results) is None
    group, _, _ = plots.PLOTS[name].needs.rpartition(".")
    parent = results
    for key in group.split("."):
        grandparent, parent = parent, parent[key]
    grandparent[key] = None
    reason = plots.missing(name, results)
    assert plots.PLOTS[name].title in reason and f"`{plots.PLOTS[name].needs}`" in reason
    assert name in {other for other in plots.PLOTS if plots.missing(other, results)}


def test_odd_curves_are_drawn(results, monkeypatch):
    monkeypatch.setattr(plots, "DPI", 40)  # faster
    curves = results["curves"]
    curves["rerank"] = {"k": [1], "pass": {"mean": [0.5]}, "orm": None, "sorm": {"mean": [None]}}
    curves["label_rate"] = {"length": [1, 2], "rate": [1.0, None], "n": [3, 0]}
    curves["reliability"] = {
        "orm": {"p": [0.1, None], "rate": [0.0, None], "n": [4, 0]},
        "sorm": {"p": [], "rate": [], "n": []},
    }
    curves["scores"] = {"sorm": {"right": [0] * 20, "wrong": [1] + [0] * 19}}
    results["draft"]["first_error_histogram"] = [[3, 1]]
    results["refine"] = {"global": {"fix_rate": 0.0, "n_wrong": 5}}
    results["pipeline"] = {"rerank": {"acc": 1.0, "n": 2}}
    assert set(plots.draw(results)) == set(plots.PLOTS)


def test_images_are_png_wider_than_they_are_read(written):
    _, folder = written
    files = {file.stem: file.read_bytes() for file in (folder / "plots").iterdir()}
    assert set(files) == set(plots.PLOTS)
    for image in files.values():
        assert image.startswith(b"\x89PNG\r\n\x1a\n")
        assert struct.unpack(">I", image[16:20])[0] == 960  # read at up to 600
