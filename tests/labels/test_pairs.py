"""Refinement pairs."""

import collections

import all_at_once
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glore_jax import grouping
from glore_jax.labels import pairs as making


def grade(steps, gold):
    return bool(steps) and steps[-1] == f"#### {gold}"


def sample(question, index, text, correct):
    steps = [f"{text} {line}" for line in range(1 + text % 4)] + [f"#### {int(correct)}"]
    return dict(
        question_id=f"q{question}",
        sample_id=index,
        question=f"question {question}",
        gold="1",
        steps=steps,
        correct=correct,
    )


def global_pairs(samples, *args):
    return list(making.global_pairs(all_at_once.groups(samples), *args))


def local_pairs(records, samples, *args):
    groups = grouping.joined(all_at_once.groups(records), all_at_once.groups(samples))
    return list(making.local_pairs(groups, *args))


@st.composite
def sample_sets(draw):
    rows = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 7), st.booleans()), max_size=30)
    )
    return [sample(q, i, text, correct) for i, (q, text, correct) in enumerate(rows)]


@st.composite
def labelled_sets(draw):
    """Samples, and step records of some with the traces at the switch of the labels."""
    samples = draw(sample_sets())
    records = []
    for s in samples:
        if not draw(st.booleans()):
            continue
        steps, count = s["steps"], len(s["steps"])
        error = -1 if s["correct"] else draw(st.integers(0, count - 1))
        good = count if error < 0 else error
        traces = []
        if error >= 1:
            for t in range(draw(st.integers(0, 3))):
                traces.append(dict(cut=error, steps=[f"fix {t % 2}", "#### 1"], verified=True))
            traces.append(dict(cut=error, steps=["#### 0"], verified=False))
        if 0 <= error < count - 1:
            for t in range(draw(st.integers(0, 3))):
                traces.append(
                    dict(cut=error + 1, steps=[f"worse {t % 2}", "#### 0"], verified=False)
                )
            # Right by luck: failed the consistency test alone.
            traces.append(dict(cut=error + 1, steps=["afresh", "#### 1"], verified=False))
        records.append(
            dict(
                question_id=s["question_id"],
                sample_id=s["sample_id"],
                completions=steps,
                labels=[1] * good + [0] * (count - good),
                first_error=error,
                correct=s["correct"],
                traces=traces,
            )
        )
    return samples, records


def check(pairs, kind, per_question):
    counts = collections.Counter(p["question_id"] for p in pairs)
    assert not per_question or max(counts.values(), default=0) <= per_question
    assert len({(p["question_id"], *p["draft"], "|", *p["target"]) for p in pairs}) == len(pairs)
    for p in pairs:
        assert p["kind"] == kind and p["prompt"] == f"question {p['question_id'][1:]}"
        assert set(p) == {"question_id", "prompt", "kind", "draft", "first_error", "target"}
        assert grade(p["target"], "1") and not grade(p["draft"], "1")
        assert 0 <= p["first_error"] < len(p["draft"])
    return counts


@given(sample_sets(), st.sampled_from([0, 1, 3, 8]), st.integers(0, 3), st.randoms())
def test_global_pairs(samples, per_question, seed, shuffler):
    pairs = global_pairs(samples, per_question, seed, grade)
    counts = check(pairs, "global", per_question)
    texts = collections.defaultdict(set)
    for s in samples:
        texts[s["question_id"], s["correct"]].add(tuple(s["steps"]))
    for question in {s["question_id"] for s in samples}:
        right, wrong = texts[question, True], texts[question, False]
        mine = [p for p in pairs if p["question_id"] == question]
        assert counts[question] == min(per_question or 10**9, len(right) * len(wrong))
        used = collections.Counter(tuple(p["draft"]) for p in mine)
        assert used.keys() <= wrong and {tuple(p["target"]) for p in mine} <= right
        if mine:  # spread: no wrong solution twice before each was used once
            assert len(used) == min(len(wrong), len(mine))
            assert max(used.values()) - min(used.values()) <= 1
    assert all(p["first_error"] == 0 for p in pairs)
    shuffled = list(samples)
    shuffler.shuffle(shuffled)
    assert global_pairs(shuffled, per_question, seed, grade) == pairs


def test_right_drafts_are_kept():
    samples = [sample(q, i, i, i < 6) for q in range(40) for i in range(9)]
    without = global_pairs(samples, 4, 0, grade)
    for share in (0.1, 0.2, 0.5):
        pairs = global_pairs(samples, 4, 0, grade, share)
        kept = [p for p in pairs if p["draft"] == p["target"]]
        assert [p for p in pairs if p["draft"] != p["target"]] == without
        # At .1 not every question has one: 17.8 are expected, with a deviation of 3.1.
        assert abs(len(kept) / len(pairs) - share) < (0.06 if share == 0.1 else 0.001)
        assert all(grade(p["draft"], "1") and p["first_error"] == 0 for p in kept)
        assert {p["kind"] for p in kept} == {"global"}
        assert len({(p["question_id"], *p["draft"]) for p in kept}) == len(kept)
    assert global_pairs(samples[::-1], 4, 0, grade, 0.2) == global_pairs(samples, 4, 0, grade, 0.2)
    # There are six right ones of each question.
    assert len(global_pairs(samples, 4, 0, grade, 0.9)) == len(without) + 40 * 6


def test_targets_are_spread_like_drafts():
    samples = [sample(0, i, i, i < 6) for i in range(12)]
    for count in (1, 3, 6):
        pairs = global_pairs(samples, count, 0, grade)
        for side in ("target", "draft"):
            assert len({tuple(p[side]) for p in pairs}) == count


@given(labelled_sets(), st.sampled_from([0, 1, 3]), st.integers(0, 3), st.booleans(), st.randoms())
def test_local_pairs(data, per_question, seed, failed, shuffler):
    samples, records = data
    pairs = local_pairs(records, samples, per_question, seed, failed, grade)
    check(pairs, "local", per_question)
    for p in pairs:
        error = p["first_error"]
        if error:
            assert p["target"][:error] == p["draft"][:error]  # the good prefix is repeated
            assert p["target"][error:][0].startswith("fix")
        else:
            assert any(s["correct"] and s["steps"] == p["target"] for s in samples)
        origin = [
            r
            for r in records
            if r["first_error"] == error
            and r["completions"][: error + 1] == p["draft"][: error + 1]
        ]
        assert origin
        if not any(r["completions"] == p["draft"] for r in records):
            assert failed and p["draft"][error + 1].startswith("worse")
    a, b = list(samples), list(records)
    shuffler.shuffle(a)
    shuffler.shuffle(b)
    assert local_pairs(b, a, per_question, seed, failed, grade) == pairs


@given(labelled_sets(), st.sampled_from([0, 1, 3]), st.booleans())
def test_question_by_question_is_as_all_at_once(data, per_question, failed):
    samples, records = data
    found = global_pairs(samples, per_question, 2, grade)
    found += local_pairs(records, samples, per_question, 2, failed, grade)
    assert found == all_at_once.make_pairs(records, samples, per_question, 2, failed, grade)


GOOD = dict(
    question_id="q0",
    sample_id=0,
    question="question 0",
    gold="1",
    steps=["r", "#### 1"],
    correct=True,
)


def record(**changes):
    base = dict(
        question_id="q0",
        sample_id=1,
        completions=["a", "b", "c", "#### 0"],
        labels=[1, 0, 0, 0],
        first_error=1,
        correct=False,
        traces=[
            dict(cut=1, steps=["B", "#### 1"], verified=True),
            dict(cut=1, steps=["x", "#### 0"], verified=False),
            dict(cut=2, steps=["y", "#### 0"], verified=False),
            dict(cut=2, steps=["z", "#### 1"], verified=False),
            dict(cut=3, steps=["w", "#### 0"], verified=False),
        ],
    )
    return base | changes


def test_failed_continuations_of_the_bad_prefix_become_drafts():
    plain = local_pairs([record()], [GOOD], 0, 0, False, grade)
    assert [(p["draft"], p["first_error"], p["target"]) for p in plain] == [
        (["a", "b", "c", "#### 0"], 1, ["a", "B", "#### 1"])
    ]
    more = local_pairs([record()], [GOOD], 0, 0, True, grade)
    assert more[0] == plain[0]  # the original draft first
    assert [(p["draft"], p["first_error"], p["target"]) for p in more[1:]] == [
        (["a", "b", "y", "#### 0"], 1, ["a", "B", "#### 1"])
    ]
    first = record(
        labels=[0, 0, 0, 0], first_error=0, traces=[dict(cut=1, steps=["v"], verified=False)]
    )
    pairs = local_pairs([first], [GOOD], 0, 0, True, grade)
    assert [(p["draft"], p["first_error"], p["target"]) for p in pairs] == [
        (["a", "b", "c", "#### 0"], 0, ["r", "#### 1"]),
        (["a", "v"], 0, ["r", "#### 1"]),
    ]


@given(st.integers(1, 6), st.integers(0, 3))
def test_greedy_drafts_are_paired_first(greedy, seed):
    samples = [sample(0, i, i, correct=i == 0) for i in range(7)]
    samples[greedy]["policy"] = "greedy"
    records = [
        record(sample_id=i, completions=samples[i]["steps"], labels=labels, first_error=0)
        for i in range(1, 7)
        for labels in [[0] * len(samples[i]["steps"])]
    ]
    for pairs in (
        global_pairs(samples, 1, seed, grade),
        local_pairs(records, samples, 1, seed, False, grade),
    ):
        assert [p["draft"] for p in pairs] == [samples[greedy]["steps"]]


def test_labels_that_rise_again_without_propagation():
    again = record(labels=[1, 0, 1, 0])
    assert local_pairs([again], [GOOD], 0, 0, True, grade) == local_pairs(
        [record()], [GOOD], 0, 0, True, grade
    )


def test_drafts_without_a_known_target_and_right_drafts_give_no_pairs():
    assert local_pairs([record(traces=[])], [GOOD], 0, 0, True, grade) == []
    right = record(completions=GOOD["steps"], labels=[1, 1], first_error=-1, correct=True)
    assert local_pairs([right], [GOOD], 0, 0, True, grade) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(first_error=4), "first_error = 4"),
        (dict(first_error=-1), "first_error = -1"),
        (dict(first_error=2), "first_error = 2"),
        (dict(labels=[0, 0, 1, 0]), "first_error = 1"),
        (dict(labels=[1, 1, 0, 0]), "first_error = 1"),
        (dict(labels=[1, 0, 0]), "3 labels of 4 steps"),
        (
            dict(traces=[dict(cut=1, steps=["B", "#### 11"], verified=True)]),
            "target of a local pair",
        ),
        (dict(completions=["a", "b", "c", "#### 1"]), "draft of a local pair"),
        (dict(question_id="q9"), "no samples"),
    ],
)
def test_contradictions_in_step_records_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        local_pairs([record(**changes)], [GOOD], 0, 0, False, grade)


def test_wrongly_graded_samples_are_refused():
    wrong = GOOD | dict(sample_id=1, steps=["w", "#### 0"], correct=False)
    assert len(global_pairs([GOOD, wrong], 0, 0, grade)) == 1
    with pytest.raises(ValueError, match="target of a global pair"):
        global_pairs([GOOD | dict(steps=["r", "#### 2"]), wrong], 0, 0, grade)
    with pytest.raises(ValueError, match="draft of a global pair"):
        global_pairs([GOOD, wrong | dict(steps=["w", "#### 1"])], 0, 0, grade)
