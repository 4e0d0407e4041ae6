"""One stage: its folder, its manifest, its run; and what the work directory says of the whole."""

from __future__ import annotations

import collections
import datetime
import time
from typing import TYPE_CHECKING, Any

from etils import epath

from glore_jax import stages, storage
from glore_jax.parallel import processes, program_cache
from glore_jax.pipeline import aside, versions
from glore_jax.pipeline.plan import Stage, plain
from glore_jax.progress.words import duration
from glore_jax.stages.context import Context

if TYPE_CHECKING:  # importing it takes JAX
    from glore_jax.stages.questions import Fitting


class _Manifest:
    """`manifest.json` of a running stage. Its seconds add up over restarts."""

    def __init__(self, stage: Stage, before: dict[str, Any], file: epath.Path):
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._file = file
        self._seconds = float(before.get("seconds", 0.0))
        self._start = time.monotonic()
        self._content: dict[str, Any] = {
            "stage": stage.name,
            "fingerprint": stage.fingerprint,
            "config": stage.config,
            "inputs": stage.inputs,
            "layout": stage.layout,
            "packages": versions.decisive(),
            "commits": list(dict.fromkeys([*before.get("commits", ()), versions.commit()])),
            "devices": _devices(),
            "done": False,
            "started": before.get("started") or now,
            "seconds": self._seconds,
            "counts": {},
            "records": before.get("records", {}),
            "warnings": before.get("warnings", []),
        }

    @property
    def seconds(self) -> float:
        """As of the last `write`."""
        return self._content["seconds"]

    def write(self, **fields: Any) -> None:
        """Writes the file with `fields` changed and the seconds up to now (process 0 only)."""
        seconds = self._seconds + time.monotonic() - self._start
        self._content.update(fields, seconds=round(seconds, 3))
        if processes.is_main():
            storage.write_json(self._file, self._content)


def _devices() -> str:
    """What this run computes on, in words: `8 x TPU v4, 2 processes`."""
    import jax

    kinds = collections.Counter(device.device_kind for device in jax.devices())
    found = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
    processes = jax.process_count()
    return found if processes == 1 else f"{found}, {processes} processes"


def run_stage(ctx: Context, stage: Stage, questions: dict[str, Fitting]) -> None:
    """Runs `stage`, from the start or from where it was cut off.

    `questions`: the splits that it asks, without what is too long; the manifest's counts say how
    many are left out.
    """
    name = stage.name
    before = stage.manifest
    if stage.stale:
        ctx.say(f"{name} is stale: {stage.stale}")
        if processes.is_main():
            aside.set_aside(ctx, stage)
        before = {}
    ctx.say(f"{name}: goes on" if before else f"{name}: starts")
    ctx.progress.stage(name)
    manifest = _Manifest(stage, before, ctx.folder(name, "manifest.json"))
    manifest.write()
    processes.barrier(f"{name} starts")
    fitting = {split: found.problems for split, found in questions.items()}
    left_out = {split: len(f.left_out) for split, f in questions.items() if f.left_out}
    inside = ctx.inside(name, stages.STAGES[name].config, fitting)
    # At once: a restart does not come again to what it finds done.
    inside.rows = dict(before.get("records", {}))
    inside.on_rows = lambda rows: manifest.write(records=rows)
    inside.warnings = list(before.get("warnings", []))
    inside.on_warnings = lambda warnings: manifest.write(warnings=warnings)
    try:
        counts = stages.load(name).run(inside)
    except BaseException:
        # The seconds count, whatever ended the stage; a run killed outright loses its own.
        manifest.write()
        raise
    finally:
        inside.board.close()
    processes.barrier(f"{name} ends")
    manifest.write(done=True, counts=counts | ({"left_out": left_out} if left_out else {}))
    processes.barrier(f"{name} done")
    ctx.say(f"{name}: done in {duration(manifest.seconds)}")


def prepare_jax() -> None:
    """Before the first compilation: is the run complete, and where do compiled programs stay."""
    processes.check_initialized()
    program_cache.enable()


def describe_run(ctx: Context) -> None:
    """Writes config.json: the config, Python and the versions of packages, and those before."""
    if processes.is_main():
        described = {"config": plain(ctx.config)} | versions.describe(ctx.workdir)
        storage.write_json(ctx.folder("config.json"), described)
