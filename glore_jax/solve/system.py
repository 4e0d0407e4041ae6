"""The way of stage `evaluate`, for a single question whose answer nobody knows.

    student: draft -> SORM: which step is wrong -> refiner: global and local refinement
                                                -> ORM: which of the three is best

One model at a time lies on the devices: each function loads its own, and lets it go with its end.
"""

from etils import epath
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.labels.metrics import first_error
from glore_jax.models import hf_import
from glore_jax.models.model import Model
from glore_jax.parallel import program_cache
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.solve.solved import Solved
from glore_jax.stages import generation, models, refinements, rewards
from glore_jax.stages.context import Context
from glore_jax.stages.draft_figures import last_scores


def answer(workdir: epath.PathLike, question: str) -> Solved:
    """As `solve.solve`."""
    ctx = open_run(workdir)
    program_cache.enable()
    draft = write_draft(ctx, question)
    step_scores = score_steps(ctx, question, draft)
    bad = first_error(step_scores, ctx.config.evaluate.mark)
    texts = {"draft": draft} | refine(ctx, question, draft, bad)
    scores = score_texts(ctx, question, texts)
    choice = max(scores, key=lambda name: scores[name])  # of equals the first
    return Solved(
        question=question,
        sorm=step_scores,
        bad=bad,
        texts=texts,
        scores=scores,
        choice=choice,
        answer=ctx.task.answer(texts[choice]),
    )


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


def write_draft(ctx: Context, question: str) -> list[str]:
    """The student's greedy steps. UserError if it writes none."""
    student = models.load_policy(ctx, "student", "hf")
    trunk = ctx.prompts(student).question(question)
    draft = _write(ctx, student, trunk, ctx.config.sample.max_new)
    if not draft:
        raise UserError("the student wrote nothing for this question")
    return draft


def score_steps(ctx: Context, question: str, draft: list[str]) -> list[float]:
    """The SORM's probability of each step."""
    sorm = models.load_reward(ctx, "sorm", "hf")
    (scores,) = rewards.score(ctx, sorm, [(question, draft)], "sorm")
    return [float(score) for score in scores]


def refine(ctx: Context, question: str, draft: list[str], bad: int) -> dict[str, list[str]]:
    """The steps of the "global" and the "local" refinement of a draft whose step `bad` is flagged.

    Nothing flagged (-1): the local refinement is the draft itself. The first step flagged: it is
    the global one.
    """
    refiner = models.load_policy(ctx, "refiner", "hf")
    prompts = ctx.prompts(refiner)
    section = ctx.config.refiner

    def refine_at(step: int) -> list[str]:
        begun = refinements.kept_prefix(ctx.config, draft, step)
        trunk = prompts.refine(question, draft, step, begun)
        both_ways = section.attention == "prefix"
        return begun + _write(ctx, refiner, trunk, section.max_new, both_ways)

    whole = refine_at(0)
    if bad < 0:
        local = draft
    elif bad == 0:
        local = whole
    else:
        local = refine_at(bad)
    return {"global": whole, "local": local}


def score_texts(ctx: Context, question: str, texts: dict[str, list[str]]) -> dict[str, float]:
    """The ORM's probability of each text, at its last step; 0 for an empty one."""
    orm = models.load_reward(ctx, "orm", "hf")
    solutions = [(question, steps) for steps in texts.values()]
    found = rewards.score(ctx, orm, solutions, "orm")
    return dict(zip(texts, last_scores(found), strict=True))


def _write(
    ctx: Context, policy: Model, trunk: list[int], max_new: int, bidirectional: bool = False
) -> list[str]:
    """Greedy steps after a trunk."""
    engine = generation.make_engine(
        ctx, policy, len(trunk), 1, max_new, 1, bidirectional=bidirectional
    )
    asked = Job("solve", trunk, [Fork(len(trunk))])
    (job,) = engine.run([asked], Sampling(0.0, max_new=max_new))
    (completion,) = job.completions.values()
    return ctx.task.split_steps(completion.text)
