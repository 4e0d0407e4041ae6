"""Curves, bars by step and labels by length are the figures of the run."""

import numpy as np

from glore_jax.report.plot_curves import spread


def test_rerank_draws_the_means_and_the_bands(axes_of, results):
    (axes,) = axes_of("rerank", results)
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"pass@K", "majority", "log-likelihood", "ORM", "SORM"}
    curve = results["curves"]["rerank"]["orm"]
    np.testing.assert_allclose(lines["ORM"].get_xdata(), [1, 2, 4, 8])
    np.testing.assert_allclose(lines["ORM"].get_ydata(), curve["mean"])
    spans = [band.get_paths()[0].get_extents() for band in axes.collections]
    ends = (curve["low"][0], curve["high"][-1])
    assert any(np.allclose((span.y0, span.y1), ends) for span in spans)
    assert {text.get_text() for text in axes.texts} == set(lines)  # every line is named at its end


def test_labels_at_line_ends_do_not_overlap():
    placed = spread([0.50, 0.505, 0.51, 0.9], 0.05)
    assert np.diff(placed).min() >= 0.05 - 1e-6
    assert placed[3] == 0.9  # what stands free stays


def test_first_error_bars_are_the_counts(axes_of, results):
    (axes,) = axes_of("first_error", results)
    drawn = [[bar.get_x() + bar.get_width() / 2, bar.get_height()] for bar in axes.patches]
    assert drawn == results["draft"]["first_error_histogram"]
    assert "n = 224" in axes.get_title(loc="left")


def test_label_rate_and_its_counts(axes_of, results):
    top, bottom = axes_of("label_rate", results)
    training = results["curves"]["label_rate_training"]
    test = results["curves"]["label_rate"]
    lines = {line.get_label(): line.get_ydata() for line in top.lines}
    np.testing.assert_allclose(lines["training"], training["rate"])
    np.testing.assert_allclose(lines["test drafts"], test["rate"])
    assert [bar.get_height() for bar in bottom.patches] == training["n"] + test["n"]


def test_the_system_by_steps_and_its_counts(axes_of, results):
    top, bottom = axes_of("by_steps", results)
    drawn = [line for line in top.lines if len(line.get_xdata()) == 2]
    assert [list(line.get_ydata()) for line in drawn[:3]] == [
        [0.807, 0.399],
        [0.855, 0.508],
        [0.909, 0.601],
    ]
    assert [bar.get_height() for bar in bottom.patches] == [187, 313]
