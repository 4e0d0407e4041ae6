"""Bars, intervals and the paper's marks are where they belong."""

from glore_jax.report.reading import interval


def test_refinement_bars_intervals_and_the_papers_marks(axes_of, results):
    fix, broken = axes_of("refinement", results)
    names = [label.get_text().replace("\n", " ") for label in fix.get_yticklabels()]
    widths = dict(zip(names, [bar.get_width() for bar in fix.patches], strict=True))
    assert widths["Global ∪ Local (SORM)"] == 0.366 and widths["Global"] == 0.257
    assert {bar.get_width() for bar in broken.patches} == {
        *(0.118, 0.067, 0.059, 0.021, 0.019),
        *(0.431, 0.402),  # the untrained base
    }
    marks = [line.get_xdata()[0] for line in fix.lines if line.get_marker() == "D"]
    assert sorted(marks) == [0.182, 0.203, 0.211, 0.252, 0.28]
    # The paper reports no break rates.
    assert not any(line.get_marker() == "D" for line in broken.lines)
    whiskers = [tuple(line.get_xdata()) for line in fix.lines if line.get_marker() != "D"]
    assert interval(0.257, 224) in whiskers


def test_pipeline_shows_the_chosen_column_and_keeps_its_marks_in_view(axes_of, results):
    results["paper_column"] = "SVAMP 13B"
    results["draft"]["acc"] = 0.1
    results["pipeline"]["rerank"]["acc"] = 0.2
    results["pipeline"]["oracle"]["acc"] = 0.25
    for name in ("bo3", "greedy2_orm"):
        del results["pipeline"][name]
    (axes,) = axes_of("pipeline", results)
    marks = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "D"]
    assert sorted(marks) == [0.678, 0.749] and max(marks) < axes.get_xlim()[1]
    # Nothing is written over a mark: the numbers stand to the right of bar, interval and mark.
    assert all(text.xy[0] >= 0.678 for text in axes.texts)


def test_the_best_rival_stands_among_the_bars(axes_of, results):
    (axes,) = axes_of("pipeline", results)
    names = [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]
    assert names == [
        "System",
        "Best rival: Draft and 2 samples, ORM",
        "Best of 3 samples",
        "Draft",
    ]
