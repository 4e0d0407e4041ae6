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
from glore_jax.stages import models
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import candidates
from glore_jax.stages.evaluation.refinements import (
    Places,
    Request,
    Texts,
    at_places,
    requests_of,
    write,
)
from glore_jax.tasks.prompts import stops


def refine(
    ctx: Context, name: str, drafts: Sequence[Sample], places: Sequence[Places]
) -> list[Texts]:
    """What the untrained base makes of each draft, greedily, by `candidates.BASE_KINDS`.

    Kept in the folder `name`. `places`: as of `refinements.refine`; those of `global` and
    `local_sorm` are read.
    """
    base_global, base_local = candidates.BASE_KINDS
    places = [{base_global: p["global"], base_local: p["local_sorm"]} for p in places]
    requests = requests_of(drafts, places)
    model = models.load_base(ctx)
    prompts = ctx.prompts(model)

    def trunk_of(request: Request) -> list[int]:
        draft = request.draft
        return prompts.refine(draft["question"], draft["steps"], None, begun_of(request))

    def begun_of(request: Request) -> list[str]:
        return request.draft["steps"][: request.bad]

    ends = stops(prompts.template)
    sampling = Sampling(0.0, max_new=ctx.config.refiner.max_new, stop=ends)
    rows = write(ctx, name, model, requests, trunk_of, begun_of, sampling)
    found = at_places(rows, drafts, places)
    for texts in found:
        # One text from one place: it was drawn once.
        if texts[base_local]["bad"] == texts[base_global]["bad"]:
            texts[base_local] = {**texts[base_local], "tokens": 0}
    return found
