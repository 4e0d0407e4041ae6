"""The way of stage `evaluate`, for a single question whose answer nobody knows.

    student: draft -> SORM: which step is wrong -> refiner: global and local refinement
                                                -> ORM: which of all is best

with the marks, the temperature and the further candidates of the run's own evaluation. One model at
a time lies on the devices: each function loads its own, and `_alone` sees that it is gone with its
end.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels import metrics
from glore_jax.models import hf_import
from glore_jax.models.model import Model
from glore_jax.parallel import program_cache
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.scoring import log_likelihoods
from glore_jax.sampling.tokens import Sampling
from glore_jax.solve.solved import Solved
from glore_jax.stages import generation, models, rewards, scores
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import candidates, in_force, refinements
from glore_jax.stages.evaluation.candidates import DRAFT, Candidate
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.stages.scores import Text

Texts = dict[str, Text]  # by name of a candidate

_SEEDED = "solve"  # what the randomness of further candidates is drawn for


def answer(workdir: epath.PathLike, question: str) -> Solved:
    """As `solve.solve`."""
    ctx = open_run(workdir)
    force = in_force.read(workdir)
    program_cache.enable()
    draft, samples = _alone(write_solutions, ctx, question, force)
    step_scores = _alone(score_steps, ctx, draft)
    places = refinements.places_of(
        draft.steps,
        {"orm": [], "sorm": step_scores},  # the system's mark is the SORM's
        force.mark,
        ctx.config.evaluate.suspects,
    )
    bad = places["local_sorm"]
    texts = {DRAFT: draft} | _alone(refine, ctx, draft, places)
    if ctx.config.evaluate.backtrack and bad is not None:
        texts |= _alone(backtrack, ctx, draft, bad, force)
    texts |= samples
    found = score_candidates(ctx, texts, places, force)
    choice = candidates.chosen(found, force)
    return Solved(
        question=question,
        sorm=step_scores,
        bad=-1 if bad is None else bad,
        texts={name: list(text.steps) for name, text in texts.items()},
        scores={candidate.name: candidate.score for candidate in found},
        choice=choice.name,
        answer=choice.answer,
    )


def _alone(function: Callable, *arguments: Any) -> Any:
    """The result of `function`, with whatever it held gone.

    An engine and the programs that JAX compiled for it hold each other, weights and all, until
    Python looks for such circles; by itself it does so at no time that matters to a device.
    """
    result = function(*arguments)
    gc.collect()
    return result


def open_run(workdir: epath.PathLike) -> Context:
    """The run in `workdir`. UserError if it has not trained all that it takes."""
    file = storage.path(workdir) / "config.json"
    if not storage.exists(file):
        raise UserError(
            f"{workdir} is not a work directory (no config.json): run glore_jax.main first"
        )
    ctx = Context(ConfigDict(storage.read_json(file)["config"]), workdir)
    for stage in ("student", "orm", "sorm", "refiner"):
        if not hf_import.is_export(ctx.folder(stage, "hf")):
            raise UserError(f"{workdir} has no finished {stage}: run glore_jax.main on it first")
    return ctx


# What is written.


def write_solutions(ctx: Context, question: str, force: InForce) -> tuple[Text, Texts]:
    """(the student's greedy draft, `evaluate.extra_samples` further solutions by their names).

    UserError if the student writes nothing.
    """
    config = ctx.config
    student = models.load_policy(ctx, "student", "hf")
    trunk = ctx.prompts(student).question(question)
    nothing = Text(question, [])
    greedy = Sampling(0.0, max_new=config.sample.max_new)
    (draft,) = _write(ctx, student, nothing, trunk, [Fork(len(trunk))], greedy)
    if not draft.steps:
        raise UserError("the student wrote nothing for this question")
    forks = [Fork(len(trunk), sample=i) for i in range(config.evaluate.extra_samples)]
    if not forks:
        return draft, {}
    drawn = _write(ctx, student, nothing, trunk, forks, _warm(ctx, force), seed=_seed(ctx))
    return draft, dict(zip(candidates.extra_samples(len(forks)), drawn, strict=True))


def backtrack(ctx: Context, draft: Text, bad: int, force: InForce) -> Texts:
    """`evaluate.backtrack` continuations by the student from the step before `bad`, by name."""
    count = ctx.config.evaluate.backtrack
    student = models.load_policy(ctx, "student", "hf")
    prompts = ctx.prompts(student)
    trunk = refinements.backtrack_trunk(prompts, draft.question, draft.steps, bad)
    forks = [Fork(len(trunk), cut=bad, rollout=i) for i in range(count)]
    begun = draft._replace(steps=draft.steps[:bad])
    drawn = _write(ctx, student, begun, trunk, forks, _warm(ctx, force), seed=_seed(ctx))
    return dict(zip(candidates.backtracks(count), drawn, strict=True))


def refine(ctx: Context, draft: Text, places: refinements.Places) -> Texts:
    """The refinements of a draft, by the names of candidates.

    Without a place, the draft itself; of equal places one text.
    """
    refiner = models.load_policy(ctx, "refiner", "hf")
    prompts = ctx.prompts(refiner)
    section = ctx.config.refiner
    sampling = Sampling(0.0, max_new=section.max_new)
    options = {"bidirectional": section.attention == "prefix"}
    written: dict[int | None, Text] = {None: draft}
    texts = {}
    for name, kind in candidates.refiner_kinds(ctx.config).items():
        bad = places[kind]
        if bad is not None and bad not in written:
            kept = refinements.kept_prefix(ctx.config, list(draft.steps), bad)
            trunk = prompts.refine(draft.question, draft.steps, bad, kept)
            begun = draft._replace(steps=kept)
            forks = [Fork(len(trunk))]
            (written[bad],) = _write(ctx, refiner, begun, trunk, forks, sampling, **options)
        texts[name] = written[bad]
    return texts


def _warm(ctx: Context, force: InForce) -> Sampling:
    return Sampling(force.temperature, max_new=ctx.config.evaluate.max_new)


def _seed(ctx: Context) -> int:
    return generation.seed_of(ctx, _SEEDED)


def _write(
    ctx: Context,
    policy: Model,
    begun: Text,
    trunk: list[int],
    forks: Sequence[Fork],
    sampling: Sampling,
    **options: Any,
) -> list[Text]:
    """What each fork of the trunk makes of the text `begun`, in their order."""
    engine = generation.make_engine(
        ctx, policy, len(trunk), 1, sampling.max_new, len(forks), **options
    )
    (job,) = engine.run([Job("solve", trunk, forks)], sampling)
    found = []
    for fork in forks:
        completion = job.completions[fork]
        steps = [*begun.steps, *ctx.task.split_steps(completion.text)]
        found.append(Text(begun.question, steps, completion.ended))
    return found


# How it is judged.


def score_steps(ctx: Context, draft: Text) -> list[float]:
    """The SORM's probability of each step."""
    return _by_steps(ctx, "sorm", [draft])[0]


def _by_steps(ctx: Context, name: str, texts: Sequence[Text]) -> list[list[float]]:
    model = models.load_reward(ctx, name, "hf")
    found = rewards.score(ctx, model, [(text.question, text.steps) for text in texts], name)
    return [[float(score) for score in of_text] for of_text in found]


def _by_likelihood(ctx: Context, texts: Sequence[Text]) -> list[float]:
    student = scores.load_student(ctx)
    items = scores.likelihood_items(ctx.prompts(student), texts)
    return log_likelihoods(student, items, mesh=ctx.local_mesh)


def score_candidates(
    ctx: Context, texts: Texts, places: refinements.Places, force: InForce
) -> list[Candidate]:
    """The candidates with the scores that choose among them."""
    solutions = list(texts.values())
    of_orm = _alone(_by_steps, ctx, "orm", solutions)
    values = {"orm": [metrics.last_score(steps) for steps in of_orm]}
    if force.choose == "combination":
        of_sorm = _alone(_by_steps, ctx, "sorm", solutions)
        values["sorm"] = [candidates.lowest(steps) for steps in of_sorm]
        values["loglik"] = _alone(_by_likelihood, ctx, solutions)
    kinds = candidates.refiner_kinds(ctx.config)
    copies = candidates.copies({name: places[kind] for name, kind in kinds.items()})
    return [
        Candidate(
            name,
            {scorer: of_all[i] for scorer, of_all in values.items()},
            text.steps,
            correct=False,  # nobody knows
            answer=ctx.task.answer(list(text.steps)),
            copy=name in copies,
        )
        for i, (name, text) in enumerate(texts.items())
    ]
