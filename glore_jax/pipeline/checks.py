"""What is refused before the first stage: each mistake is one line that says what to do.

Mistakes in the config alone are told by `glore_jax.config.validate`. Here: whose work directory it
is, stages without their inputs, and what only devices, data and the base can tell.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from etils import epath
from ml_collections import ConfigDict

from glore_jax import stages, storage
from glore_jax.config import Effect, fields_of
from glore_jax.errors import UserError
from glore_jax.models import hub
from glore_jax.parallel import coordinator
from glore_jax.pipeline.plan import Stage, lookup, show
from glore_jax.stages.context import Context

if TYPE_CHECKING:  # importing it takes JAX
    from glore_jax.stages.questions import Fitting, Reader


def pin_base(config: ConfigDict, workdir: epath.Path) -> None:
    """Names in `config` the commit of a base from the hub, so that a run has one and the same base.

    A base without a revision is, in a work directory that has a commit of that model already, this
    commit. All processes call it. UserError if the hub does not give it.
    """
    base = config.model.base
    if not base.startswith(hub.SCHEME):
        return

    def pinned() -> str:
        file = workdir / "config.json"
        old = lookup(storage.read_json(file), "config.model.base") if storage.exists(file) else ""
        known = isinstance(old, str) and hub.same_model(base, old) and not hub.has_revision(base)
        return old if known else hub.pin(base)

    config.model.base = coordinator.from_main("the base's commit", pinned)


def check_identity(config: ConfigDict, workdir: epath.Path) -> None:
    """UserError if `workdir` has results of a run with another name, task or base."""
    file = workdir / "config.json"
    # A first run that failed on a wrong path has claimed nothing.
    if not storage.exists(file) or not any(
        _holds_results(workdir / name) for name in stages.STAGES
    ):
        return
    described = storage.read_json(file)
    old = described.get("config", {}) if isinstance(described, dict) else {}
    for field in fields_of(Effect.IDENTITY):
        was = lookup(old, field)
        now = lookup(config, field)
        if was != now:
            raise UserError(
                f"{workdir} belongs to another config ({field} {show(was)}, not {show(now)}): "
                "choose another --workdir"
            )


def _holds_results(folder: epath.Path) -> bool:
    """Whether a stage's folder has more than the manifest of a stage that failed at once."""
    names = storage.names(folder)
    return any(n != "manifest.json" or storage.read_json(folder / n).get("done") for n in names)


def check_inputs(plan: dict[str, Stage], names: list[str], workdir: epath.Path) -> None:
    """UserError if one of the stages `names` lacks what it reads, or its folder is of unknown
    origin."""
    for name in names:
        stage = plan[name]
        missing = [n for n in stage.inputs if n not in names and not plan[n].done]
        if missing and not stage.done:
            what = ", ".join(f"{n} ({plan[n].state})" for n in missing)
            raise UserError(
                f"stage {name} needs {what}: add it to --stage, or leave --stage out to run all "
                "that is missing"
            )
        folder = workdir / name
        if not stage.manifest and storage.names(folder):
            raise UserError(
                f"{folder} holds files but no manifest.json, so it is not known what they are: "
                "move it away"
            )


def check_devices(config: ConfigDict, todo: list[str]) -> None:
    """UserError if the devices cannot form the meshes that the stages `todo` compute on."""
    import jax

    if any(stages.STAGES[name].trains for name in todo):
        sizes = config.mesh.to_dict()
        known = math.prod(size for size in sizes.values() if size != -1)
        count = jax.device_count()
        fits = count % known == 0 if -1 in sizes.values() else count == known
        if not fits:
            shown = ", ".join(f"{axis}={size}" for axis, size in sizes.items())
            raise UserError(
                f"config.mesh is {shown}, which does not cover the {count} devices of the run: "
                f"the sizes must multiply to {count}, and one may be -1, what is left"
            )
    if any(stages.STAGES[name].generates for name in todo):
        tensor = config.engine.tensor
        count = jax.local_device_count()
        if count % tensor:
            raise UserError(
                f"config.engine.tensor is {tensor}: must divide the {count} devices of a process"
            )


def reader_for(ctx: Context, todo: list[str]) -> Reader | None:
    """The reader of questions as the model of stages `todo` sees them; None if they have no model.

    UserError if there is no base.
    """
    asks = any(stages.asked(name, ctx.config) for name in todo)
    trains = any(stages.STAGES[name].trains for name in todo) and ctx.config.model.base
    if "pretrain" in todo or not (asks or trains):  # `pretrain` makes the base
        return None
    from glore_jax.stages.questions import Reader

    return Reader(ctx)


def check_questions(
    ctx: Context, todo: list[str], reader: Reader | None
) -> dict[str, dict[str, Fitting]]:
    """Stage -> split that it asks -> its questions, without those too long for the model.

    Says in a line for each split what is left out, if anything is.

    Raises:
      UserError: a split cannot be loaded, or no question of it fits.
    """
    if reader is None:
        return {}
    asks = {name: stages.asked(name, ctx.config) for name in todo}
    found: dict[str, dict[str, Fitting]] = {}
    for name in todo:
        inside = ctx.inside(name, stages.STAGES[name].config)
        found[name] = {
            split: reader.read(inside, split, fields) for split, fields in asks[name].items()
        }
    return found
