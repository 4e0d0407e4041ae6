"""Records of a run that never was: samples as many as asked for, as long and varied as real ones.

Questions and right solutions are those of the embedded task, some hundred of them again and again
under other ids. Every sample has a number of its own in some lines, so that hardly two are equal.
"""

import pathlib
import random
import re
from collections.abc import Iterator

from glore_jax import records, storage
from glore_jax.labels.outcome import GREEDY
from glore_jax.records import LabelledDraft, Sample, Solution
from glore_jax.tasks.base import ANSWER_MARK
from glore_jax.tasks.chains import chain, splits
from glore_jax.tasks.chains.difficulty import Difficulty

K = 96  # samples of a question
PART = 256  # questions of a part
DRAFTS = 4  # labelled ones of a question
ROLLOUTS = 8  # of a prefix
TEXTS = 300  # different questions

_NUMBER = re.compile(r"\d+")


class Questions:
    """Question i, and its samples."""

    def __init__(self) -> None:
        rng = random.Random(0)
        chains = [splits.draw_for("train", rng, Difficulty()) for _ in range(TEXTS)]
        self.problems = [chain.to_problem(c, "train", i) for i, c in enumerate(chains)]

    def about(self, i: int) -> dict:
        problem = self.problems[i % TEXTS]
        name = f"train-{i}"  # not in the order of the ids
        return {"question_id": name, "question": problem.question, "gold": problem.gold}

    def steps(self, i: int, correct: bool, rng: random.Random) -> list[str]:
        *lines, last = self.problems[i % TEXTS].solution
        for line in rng.sample(range(len(lines)), 2):
            lines[line] = _NUMBER.sub(lambda _: str(rng.randrange(400)), lines[line])
        return [*lines, last if correct else f"{ANSWER_MARK} {rng.randrange(400, 999)}"]

    def sample(self, i: int, sample_id: int, policy: str) -> Sample:
        rng = random.Random(f"{i} {sample_id}")
        correct = rng.random() < 0.4
        steps = self.steps(i, correct, rng)
        return {
            **self.about(i),
            "sample_id": sample_id,
            "steps": steps,
            "answer": steps[-1].removeprefix(ANSWER_MARK).strip(),
            "correct": correct,
            "ended": True,
            "tokens": 100,
            "logprob": -20 * rng.random(),
            "seed": 0,
            "policy": policy,
        }

    def labelled(self, i: int, sample_id: int) -> LabelledDraft:
        sample = self.sample(i, sample_id, "student")
        rng = random.Random(f"labels {i} {sample_id}")
        steps = sample["steps"]
        good = len(steps) if sample["correct"] else rng.randrange(len(steps))
        cuts = () if sample["correct"] else range(max(good, 1), min(good + 2, len(steps)))
        return {
            "question_id": sample["question_id"],
            "sample_id": sample_id,
            "prompt": sample["question"],
            "gold": sample["gold"],
            "completions": steps,
            "labels": [int(step < good) for step in range(len(steps))],
            "hits": [0] * len(steps),
            "tries": [0] * len(steps),
            "source": ["rollout"] * len(steps),
            "schedule": "backward",
            "first_error": -1 if sample["correct"] else good,
            "correct": sample["correct"],
            "tokens": 500,
            "traces": [
                {
                    "cut": cut,
                    "rollout": rollout,
                    "steps": self.steps(i, cut == good, rng)[cut:],
                    "verified": cut == good,
                }
                for cut in cuts
                for rollout in range(ROLLOUTS)
            ],
        }


def write(folder: pathlib.Path, samples: int) -> None:
    """The records that the stages after `sample` read, of so many samples, under `folder`."""
    questions = Questions()
    count = -(-samples // K)
    drawn = folder / "sample" / "records"
    parts = [range(start, min(start + PART, count)) for start in range(0, count, PART)]
    for part, some in enumerate(parts):
        rows = [questions.sample(i, k, "sample/records") for i in some for k in range(K)]
        records.write_part(drawn, part, rows, Sample)
        labelled = [questions.labelled(i, k) for i in some for k in range(DRAFTS)]
        records.write_part(folder / "rollout" / "records", part, labelled, LabelledDraft)
    greedy = (questions.sample(i, K, GREEDY) for i in range(count))
    records.write_part(drawn, len(parts), list(greedy), Sample)
    first = records.write_all(
        folder / "student" / "solutions-0", _worked(questions, count), Solution
    )
    storage.write_json(folder / "student" / "solutions-0.json", {"rows": first})


def _worked(questions: Questions, count: int) -> Iterator[Solution]:
    for i in range(count):
        about = questions.about(i)
        steps = list(questions.problems[i % TEXTS].solution)
        yield {"question_id": about["question_id"], "question": about["question"], "steps": steps}
