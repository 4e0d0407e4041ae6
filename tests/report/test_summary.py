"""The summary for a terminal."""

from glore_jax.report.summary import summary


def test_the_summary_is_the_result_in_words_and_aligned_lines(results):
    words, _, table = summary(results).partition("\n\n")
    assert "+8.6 points (95% interval +5.5 to +11.7)" in words.replace("\n", " ")
    assert "Best rival: draft and 2 samples, ORM" in words and "learned nothing" in words
    lines = table.splitlines()
    assert 12 <= len(lines) <= 19
    assert all(len(line) <= 100 for line in words.splitlines() + lines[:-1])
    # Two spaces end a name; those of indented lines also begin with two.
    names = [line[: line.index("  ")].strip() or line.split("  ")[1] for line in lines[1:-1]]
    by_name = dict(zip(names, lines[1:-1], strict=True))
    assert "0.552" in by_name["Draft (greedy)"] and "500" in by_name["Draft (greedy)"]
    assert "0.257 / 0.231 / 0.366" in by_name["Fix rate: global / local / union"]
    assert "0.203 / 0.211 / 0.28" in by_name["Fix rate: global / local / union"]
    assert "0.731 / 0.824 / 0.731" in by_name["Steps: ORM / SORM / majority"]
    assert "0.302 / 0.475" in by_name["First error found: ORM / SORM"]
    assert "0.783 / 0.768 / 0.634" in by_name["Within pair: ORM / SORM / log-lik."]
    assert "0.071 / 0.083" in by_name["of the untrained base: global / local"]
    assert "+0.090 (+0.043 to +0.137)" in by_name["system − draft, 95% interval"]
    ours = [line.index("0.552") + 5 for line in lines if line.startswith("Draft")]
    ours += [line.index("0.638") + 5 for line in lines if line.startswith("System")]
    assert len(set(ours)) == 1  # numbers end in one column
    assert lines[-1].startswith("Seconds: student 313, sample 98")
    assert lines[-1].endswith("in all 867")
