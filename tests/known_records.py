"""Records of an evaluated split, made by hand: their figures are known beforehand."""

import dataclasses
from types import SimpleNamespace

from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.stages.evaluation.split_records import SplitRecords
from glore_jax.tasks.base import Problem, Task


class Known(Task):
    """Knows the truth of every step from the problem's facts."""

    name, splits = "known", ()

    def load(self, split):
        raise AssertionError

    def step_truth(self, problem, steps, strict=False):
        if problem.facts is None:
            return None
        right = problem.facts["right"] - strict  # strictly, one step fewer is right
        return [right > i for i in range(len(steps))]


RIGHT = ["2+3=5", "#### 5"]
WRONG = ["2+3=6", "#### 6"]

# Each question: is the draft, the global, the ORM's and the SORM's local refinement right; scores
# of draft, global, local.
QUESTIONS = {
    # Fixed globally, and chosen.
    "a": (False, True, False, True, (0.2, 0.9, 0.8)),
    # A tie: the draft stays, though the local one is right.
    "b": (False, False, True, True, (0.5, 0.5, 0.5)),
    # Broken globally, and chosen.
    "c": (True, False, True, True, (0.3, 0.7, 0.6)),
    # A tie: the draft.
    "d": (True, True, False, True, (0.9, 0.9, 0.1)),
    # Lost.
    "e": (False, False, False, False, (0.1, 0.2, 0.4)),
}

# Of each draft's two steps; bad is 0.5 or less.
SORM = [[0.1, 0.2], [0.9, 0.5], [0.9, 0.8], [0.4, 0.7], [0.3, 0.6]]


IN_FORCE = InForce(
    mark={"orm": 0.5, "sorm": 0.5},
    step_threshold={"orm": 0.5, "sorm": 0.5},
    final_threshold={"orm": 0.5, "sorm": 0.5},
    temperature=1.0,
)


def solution(right: bool, **more) -> dict:
    about = {"correct": right, "steps": RIGHT if right else WRONG, "ended": True, "tokens": 10}
    return about | more


def make_records() -> SplitRecords:
    """The five questions, without samples and step labels."""
    problems = []
    drafts = []
    refined = []
    finals = []
    orm = []
    for name, (draft, whole, local_orm, local_sorm, scores) in QUESTIONS.items():
        question = f"question {name}"
        problems.append(Problem(name, question, "5", facts={"right": 2 if draft else 0}))
        about = {"question_id": name, "sample_id": 0, "question": question, "gold": "5"}
        drawn = {"answer": "5" if draft else "6", "tokens": 10, "logprob": -1.5}
        drafts.append(about | drawn | solution(draft) | {"ended": name != "e"})
        refined.append(
            {
                "global": solution(whole, bad=0),
                "local_orm": solution(local_orm, bad=0),
                "local_sorm": solution(local_sorm, bad=1),
            }
        )
        # The local refinement that the ORM located takes no part, whatever its score.
        of_refined = {"global": scores[1], "local_orm": 0.99, "local_sorm": scores[2]}
        finals.append({"draft": scores[0], **of_refined})
        orm.append([0.6, scores[0]])
    scored = {"drafts": {"orm": orm, "sorm": SORM}, "samples": {"orm": [], "sorm": []}}
    return SplitRecords(problems, drafts, [], [], scored, refined, {"orm": finals}, IN_FORCE)


# Two questions of four samples: answer, is it right, log-likelihood, ORM score. Of a one sample is
# right and 6 has most votes; of b all are right but one without an answer.
SAMPLES = {
    "a": [
        ("6", False, -1.0, 0.3),
        ("5", True, -2.0, 0.8),
        ("6.0", False, -3.0, 0.2),
        ("7", False, -4.0, 0.9),
    ],
    "b": [
        ("5", True, -1.0, 0.9),
        (None, False, -9.0, 0.1),
        ("5", True, -3.0, 0.5),
        ("5.0", True, -2.0, 0.5),
    ],
}


def make_samples() -> tuple[list[dict], dict[str, list[list[float]]]]:
    """(records, their scores by reward model), the last first: the order of records means nothing.

    The SORM thinks the opposite of the ORM.
    """
    records = []
    scores = []
    for question, group in SAMPLES.items():
        for i, (answer, correct, logprob, score) in enumerate(group):
            records.append(
                {
                    "question_id": question,
                    "sample_id": i,
                    "gold": "5",
                    "answer": answer,
                    "correct": correct,
                    "logprob": logprob,
                    "ended": True,
                    "tokens": 10,
                    "steps": [f"#### {answer}"],
                }
            )
            scores.append(score)
    orm = [[score] for score in reversed(scores)]
    sorm = [[1 - score] for (score,) in orm]
    return records[::-1], {"orm": orm, "sorm": sorm}


def make_sampled() -> SplitRecords:
    """Questions a and b, with their samples."""
    records = make_records()
    samples, scores = make_samples()
    drafts = {model: rows[:2] for model, rows in records.scored["drafts"].items()}
    return dataclasses.replace(
        records,
        problems=records.problems[:2],
        drafts=records.drafts[:2],
        samples=samples,
        scored={"drafts": drafts, "samples": scores},
        refined=records.refined[:2],
        finals={scorer: rows[:2] for scorer, rows in records.finals.items()},
        sampled=True,
    )


def context(k: int = 4) -> SimpleNamespace:
    """A run's context as far as measures look at it."""
    evaluate = SimpleNamespace(k=k, label_k=4, suspects=1, backtrack=0, extra_samples=0)
    config = SimpleNamespace(evaluate=evaluate, seed=0)
    warnings: list[str] = []
    return SimpleNamespace(task=Known({}), config=config, warnings=warnings, warn=warnings.append)
