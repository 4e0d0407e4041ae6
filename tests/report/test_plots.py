"""Each plot is left out alone when its figures are missing; images are as they should be."""

import struct

import pytest

from glore_jax.report import plot_style, plots


@pytest.mark.parametrize("name", plots.PLOTS)
def test_a_plot_without_figures_is_named(name, results):
    assert plots.missing(name, results) is None
    group, _, _ = plots.PLOTS[name].needs.rpartition(".")
    parent = results
    key = plots.PLOTS[name].needs
    for part in filter(None, group.split(".")):
        grandparent, parent, key = parent, parent[part], part
    (grandparent if group else parent)[key] = None
    reason = plots.missing(name, results)
    assert plots.PLOTS[name].title in reason and f"`{plots.PLOTS[name].needs}`" in reason
    assert name in {other for other in plots.PLOTS if plots.missing(other, results)}


def test_odd_curves_are_drawn(results, monkeypatch):
    monkeypatch.setattr(plot_style, "DPI", 40)  # faster
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


def test_one_length_is_no_curve(results):
    results["by_steps"] = results["by_steps"][:1]
    assert "`by_steps` has only 1 entry" in plots.missing("by_steps", results)
