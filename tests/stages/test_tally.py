"""Counts of samples are those of the samples."""

import some_records
from hypothesis import given
from hypothesis import strategies as st

from glore_jax import parquet, records
from glore_jax.records import Sample
from glore_jax.stages.tally import COLUMNS, Tally

SAMPLES = st.lists(
    st.builds(
        lambda question, correct, ended, tokens: some_records.full(
            Sample, question_id=question, correct=correct, ended=ended, tokens=tokens
        ),
        st.sampled_from("abc"),
        st.booleans(),
        st.booleans(),
        st.integers(0, 2**40),
    ),
    max_size=8,
)


@given(SAMPLES, SAMPLES)
def test_counts(tmp_path_factory, some, others):
    folder = tmp_path_factory.mktemp("samples")
    for part, rows in enumerate((some, others)):
        records.write_part(folder, part, rows, Sample)
    tally = Tally.of(parquet.stream(folder, COLUMNS))
    rows = some + others
    assert tally == Tally(
        samples=len(rows),
        right=sum(row["correct"] for row in rows),
        truncated=sum(not row["ended"] for row in rows),
        tokens=sum(row["tokens"] for row in rows),
        solved=len({row["question_id"] for row in rows if row["correct"]}),
    )
