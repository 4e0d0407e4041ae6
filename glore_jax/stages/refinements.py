"""Refinements of drafts: where `[BAD]` stands, and what the refiner writes (paper section 4.2).

    draft    2+3=5 | 5*2=11 | 11-4=7 | #### 7
    scores    .9       .3       .6       .2        of a reward model; mark .5
                       ▲ the first step at or below the mark: bad = 1

    global   [BAD] 2+3=5 | 5*2=11 | 11-4=7 | #### 7        bad = 0, whatever the scores are
    local    2+3=5 | [BAD] 5*2=11 | 11-4=7 | #### 7        once with the ORM's scores, once with
                                                           the SORM's
Equal places are one text, so `[BAD]` at the first step gives the global refinement. Where no step
is flagged, the local refinement is the draft itself; a draft without any step stays as it is.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from glore_jax.config import AnyConfig
from glore_jax.labels.metrics import first_error
from glore_jax.models.model import Model
from glore_jax.records import Refinement, Sample, StoredRecords
from glore_jax.sampling.engine import Fork, Job
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import generation, models
from glore_jax.stages.context import Context

LOCATORS = {"local_orm": "orm", "local_sorm": "sorm"}  # kind -> whose scores place the mark
KINDS = ("global", *LOCATORS)

Places = dict[str, int | None]  # kind -> index of the step behind [BAD], None without a mark


class _Request(NamedTuple):
    """One text asked of the refiner: `draft` again, from its step `bad`."""

    draft: Sample
    bad: int


def refine(
    ctx: Context, split: str, drafts: Sequence[Sample], scores: Mapping[str, Sequence[list[float]]]
) -> list[dict[str, Any]]:
    """The refinements of each draft.

    What the refiner writes is kept in `evaluate/SPLIT/refinements`.

    Args:
      scores: reward model -> probabilities per step of each draft; "orm" and "sorm" are read.

    Returns:
      For each draft {"question_id", "question", and for each of `KINDS` a dict with the index
      "bad" (None: no mark), the refined "steps", "correct" and "ended"}.
    """
    model = models.load_policy(ctx, "refiner", "hf")
    mark = ctx.config.evaluate.mark
    places = []
    for i, draft in enumerate(drafts):
        of_draft = {locator: scores[locator][i] for locator in LOCATORS.values()}
        places.append(places_of(draft, of_draft, mark))

    rows = _write(ctx, f"evaluate/{split}/refinements", model, drafts, places)
    written = {(row["question_id"], row["bad"]): row for row in rows}
    refined = []
    for draft, of_kind in zip(drafts, places, strict=True):
        name = draft["question_id"]
        texts = {
            kind: _unchanged(draft) if bad is None else written[name, bad]
            for kind, bad in of_kind.items()
        }
        refined.append({"question_id": name, **texts, "question": draft["question"]})
    return refined


def places_of(draft: Sample, scores: Mapping[str, Sequence[float]], mark: float) -> Places:
    """Where each kind of refinement of `draft` has its `[BAD]`.

    `scores`: locator -> probability of each step; a step is flagged at or below `mark`.
    """
    if not draft["steps"]:
        return dict.fromkeys(KINDS)
    places: Places = {"global": 0}
    for kind, locator in LOCATORS.items():
        bad = first_error(scores[locator], mark)
        places[kind] = None if bad < 0 else bad
    return places


def kept_prefix(config: AnyConfig, steps: list[str], bad: int) -> list[str]:
    """The steps that a refinement with `[BAD]` in front of step `bad` begins with.

    The refiner writes what follows. `config`: the whole one.
    """
    return steps[:bad] if config.evaluate.keep_prefix else []


def _write(
    ctx: Context, name: str, model: Model, drafts: Sequence[Sample], places: Sequence[Places]
) -> StoredRecords[Refinement]:
    """What the refiner writes, greedily, for every different place of every draft."""
    prompts = ctx.prompts(model)
    requests = _requests(drafts, places)
    max_new = ctx.config.refiner.max_new

    def trunk_of(request: _Request) -> list[int]:
        steps = request.draft["steps"]
        begun = kept_prefix(ctx.config, steps, request.bad)
        return prompts.refine(request.draft["question"], steps, request.bad, begun)

    engine = generation.make_engine(
        ctx,
        model,
        generation.longest_of(requests, trunk_of),
        len(requests),
        max_new,
        1,
        bidirectional=ctx.config.refiner.attention == "prefix",
    )

    def make_job(request: _Request) -> Job:
        # Two places of one draft are two forks: `bad` tells their identities apart.
        trunk = trunk_of(request)
        fork = Fork(len(trunk), cut=request.bad)
        return Job(f"{request.draft['question_id']} refined", trunk, [fork])

    def to_rows(request: _Request, job: Job) -> list[Refinement]:
        draft = request.draft
        (completion,) = job.completions.values()
        written = ctx.task.split_steps(completion.text)
        steps = kept_prefix(ctx.config, draft["steps"], request.bad) + written
        return [
            {
                "question_id": draft["question_id"],
                "bad": request.bad,
                "steps": steps,
                "ended": completion.ended,
                "correct": ctx.task.grade(steps, draft["gold"]),
            }
        ]

    sampling = Sampling(0.0, max_new=max_new)
    return generation.generate(ctx, name, Refinement, requests, engine, sampling, make_job, to_rows)


def _requests(drafts: Sequence[Sample], places: Sequence[Places]) -> list[_Request]:
    requests = []
    for draft, of_kind in zip(drafts, places, strict=True):
        different = {bad for bad in of_kind.values() if bad is not None}
        requests += [_Request(draft, bad) for bad in sorted(different)]
    return requests


def _unchanged(draft: Sample) -> dict[str, Any]:
    """The draft as its own refinement."""
    return {
        "bad": None,
        "steps": draft["steps"],
        "correct": draft["correct"],
        "ended": draft["ended"],
    }
