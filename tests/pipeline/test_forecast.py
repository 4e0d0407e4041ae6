"""The plan of a run: time, memory, and what is refused."""

import pytest

from glore_jax import presets
from glore_jax.parallel.chips import GIB
from glore_jax.pipeline import forecast
from glore_jax.pipeline.calibration import Rates
from glore_jax.pipeline.forecast import OVERHEAD, Line
from glore_jax.pipeline.workload import SCORE, TRAIN, WRITE, Work

RATES = Rates(many_rows=1e12, few_rows=1e11)


def test_seconds_are_products_at_the_measured_rates():
    def seconds(kind, devices=1, remat="none", **tokens):
        work = Work("stage", "what", kind, 1, **tokens)
        return forecast.seconds(work, 1000, RATES, devices, remat)

    assert seconds(SCORE, tokens=1e9) == pytest.approx(OVERHEAD * 2)
    assert seconds(TRAIN, tokens=1e9) == pytest.approx(OVERHEAD * 6)
    assert seconds(TRAIN, tokens=1e9, remat="full") == pytest.approx(OVERHEAD * 8)
    assert seconds(WRITE, tokens=1e9) == pytest.approx(OVERHEAD * 20)
    assert seconds(WRITE, tokens=0, trunk_tokens=1e9) == pytest.approx(OVERHEAD * 2)
    assert seconds(SCORE, tokens=1e9, devices=4) == seconds(SCORE, tokens=1e9) / 4


def test_what_cannot_fit_is_refused_by_name():
    small = Line(Work("sample", "samples", WRITE, 1, 1), 1, 3 * GIB)
    large = Line(Work("orm", "plain", TRAIN, 1, 1), 1, 20 * GIB)
    assert not forecast.refusal([small, large], None)  # nobody says how much there is
    assert not forecast.refusal([small, large], 24 * GIB)
    refusal = forecast.refusal([small, large], 16 * GIB)
    assert refusal.startswith("orm (plain) takes at least 20.0 GiB a device, which has 16.0: use")


def test_the_table_has_a_line_for_each_work_and_a_sum():
    work = Work("sample", "samples", WRITE, 96_000, 9_600_000, 50_000)
    lines = [Line(work, 90, 3 * GIB), Line(work, 5400, 3 * GIB)]
    table = forecast.table(lines, 16 * GIB).splitlines()
    assert [line.split() for line in table[1:3]] == [
        "sample samples 96 k 9.65 M 3.00 of 16.0 90 s".split(),
        "sample samples 96 k 9.65 M 3.00 of 16.0 90 min".split(),
    ]
    assert table[3].split() == "all 92 min".split()
    assert len({len(line) for line in table}) == 1  # the last column is set to the right


def test_trainings_that_will_be_short_are_named():
    config = presets.svamp("7b")
    works = [
        Work("sample", "samples", WRITE, 1, 1),
        Work("orm", "plain", TRAIN, 1, 1, section="orm.train", updates=262),
        Work("sorm", "train", TRAIN, 1, 1, section="sorm.train", updates=11),
    ]
    assert forecast.short_trainings(config, works) == [
        "warning: sorm (train): at most 11 updates are few; 100 of batch_size=256 read 25,600 "
        "labelled drafts: make more, or take a smaller batch_size"
    ]


@pytest.mark.parametrize(
    "seconds, text", [(5, "5 s"), (119, "119 s"), (150, "2.5 min"), (3600, "60 min"), (1e5, "28 h")]
)
def test_times_have_the_unit_that_suits_them(seconds, text):
    work = Work("a", "b", SCORE, 1, 1)
    assert forecast.table([Line(work, seconds, 0)], None).splitlines()[-1].endswith(text)
