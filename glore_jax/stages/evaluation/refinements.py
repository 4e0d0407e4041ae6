"""Further solutions made from drafts: where `[BAD]` stands, and what is written (section 4.2).

    draft      2+3=5 | 5*2=11 | 11-4=7 | #### 7
    scores      .9       .3       .6       .2        of a reward model; mark .5
                         ▲ the first step at or below the mark: bad = 1

    global     [BAD] 2+3=5 | 5*2=11 | 11-4=7 | #### 7      bad = 0, whatever the scores are
    local      2+3=5 | [BAD] 5*2=11 | 11-4=7 | #### 7      once with the ORM's scores and mark, once
                                                           with the SORM's
    local 2    2+3=5 | 5*2=11 | 11-4=7 | [BAD] #### 7      where the score falls most of the others
    backtrack  2+3=5 |                                     the student goes on from here

Equal places are one text, so `[BAD]` at the first step gives the global refinement. Where no step
is flagged, the local refinement is the draft itself; a draft without any step stays as it is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from glore_jax.config import AnyConfig
from glore_jax.labels import choosing
from glore_jax.labels.metrics import first_error
from glore_jax.models.model import Model
from glore_jax.records import Refinement, Sample, StoredRecords
from glore_jax.sampling.engine import Completion, Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import candidates
from glore_jax.tasks.prompts import Prompts

LOCATORS = {"local_orm": "orm", "local_sorm": "sorm"}  # kind -> whose scores place the mark
KINDS = ("global", *LOCATORS)
SECOND = "local_sorm_2"

Places = dict[str, int | None]  # kind -> index of the step behind [BAD], None without a mark
Texts = dict[str, Mapping[str, Any]]  # kind -> "bad", "steps", "ended", "correct", "tokens"


class Request(NamedTuple):
    """One or more texts asked for: `draft` again, from its step `bad`."""

    draft: Sample
    bad: int


def places_of(
    steps: Sequence[str],
    scores: Mapping[str, Sequence[float]],
    mark: Mapping[str, float],
    suspects: int = 1,
) -> Places:
    """Where each kind of refinement of a draft has its `[BAD]`.

    Args:
      steps: of the draft.
      scores: locator -> probability of each step.
      mark: locator -> the score at or below which a step is flagged.
      suspects: steps that the SORM names; 2: also `SECOND`.
    """
    kinds = (*KINDS, SECOND)[: len(KINDS) + suspects - 1]
    if not steps:
        return dict.fromkeys(kinds)
    places: Places = {"global": 0}
    for kind, locator in LOCATORS.items():
        bad = first_error(scores[locator], mark[locator])
        places[kind] = None if bad < 0 else bad
    if suspects > 1:
        places[SECOND] = choosing.suspects(scores["sorm"], mark["sorm"], suspects)[1]
    return places


def kept_prefix(config: AnyConfig, steps: list[str], bad: int) -> list[str]:
    """The steps that a refinement with `[BAD]` in front of step `bad` begins with.

    The refiner writes what follows. `config`: the whole one.
    """
    return steps[:bad] if config.evaluate.keep_prefix else []


def refine(
    ctx: Context, name: str, drafts: Sequence[Sample], places: Sequence[Places]
) -> list[Texts]:
    """What the refiner makes of each draft, greedily, by kind; kept in the folder `name`.

    Each different place of a draft is one text. Without a place the draft is its own refinement.
    """
    requests = requests_of(drafts, places)
    model = models.load_policy(ctx, "refiner", "hf")
    prompts = ctx.prompts(model)

    def trunk_of(request: Request) -> list[int]:
        steps = request.draft["steps"]
        begun = kept_prefix(ctx.config, steps, request.bad)
        return prompts.refine(request.draft["question"], steps, request.bad, begun)

    rows = write(
        ctx,
        name,
        model,
        requests,
        trunk_of,
        lambda request: kept_prefix(ctx.config, request.draft["steps"], request.bad),
        Sampling(0.0, max_new=ctx.config.refiner.max_new),
        bidirectional=ctx.config.refiner.attention == "prefix",
    )
    return at_places(rows, drafts, places)


def at_places(
    rows: Iterable[Refinement], drafts: Sequence[Sample], places: Sequence[Places]
) -> list[Texts]:
    """For each draft the text of each of its places, by kind; without a place the draft itself."""
    written = {(row["question_id"], row["bad"]): row for row in rows}
    return [
        {
            kind: as_text(draft, 0) if bad is None else written[draft["question_id"], bad]
            for kind, bad in of_kind.items()
        }
        for draft, of_kind in zip(drafts, places, strict=True)
    ]


def requests_of(drafts: Sequence[Sample], places: Sequence[Places]) -> list[Request]:
    """One for each different place of each draft."""
    return [
        Request(draft, bad)
        for draft, of_kind in zip(drafts, places, strict=True)
        for bad in sorted({bad for bad in of_kind.values() if bad is not None})
    ]


def write(
    ctx: Context,
    name: str,
    model: Model,
    requests: Sequence[Request],
    trunk_of: Callable[[Request], list[int]],
    begun_of: Callable[[Request], list[str]],
    sampling: Sampling,
    count: int = 1,
    **options: Any,
) -> StoredRecords[Refinement]:
    """`count` texts for each request, kept in the folder `name`.

    Args:
      trunk_of: request -> the tokens that `model` goes on from.
      begun_of: request -> the steps that the text begins with and that the trunk holds already.
      options: of the engine.
    """
    longest = generation.longest_of(requests, trunk_of)
    engine = generation.make_engine(
        ctx, model, longest, len(requests), sampling.max_new, count, **options
    )

    def make_job(request: Request) -> Job:
        # Two places of one draft are two forks: `bad` tells their identities apart.
        trunk = trunk_of(request)
        forks = [Fork(len(trunk), cut=request.bad, rollout=i) for i in range(count)]
        return Job(request.draft["question_id"], trunk, forks)

    def to_rows(request: Request, job: Job) -> list[Refinement]:
        return _records(ctx, request, job, begun_of(request))

    return generation.generate(ctx, name, Refinement, requests, engine, sampling, make_job, to_rows)


def backtrack(
    ctx: Context, name: str, drafts: Sequence[Sample], places: Sequence[Places], sampling: Sampling
) -> list[Texts]:
    """`evaluate.backtrack` continuations of each draft by the student, by their names.

    They leave the draft before the step that the SORM marks; a draft without a mark has none. Kept
    in the folder `name`.
    """
    count = ctx.config.evaluate.backtrack
    requests = [
        Request(draft, bad)
        for draft, of_kind in zip(drafts, places, strict=True)
        if (bad := of_kind["local_sorm"]) is not None
    ]
    model = models.load_policy(ctx, "student", "hf")
    prompts = ctx.prompts(model)

    def trunk_of(request: Request) -> list[int]:
        draft = request.draft
        return backtrack_trunk(prompts, draft["question"], draft["steps"], request.bad)

    def begun_of(request: Request) -> list[str]:
        return request.draft["steps"][: request.bad]

    seed = generation.seed_of(ctx, name)
    rows = write(ctx, name, model, requests, trunk_of, begun_of, sampling, count=count, seed=seed)
    names = candidates.backtracks(count)
    written: dict[str, Texts] = {}
    for row in rows:
        written.setdefault(row["question_id"], {})[names[row["rollout"]]] = row
    return [written.get(draft["question_id"], {}) for draft in drafts]


def backtrack_trunk(prompts: Prompts, question: str, steps: Sequence[str], bad: int) -> list[int]:
    """The tokens of a question and the steps of its draft before step `bad`."""
    return prompts.question(question) + prompts.solution(steps[:bad], ended=False)[0]


def _records(ctx: Context, request: Request, job: Job, begun: list[str]) -> list[Refinement]:
    """One record a fork of the job, in the order of their numbers."""
    forks = sorted(job.completions, key=lambda fork: fork.rollout)
    return [_record(ctx, request, fork, job.completions[fork], begun) for fork in forks]


def _record(
    ctx: Context, request: Request, fork: Fork, completion: Completion, begun: list[str]
) -> Refinement:
    steps = begun + ctx.task.split_steps(completion.text)
    return {
        "question_id": request.draft["question_id"],
        "bad": request.bad,
        "rollout": fork.rollout,
        "steps": steps,
        "ended": completion.ended,
        "correct": ctx.task.grade(steps, request.draft["gold"]),
        "tokens": len(completion.tokens),
    }


def as_text(sample: Sample, tokens: int) -> dict[str, Any]:
    """A solution by the student beside those made from a draft; `tokens` were drawn for it."""
    return {
        "bad": None,
        "steps": sample["steps"],
        "correct": sample["correct"],
        "ended": sample["ended"],
        "tokens": tokens,
    }
