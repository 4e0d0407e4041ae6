"""A stale stage goes aside: its files move under `stale/`, where nothing is mixed or lost.

    stale/rollout-FINGERPRINT         the folder, TensorBoard's events in `tb/`; -2, -3, ... behind
                                      it if that version has gone aside before
    stale/rollout-FINGERPRINT.json    why

On a disk the folder is renamed. In an object store the objects move one by one, and a kill at any
moment must leave what the same command goes on with:

    1  rollout/manifest.json    is replaced by a mark: which folder it goes to, why, and itself
    2  the target               gets the manifest back, and every other object
    3  rollout/manifest.json    is replaced by that of the stage that starts

Between 1 and 3 the stage counts as stale, even if the config changes back, and goes on into the
same target. Before 1 nothing has happened, after 3 all has.
"""

from typing import Any

from etils import epath

from glore_jax import storage
from glore_jax.pipeline.plan import MOVING, Stage
from glore_jax.progress.tensorboard import is_of_stage
from glore_jax.stages.context import Context

_MANIFEST = "manifest.json"


def set_aside(ctx: Context, stage: Stage) -> None:
    """Moves the files of `stage`, which is stale (process 0 alone).

    In an object store a mark is left in the place of its manifest: write another over it.
    UserError or TransientError if the file system refuses.
    """
    move = stage.manifest.get(MOVING) or {
        "to": _free_name(ctx, stage),
        "reason": stage.stale,
        "manifest": stage.manifest,
    }
    folder = ctx.folder(stage.name)
    events = ctx.folder("tb", ctx.config.name)
    target = ctx.folder("stale", move["to"])
    if storage.is_remote(folder):
        storage.write_json(folder / _MANIFEST, {"stage": stage.name, MOVING: move})
        _note(target, stage, move)
        storage.write_json(target / _MANIFEST, move["manifest"])
        storage.move_files(events, target / "tb", lambda name: is_of_stage(name, stage.name))
        storage.move_files(folder, target, lambda name: name != _MANIFEST)
        return
    for name in storage.names(events):
        if is_of_stage(name, stage.name):
            (folder / "tb").mkdir(exist_ok=True)
            (events / name).rename(folder / "tb" / name)
    _note(target, stage, move)
    storage.move_folder(folder, target)


def _free_name(ctx: Context, stage: Stage) -> str:
    """Of a folder under `stale/` that is not there yet."""
    name = f"{stage.name}-{stage.manifest.get('fingerprint')}"
    free = name
    count = 1
    while storage.exists(ctx.folder("stale", free)):
        count += 1
        free = f"{name}-{count}"
    return free


def _note(target: epath.Path, stage: Stage, move: dict[str, Any]) -> None:
    """Says beside the folder why; on a disk it also brings `stale/` into being."""
    storage.write_json(f"{target}.json", {"stage": stage.name, "reason": move["reason"]})
