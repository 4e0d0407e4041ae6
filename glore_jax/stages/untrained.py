"""The untrained base in the refiner's role: what it makes of the same drafts.

It has never seen [BAD], so it is asked with the refiner's own prompt without it. Where the draft
goes wrong it can only be told by the steps that the correction has already:

    base_global   question | draft | Correction:                  ► the whole
    base_local    question | draft | Correction: | 2+3=5          ► from the SORM's mark on

No step marked, or no step at all: the draft stays, as with the refiner.
"""

from collections.abc import Sequence

from glore_jax.records import Sample
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages import models, outcomes
from glore_jax.stages.context import Context
from glore_jax.stages.refinements import Places, Request, Texts, requests_of, unchanged, write


def refine(
    ctx: Context, name: str, drafts: Sequence[Sample], places: Sequence[Places]
) -> list[Texts]:
    """What the untrained base makes of each draft, greedily, by `outcomes.BASE_KINDS`.

    Kept in the folder `name`. `places`: as of `refinements.refine`; those of `global` and
    `local_sorm` are read.
    """
    of_kind = dict(zip(outcomes.BASE_KINDS, ("global", "local_sorm"), strict=True))
    places = [{kind: of_draft[kind] for kind in of_kind.values()} for of_draft in places]
    requests = requests_of(drafts, places)
    model = models.load_base(ctx)
    prompts = ctx.prompts(model)

    def trunk_of(request: Request) -> list[int]:
        draft = request.draft
        return prompts.refine(draft["question"], draft["steps"], None, begun_of(request))

    def begun_of(request: Request) -> list[str]:
        return request.draft["steps"][: request.bad]

    sampling = Sampling(0.0, max_new=ctx.config.refiner.max_new, stop=stops(ctx))
    rows = write(ctx, name, model, requests, trunk_of, begun_of, sampling)
    written = {(row["question_id"], row["bad"]): row for row in rows}
    found: list[Texts] = []
    for draft, of_draft in zip(drafts, places, strict=True):
        texts: Texts = {}
        for kind, place in of_kind.items():
            bad = of_draft[place]
            text = unchanged(draft) if bad is None else written[draft["question_id"], bad]
            texts[kind] = text
        # One text from one place: it was drawn once.
        if texts["base_local"]["bad"] == texts["base_global"]["bad"]:
            texts["base_local"] = {**texts["base_local"], "tokens": 0}
        found.append(texts)
    return found


def stops(ctx: Context) -> tuple[str, ...]:
    """Texts before which a base ends: it would go on with a question of its own."""
    head = ctx.config.task.prompt.split("{question}")[0].strip()
    return tuple(text for text in ("\n\n", head) if text)
