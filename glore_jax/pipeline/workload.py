"""How much work a config asks for, stage by stage: texts and tokens, before anything is run.

What the data will decide is assumed, and the plan says so: solutions are as long as the task's own,
half of what the student writes is right, no two samples are alike, and expert iteration runs all
its rounds. So counts of what is learned from samples are upper ones.

    train     tokens that a model learns from, all epochs
    write     tokens that forks draw, and the tokens of their trunks
    score     tokens that a reward model reads
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from ml_collections import ConfigDict

from glore_jax.config import auto
from glore_jax.progress import SCORE, TRAIN, WRITE
from glore_jax.stages.evaluation.choices import FOLDER as CHOOSING
from glore_jax.stages.evaluation.choices import Asked

_RIGHT = 0.5  # of the student's solutions
_STEPS = 4.0  # of a solution, where the task brings none
_LENGTH_OF_MOST = 0.4  # of `max_new` that is written, where the task brings no solution


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Means of a task, in tokens of the run's tokenizer.

    Attributes:
      question: in its template.
      solution: with its end-of-sequence.
      steps: lines of a solution, the answer line included.
      known: whether the task has solutions; else the last two are assumed.
    """

    question: float
    solution: float
    steps: float
    known: bool

    @classmethod
    def of(
        cls, questions: Sequence[int], solutions: Sequence[int], steps: Sequence[int], most: int
    ) -> Lengths:
        """Means of some questions and of the solutions that they have.

        `most`: tokens that a solution may take, which says something where there is none.
        """
        if solutions:
            return cls(fmean(questions), fmean(solutions), fmean(steps), known=True)
        return cls(fmean(questions), _LENGTH_OF_MOST * most, _STEPS, known=False)


@dataclasses.dataclass(frozen=True)
class Work:
    """One piece of work of a stage.

    Attributes:
      stage: that does it.
      what: in a word or two, for a person.
      kind: `TRAIN`, `WRITE` or `SCORE`.
      texts: examples of an epoch, forks, or solutions.
      tokens: learned (all epochs), drawn, or read.
      trunk_tokens: read before they are drawn.
      section: of the config, for a training.
      updates: of the optimizer, for a training.
      pieces: the names under which it is done, in their order, about equally large.
    """

    stage: str
    what: str
    kind: str
    texts: float
    tokens: float
    trunk_tokens: float = 0.0
    section: str = ""
    updates: int = 0
    pieces: tuple[str, ...] = ()


def workload(
    config: ConfigDict, stages: Sequence[str], counts: Mapping[str, int], lengths: Lengths
) -> list[Work]:
    """The work of `stages`, in their order.

    Args:
      config: the whole one.
      stages: names; one that does no work on the devices gives none.
      counts: split -> its questions: "train", "dev" and those of `evaluate.splits`.
      lengths: of the task.
    """
    asked = _Asked(config, counts, lengths)
    makers = {
        "student": asked.student,
        "sample": asked.sample,
        "rollout": asked.rollout,
        "orm": asked.orm,
        "sorm": asked.sorm,
        "refiner": asked.refiner,
        "evaluate": asked.evaluate,
    }
    return [work for stage in stages if stage in makers for work in makers[stage]()]


class _Asked:
    """The work of each stage of a config. Numbers of texts are means, so they are floats."""

    def __init__(self, config: ConfigDict, counts: Mapping[str, int], lengths: Lengths):
        self.config = config
        self.counts = counts
        self.lengths = lengths

    def some(self, field: int) -> int:
        """So many of the training questions; 0: all."""
        return min(field or self.counts["train"], self.counts["train"])

    @property
    def example(self) -> float:
        """Tokens of a question with a solution."""
        return self.lengths.question + self.lengths.solution

    def training(self, name: str, what: str, section: str, examples: float, tokens: float) -> Work:
        """The training `name`. `tokens`: of an example."""
        config = find_section(self.config, section)
        return Work(
            name.split("/")[0],
            what,
            TRAIN,
            examples,
            config.epochs * examples * tokens,
            section=section,
            updates=config.epochs * math.ceil(examples / config.batch_size),
            pieces=(name,),
        )

    def solutions(self, names: str, what: str, questions: float, k: int) -> Work:
        """k solutions of each of `questions`, kept in the folder (or folders) `names`."""
        forks = questions * k
        drawn = forks * self.lengths.solution
        pieces = tuple(names.split())
        stage = names.split("/")[0]
        trunks = questions * self.lengths.question
        return Work(stage, what, WRITE, forks, drawn, trunks, pieces=pieces)

    def student(self) -> list[Work]:
        config = self.config.student
        iteration = config.ei
        asked = self.some(iteration.questions)
        most = min(iteration.k, iteration.per_question or iteration.k)
        found = asked * most * _RIGHT  # in a round
        works = []
        known = float(self.some(config.worked))
        if not self.lengths.known:
            works.append(self.solutions("student/one-shot", "one-shot samples", asked, iteration.k))
            known = found
        for number in range(iteration.rounds + 1):
            if number:
                folder = f"student/samples-{number}"
                works.append(self.solutions(folder, f"samples {number}", asked, iteration.k))
                known += found
            works.append(
                self.training(
                    f"student/round-{number}",
                    f"round {number}",
                    "student.sft",
                    known,
                    self.example,
                )
            )
            folder = f"student/dev-{number}"
            works.append(self.solutions(folder, f"dev {number}", self.counts["dev"], 1))
        return works

    def sample(self) -> list[Work]:
        config = self.config.sample
        questions = self.some(config.questions)
        works = [self.solutions("sample/records", "samples", questions, config.k)]
        if config.include_greedy:
            works.append(self.solutions("sample/greedy", "greedy drafts", questions, 1))
        return works

    def rollout(self) -> list[Work]:
        config = self.config.rollout
        questions = min(self.some(config.questions), self.some(self.config.sample.questions))
        drafts = questions * min(config.drafts_per_question, self.config.sample.k)
        tries_all = config.schedule == "full"
        return [self.labelling("rollout/records", "step labels", drafts, config.k, tries_all)]

    def labelling(
        self, name: str, what: str, drafts: float, k: int, tries_all: bool = False
    ) -> Work:
        """Rollouts of the prefixes of drafts, each half a solution long, for the labels in `name`.

        Unless all are tried, a right draft needs none, and a wrong one those behind its first
        error: half.
        """
        prefixes = max(1.0, self.lengths.steps - 1)
        if not tries_all:
            prefixes *= (1 - _RIGHT) / 2
        forks = drafts * prefixes * k
        drawn = forks * self.lengths.solution / 2
        trunks = drafts * self.example
        return Work(name.split("/")[0], what, WRITE, forks, drawn, trunks, pieces=(name,))

    def orm(self) -> list[Work]:
        questions = self.some(self.config.sample.questions)
        k = self.config.sample.k
        each = min(k, self.config.orm.per_question or k)
        section = "orm.train"
        samples = questions * each * (1 - self.config.orm.held_out)
        works = [self.training("orm/plain", "plain", section, samples, self.example)]
        if self.config.orm.balanced:
            both = samples * 2 * min(_RIGHT, 1 - _RIGHT)
            works.append(self.training("orm/balanced", "balanced", section, both, self.example))
        return works

    def sorm(self) -> list[Work]:
        (labels,) = self.rollout()
        drafts = labels.trunk_tokens / self.example * (1 - self.config.sorm.held_out)
        return [self.training("sorm/train", "train", "sorm.train", drafts, self.example)]

    def refiner(self) -> list[Work]:
        (labels,) = self.rollout()
        wrong_drafts = labels.trunk_tokens / self.example * (1 - _RIGHT)
        questions = self.some(self.config.sample.questions)
        wrong_samples = questions * self.config.sample.k * (1 - _RIGHT)
        most = self.config.refiner.per_question * questions or wrong_samples
        pairs = min(wrong_samples, most) + min(wrong_drafts, most)
        tokens = self.example + self.lengths.solution
        return [self.training("refiner/train", "train", "refiner.train", pairs, tokens)]

    def evaluate(self) -> list[Work]:
        splits = self.config.evaluate.splits
        measured = [work for split in splits for work in self.evaluate_split(split)]
        return self.choices() + measured

    def choices(self) -> list[Work]:
        """What is written and scored on dev to choose marks, thresholds and the temperature."""
        config = self.config.evaluate
        drafts = self.counts["dev"]
        asked = Asked.of(config)
        samples = auto.SAMPLES * len(asked.temperatures) if asked.samples else 0
        works = []
        if asked.samples or asked.labels:
            works.append(self.solutions(f"{CHOOSING}/drafts", "dev drafts", drafts, 1))
        if samples:
            folders = " ".join(f"{CHOOSING}/samples-{t:g}" for t in asked.temperatures)
            works.append(self.solutions(folders, "dev samples", drafts, samples))
        if asked.labels:
            name = f"{CHOOSING}/step_labels"
            works.append(self.labelling(name, "dev labels", drafts, config.label_k))
        if works:
            scored = 2 * drafts * (1 + samples)
            works.append(self.scores(CHOOSING, "dev scores", scored, self.reward_models))
        return works

    @property
    def reward_models(self) -> list[str]:
        return ["orm", "sorm", *(["balanced_orm"] if self.config.orm.balanced else [])]

    def evaluate_split(self, split: str) -> list[Work]:
        config = self.config.evaluate
        questions = self.counts[split]
        folder = f"evaluate/{split}"
        is_sampled = split in config.sample_splits
        works = [self.solutions(f"{folder}/drafts", f"{split} drafts", questions, 1)]
        k = config.k if is_sampled else config.extra_samples
        if k:
            works.append(self.solutions(f"{folder}/samples", f"{split} samples", questions, k))
        if is_sampled:
            name = f"{folder}/step_labels"
            works.append(self.labelling(name, f"{split} labels", questions, config.label_k))
        models = self.reward_models
        scored = questions * (1 + k) * len(models)
        works.append(self.scores(folder, f"{split} scores", scored, models))
        return works + self.reranking(split, is_sampled)

    def reranking(self, split: str, is_sampled: bool) -> list[Work]:
        """What is made from each draft of a split, and read to choose among it."""
        config = self.config.evaluate
        folder = f"evaluate/{split}"
        texts = 2 + config.suspects + config.backtrack
        pieces = ["refinements", *(["backtracks"] if config.backtrack else [])]
        readers = ["orm-refinements"]
        if config.choose == "combination":
            readers += ["sorm-refinements", "loglik"]
        read = texts
        if is_sampled:
            texts += 2  # by the untrained base
            pieces.append("base_refinements")
            read = texts + 2 * (1 + texts)  # student and base read the draft, too
            readers = [*(name for name in readers if name != "loglik"), "loglik", "base_loglik"]
        made = texts * self.counts[split]
        drawn = made * self.lengths.solution
        names = tuple(f"{folder}/{piece}" for piece in pieces)
        written = Work(
            "evaluate",
            f"{split} refinements",
            WRITE,
            made,
            drawn,
            made * self.example,
            pieces=names,
        )
        reading = read * self.counts[split]
        return [written, self.scores(folder, f"{split} reranking", reading, readers)]

    def scores(self, folder: str, what: str, solutions: float, readers: Sequence[str]) -> Work:
        """Solutions read by models, whose scores are kept in `folder`/scores."""
        names = tuple(f"{folder}/scores/{reader}" for reader in readers)
        return Work("evaluate", what, SCORE, solutions, solutions * self.example, pieces=names)


def find_section(config: ConfigDict, dotted: str) -> ConfigDict:
    """The section of that name."""
    for name in dotted.split("."):
        config = config[name]
    return config
