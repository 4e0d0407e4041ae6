"""What is chosen on `dev` before test questions are touched (`evaluate/choices.json`).

    dev ─► greedy drafts ─► step labels ──┬─► marks           one for each reward model
                       └──► step scores ──┴─► thresholds      for steps and for whole solutions
        ─► two samples at each temperature ─► temperature, combination

A mark serves best where it finds the first wrong step, as rollouts label it: there the refiner has
learned to find `[BAD]`. Only drafts that are right at first count, since at the first step a mark
asks for nothing but the global refinement once more. The labels serve the thresholds too, so that a
mark costs nothing more; to try marks by what the refiner mends would take a refinement at nearly
every step of every draft.

What the config gives as a number is not chosen. Everything that is generated is kept under
`evaluate/choosing`, and what is chosen with the curve that it was chosen by.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from glore_jax.config import auto
from glore_jax.errors import UserError
from glore_jax.labels import choosing, metrics
from glore_jax.labels.choosing import Chosen
from glore_jax.records import LabelledDraft, Sample
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, labelling, models, scores
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import candidates
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.stages.evaluation.split_records import Scores

FOLDER = "evaluate/choosing"
_CHOOSERS = ("orm", "sorm")  # whose scores can choose among solutions


@dataclasses.dataclass(frozen=True)
class Asked:
    """What the config leaves to dev.

    Attributes:
      mark, threshold: the numbers that it gives; None: auto.
      temperatures: those to choose from.
      combination: weights are fitted.
    """

    mark: tuple[float, ...] | None
    threshold: tuple[float, ...] | None
    temperatures: tuple[float, ...]
    combination: bool

    @property
    def labels(self) -> bool:
        """Step labels are needed."""
        return self.mark is None or self.threshold is None

    @property
    def samples(self) -> bool:
        """Samples are needed."""
        return len(self.temperatures) > 1 or self.combination

    @classmethod
    def of(cls, section: Any) -> "Asked":
        """`section`: `config.evaluate`."""
        return cls(
            mark=auto.numbers(section.mark),
            threshold=auto.numbers(section.threshold),
            temperatures=auto.numbers(section.temperature) or auto.TEMPERATURES,
            combination=section.choose == "combination",
        )


@dataclasses.dataclass(frozen=True)
class Dev:
    """What was written and scored on dev; empty where nothing asks for it.

    Attributes:
      drafts: greedy, one a question.
      labelled: step labels of those drafts that have a step.
      samples: temperature -> `auto.SAMPLES` solutions a question, question by question.
      scored: reward model -> a score for each step of the drafts, then of the samples, temperature
        by temperature.
    """

    drafts: Sequence[Sample] = ()
    labelled: Sequence[LabelledDraft] = ()
    samples: Mapping[float, Sequence[Sample]] = dataclasses.field(default_factory=dict)
    scored: Mapping[str, Scores] = dataclasses.field(default_factory=dict)

    def sample_scores(self, model: str) -> dict[float, list[Sequence[float]]]:
        """Temperature -> the step scores of its samples."""
        rest = iter(self.scored[model][len(self.drafts) :])
        return {t: [next(rest) for _ in some] for t, some in self.samples.items()}


def choose(ctx: Context) -> InForce:
    """The values in force, chosen once, kept in `evaluate/choices.json`; says what they are."""
    found = ctx.step("choices", functools.partial(make, ctx))
    for line in lines(found):
        ctx.say(line)
    return InForce.of(found)


def make(ctx: Context) -> dict[str, Any]:
    """The content of `choices.json`."""
    asked = Asked.of(ctx.config.evaluate)
    dev = look(ctx, asked)
    reward_models = list(scores.reward_models(ctx.config))
    return {
        "mark": given(asked.mark, reward_models, "mark") or marks(dev, reward_models),
        "step_threshold": given(asked.threshold, reward_models, "threshold")
        or step_thresholds(dev, reward_models),
        "final_threshold": given(asked.threshold, reward_models, "threshold")
        or final_thresholds(dev, reward_models),
        "temperature": temperature(dev, asked.temperatures),
        "choose": ctx.config.evaluate.choose,
        "combination": combination(dev) if asked.combination else None,
    }


def given(
    written: tuple[float, ...] | None, names: Sequence[str], field: str
) -> dict[str, dict[str, Any]]:
    """The numbers of the config, one for each of `names`; empty if it says `auto`.

    Two numbers are the ORMs' and the SORM's.
    """
    if written is None:
        return {}
    how = f"config.evaluate.{field}"
    return {
        name: dataclasses.asdict(Chosen(written[-1 if name == "sorm" else 0], how, 0))
        for name in names
    }


# What is written and scored.


def look(ctx: Context, asked: Asked) -> Dev:
    """Goes through dev as far as something is asked of it."""
    if not (asked.labels or asked.samples):
        return Dev()
    problems = ctx.problems("dev")
    if not problems:
        raise UserError(
            "evaluate.mark, threshold and temperature are chosen on dev, which has no questions: "
            "give numbers, or a task with a dev split"
        )
    config = ctx.config.evaluate
    policy = models.load_policy(ctx, "student", "hf")
    drafts = list(generation.greedy(ctx, f"{FOLDER}/drafts", policy, problems))
    samples = {}
    for t in asked.temperatures if asked.samples else ():
        sampling = Sampling(t, max_new=config.max_new)
        folder = f"{FOLDER}/samples-{t:g}"
        samples[t] = list(generation.sample(ctx, folder, policy, problems, sampling, auto.SAMPLES))
    labelled = []
    if asked.labels:
        folder = f"{FOLDER}/step_labels"
        how = labelling.test_labels(ctx.config)
        labelled = list(labelling.label(ctx, folder, policy, drafts, how))
    del policy
    texts = [scores.text_of(s) for some in (drafts, *samples.values()) for s in some]
    scored = {}
    for name in scores.reward_models(ctx.config):
        # Samples are read by those who choose among them.
        some = texts if name in _CHOOSERS else texts[: len(drafts)]
        scored[name] = scores.by_steps(ctx, f"{FOLDER}/scores/{name}", name, some)
    return Dev(drafts, labelled, samples, scored)


# What is chosen.


def marks(dev: Dev, reward_models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """One for each reward model: a locator's places `[BAD]`, any other's is only measured."""
    errors = {
        record["question_id"]: record["first_error"]
        for record in dev.labelled
        if not record["correct"]
    }
    wrong = [i for i, draft in enumerate(dev.drafts) if draft["question_id"] in errors]
    places = [errors[dev.drafts[i]["question_id"]] for i in wrong]
    return {
        model: dataclasses.asdict(choosing.mark([dev.scored[model][i] for i in wrong], places))
        for model in reward_models
    }


def step_thresholds(dev: Dev, reward_models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each reward model, of steps of the drafts with the last one included."""
    of_question = {record["question_id"]: record["labels"] for record in dev.labelled}
    labels = [of_question.get(draft["question_id"], []) for draft in dev.drafts]
    flat = [label for steps in labels for label in steps]
    found = {}
    for model in reward_models:
        rows = zip(dev.scored[model], labels, strict=False)
        probabilities = [p for steps, of_steps in rows if of_steps for p in steps]
        found[model] = dataclasses.asdict(choosing.threshold(probabilities, flat))
    return found


def final_thresholds(dev: Dev, reward_models: Sequence[str]) -> dict[str, dict[str, Any]]:
    """For each reward model, of whole drafts."""
    right = [draft["correct"] for draft in dev.drafts]
    found = {}
    for model in reward_models:
        last = [metrics.last_score(steps) for steps in dev.scored[model][: len(dev.drafts)]]
        found[model] = dataclasses.asdict(choosing.threshold(last, right))
    return found


def temperature(dev: Dev, tried: Sequence[float]) -> dict[str, Any]:
    """The one at which the draft and two samples of a question are reranked best."""
    if len(tried) == 1:
        return dataclasses.asdict(Chosen(tried[0], "config.evaluate.temperature", 0))
    drafts = {
        draft["question_id"]: (metrics.last_score(steps), draft["correct"])
        for draft, steps in zip(dev.drafts, dev.scored["orm"], strict=False)
    }
    measures = {}
    for t, scored in dev.sample_scores("orm").items():
        by_question: dict[str, list[tuple[float, bool]]] = {name: [] for name in drafts}
        for sample, steps in zip(dev.samples[t], scored, strict=True):
            pair = metrics.last_score(steps), sample["correct"]
            by_question[sample["question_id"]].append(pair)
        measures[t] = [
            choosing.best_of_some(drafts[name], some, auto.SAMPLES)
            for name, some in by_question.items()
        ]
    how = f"accuracy of the ORM's choice among the draft and {auto.SAMPLES} samples"
    return dataclasses.asdict(choosing.temperature(measures, how))


def combination(dev: Dev) -> dict[str, Any]:
    """A weight for each of `choosing.FEATURES`, fitted on the drafts and samples of each question.

    Samples of all temperatures that were drawn.
    """
    everything = [s for some in (dev.drafts, *dev.samples.values()) for s in some]
    by_question: dict[str, tuple[list[list[float]], list[bool]]] = {}
    rows = zip(everything, dev.scored["orm"], dev.scored["sorm"], strict=True)
    for sample, orm, sorm in rows:
        assert sample["logprob"] is not None  # only solutions that the task brings have none
        values, right = by_question.setdefault(sample["question_id"], ([], []))
        values.append(
            choosing.features(
                {
                    "orm": metrics.last_score(orm),
                    "sorm": candidates.lowest(sorm),
                    "loglik": sample["logprob"],
                }
            )
        )
        right.append(sample["correct"])
    weights, n = choosing.fit_combination(by_question.values())
    return {
        "weights": dict(zip(choosing.FEATURES, weights, strict=True)),
        "how": "logistic regression of pairs of a right and a wrong solution of one question",
        "n": n,
    }


# What is said.


def lines(found: Mapping[str, Any]) -> list[str]:
    """A line for each kind of choice."""
    said = []
    for name in ("mark", "step_threshold", "final_threshold"):
        values = ", ".join(f"{of} {entry['value']:.3f}" for of, entry in found[name].items())
        said.append(f"{name.replace('_', ' ')}: {values} ({_origin(found[name]['orm'])})")
    one = found["temperature"]
    said.append(f"temperature of samples: {one['value']:g} ({_origin(one)})")
    if found["combination"]:
        weights = found["combination"]["weights"].items()
        shown = ", ".join(f"{name} {weight:.3f}" for name, weight in weights)
        said.append(f"combination: {shown} (of {found['combination']['n']} dev questions)")
    return said


def _origin(entry: Mapping[str, Any]) -> str:
    """Where a value comes from."""
    if entry["how"].startswith("config."):
        return entry["how"]
    if not entry["n"]:
        return "dev has nothing to go by"
    return f"by dev, {entry['n']} items"
