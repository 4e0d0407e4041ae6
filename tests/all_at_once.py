"""What the labels are made of, the plain way: from lists that hold everything.

The package goes through records question by question; these say what has to come out.
"""

import itertools
from collections import defaultdict

from glore_jax.labels import pairs
from glore_jax.labels.identity import identity_rank
from glore_jax.labels.outcome import GREEDY, WORKED, drawn_first


def groups(records):
    """The records of each question, by ascending id."""
    by_id = sorted(records, key=lambda record: record["question_id"])
    found = itertools.groupby(by_id, lambda record: record["question_id"])
    return [list(group) for _, group in found]


def distinct_samples(samples, repeats=False):
    by_question = defaultdict(list)
    for sample in samples:
        if sample["steps"]:
            by_question[sample["question_id"]].append(sample)
    distinct = {}
    for question_id in sorted(by_question):
        first = {}
        for sample in sorted(by_question[question_id], key=_place):
            own = sample["sample_id"] if repeats else None
            first.setdefault((tuple(sample["steps"]), own), sample)
        distinct[question_id] = list(first.values())
    return distinct


def _place(sample):
    return sample.get("policy") != GREEDY, sample["sample_id"]


def orm_records(samples, balanced, per_question, seed, repeats=False):
    def draw(group, size):
        ids = ("question_id", "sample_id")
        return sorted(group, key=lambda s: identity_rank(seed, *(s[i] for i in ids)))[:size]

    records = []
    for group in distinct_samples(samples, repeats).values():
        if balanced:
            right = [sample for sample in group if sample["correct"]]
            wrong = [sample for sample in group if not sample["correct"]]
            size = min(len(right), len(wrong), per_question // 2 or len(group))
            chosen = draw(right, size) + draw(wrong, size)
        else:
            chosen = draw(group, per_question or len(group))
        for sample in sorted(chosen, key=lambda s: s["sample_id"]):
            labels = [float(bool(sample["correct"]))] * len(sample["steps"])
            records.append({**sample, "labels": labels})
    return records


def make_pairs(records, samples, per_question, seed, failed, grade):
    """Global pairs, then local ones."""
    found = []
    by_question = distinct_samples(samples)
    for question_id, group in by_question.items():
        targets = pairs._right_targets(group, seed, question_id)
        wrong = [sample for sample in group if not sample["correct"]]
        wrong.sort(key=lambda sample: drawn_first(seed, sample))
        drafts = [pairs._Draft(tuple(s["steps"]), 0, targets) for s in wrong if targets]
        found += pairs._pairs_of("global", group[0], drafts, per_question, grade)
    wrong = defaultdict(list)
    for record in records:
        if not record["correct"]:
            wrong[record["question_id"]].append(record)
    for question_id in sorted(wrong):
        group = by_question[question_id]
        drafts = pairs._local_drafts(wrong[question_id], group, seed, failed, grade)
        found += pairs._pairs_of("local", group[0], drafts, per_question, grade)
    return found


def balance(records, seed):
    """Weights of the labels of each record."""
    longest = max((len(record["labels"]) for record in records), default=0)
    weights = [[0.0] * len(record["labels"]) for record in records]
    for step in range(longest):
        having = [i for i, record in enumerate(records) if len(record["labels"]) > step]
        bad = [i for i in having if not records[i]["labels"][step]]
        good = [i for i in having if records[i]["labels"][step]]

        def rank(i, step=step):
            return identity_rank(seed, records[i]["question_id"], records[i]["sample_id"], step)

        for members in (bad, good):
            for i in sorted(members, key=rank)[: min(len(bad), len(good))]:
                weights[i][step] = 1.0
    return weights


def drafts_of(samples, per_question, seed, solved_only):
    solved = {s["question_id"] for s in samples if s["correct"] and s.get("policy") != WORKED}
    kept = [s for s in samples if s["question_id"] in solved or not solved_only]
    drafts = []
    for group in distinct_samples(kept).values():
        ranked = sorted(group, key=lambda sample: drawn_first(seed, sample))
        wrong = [sample for sample in ranked if not sample["correct"]]
        right = [sample for sample in ranked if sample["correct"]]
        turns = itertools.zip_longest(wrong, right)
        drafts += [s for turn in turns for s in turn if s is not None][:per_question]
    questions = ({s["question_id"] for s in some} for some in (samples, kept))
    asked, left = map(len, questions)
    return drafts, asked - left


def distinct_right(samples, per_question, known):
    seen = {(solution["question_id"], tuple(solution["steps"])) for solution in known}
    taken = defaultdict(int)
    found = []
    for row in sorted(samples, key=lambda row: (row["question_id"], row["sample_id"])):
        question_id = row["question_id"]
        text = question_id, tuple(row["steps"])
        enough = per_question and taken[question_id] >= per_question
        if not row["correct"] or text in seen or enough:
            continue
        seen.add(text)
        taken[question_id] += 1
        found.append({key: row[key] for key in ("question_id", "question", "steps")})
    return found
