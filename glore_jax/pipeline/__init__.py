"""The stage graph: what depends on what, what is done, what is stale, and running the rest.

A stage's fingerprint covers its name, the config fields it declares and the fingerprints of the
stages it reads, so that a change anywhere upstream shows in it. Its `manifest.json` keeps the
fingerprint with which its files were made:

    no manifest                     -> run it
    same fingerprint, not done      -> go on in the same folder: its parts and checkpoints are kept
    same fingerprint, done          -> nothing to do
    another fingerprint             -> stale: the folder moves to `stale/`, the stage starts afresh
    half done in parts of another   -> stale too: its parts would not fit together
      size (`engine.part_questions`)

    plan.py       stages as the config wants them beside what lies on disk
    checks.py     what is refused before the first stage
    forecast.py   the plan that is printed: tokens, time, memory, of what `workload.py` counts, at
                  the rates that `calibration.py` measures
    versions.py   under which packages a run computes, and a half-done stage was begun
    execution.py  one stage: its manifest, its folder, its run

Nothing here imports JAX before a stage has to run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from etils import epath
from ml_collections import ConfigDict

from glore_jax import storage
from glore_jax.config import validate
from glore_jax.parallel import processes
from glore_jax.pipeline import checks, execution, versions
from glore_jax.pipeline.plan import make_plan, selection
from glore_jax.progress import Progress
from glore_jax.progress.words import duration
from glore_jax.stages.context import Context

if TYPE_CHECKING:  # importing it takes JAX
    from glore_jax.stages.questions import Reader

__all__ = ["run"]


def run(
    config: ConfigDict,
    workdir: epath.PathLike,
    only: tuple[str, ...] | None = None,
    *,
    other_versions: bool = False,
    progress: Progress | None = None,
) -> list[str]:
    """Runs what is missing of `config` in `workdir` and returns the names of the stages that ran.

    Args:
      config: as `glore_jax.config.default` makes it; its tuples are put into form.
      workdir: where everything goes, any path that `etils.epath` opens.
      only: the stages asked for; default: all but `pretrain`, or `pretrain` alone if the config has
        such a section.
      other_versions: a stage that is half done goes on under other versions of packages too.
      progress: is told how far the run is; tell it yourself how the run ended. Without one the
        record of progress ends with this call.

    Raises:
      UserError: the config is wrong, the work directory is of another config, a stage is unknown,
        its inputs are missing, it is half done under other versions, or the data, the model or the
        devices do not fit the config.
    """
    if progress is None:
        with Progress() as own:
            return run(config, workdir, only, other_versions=other_versions, progress=own)
    validate(config)
    names = selection(config, only)
    ctx = Context(config, workdir, progress=progress)
    checks.pin_base(config, ctx.workdir)
    processes.on_main(checks.check_identity, config, ctx.workdir)
    plan = make_plan(config, ctx.workdir, names)
    processes.on_main(checks.check_inputs, plan, names, ctx.workdir)
    processes.barrier("plan")  # everyone has read what lies there before anyone changes it

    todo = [name for name in names if not plan[name].done]
    questions = {}
    if todo:
        versions.check([plan[name] for name in todo], ctx.workdir, other_versions)
        execution.prepare_jax()
        checks.check_devices(config, todo)
        ctx.say("reading the questions")  # a minute, where thousands are drawn or tokenized
        reader = checks.reader_for(ctx, todo)
        questions = checks.check_questions(ctx, todo, reader)
        if reader:
            _announce(ctx, todo, reader)
        processes.barrier("ready")  # nobody moves a folder while another still reads in it
        execution.describe_run(ctx)
        ctx.progress.keep(ctx.workdir, names, todo)  # not before all that may be refused
    for name in names:
        if name in todo:
            execution.run_stage(ctx, plan[name], questions.get(name, {}))
        else:
            seconds = plan[name].manifest.get("seconds", 0.0)
            ctx.say(f"{name}: done already ({duration(seconds)})")
    if not todo:
        ctx.say(f"nothing to do: all that was asked for is done in {ctx.workdir}")
        summary = ctx.folder("report", "summary.txt")
        if "report" in names and storage.exists(summary):
            ctx.say(storage.read_text(summary).rstrip("\n"))
    return todo


def _announce(ctx: Context, todo: list[str], reader: Reader) -> None:
    from glore_jax.pipeline import forecast  # takes JAX

    forecast.announce(ctx, todo, reader)
