"""Plots of step scores are the figures of the run."""

import numpy as np


def test_reliability_points_grow_with_their_count(axes_of, results):
    (axes,) = axes_of("reliability", results)
    sorm = next(points for points in axes.collections if points.get_label() == "SORM")
    group = results["curves"]["reliability"]["sorm"]
    places = list(zip(group["p"], group["rate"], strict=True))
    np.testing.assert_allclose(sorm.get_offsets(), places)
    assert np.argsort(sorm.get_sizes())[-1] == np.argmax(group["n"])


def test_scores_are_shares_of_their_kind(axes_of, results):
    panels = axes_of("scores", results)
    assert [axes.get_title(loc="left") for axes in panels] == ["ORM", "SORM"]
    for axes in panels:
        for patch in axes.patches:
            np.testing.assert_allclose(patch.get_data().values.sum(), 1)
