"""The stage graph: what depends on what, what is done, what is stale, and running the rest.

A stage's fingerprint covers its name, the config sections it declares and the fingerprints of the stages it reads, so that a
change anywhere upstream shows in it. Its `manifest.json` keeps the fingerprint with which its files were made:

    no manifest                     -> run it
    same fingerprint, not done      -> go on in the same folder (its parts and checkpoints say what is done)
    same fingerprint, done          -> nothing to do
    another fingerprint             -> stale: the folder moves to `stale/`, the stage starts afresh

Nothing here imports JAX before a stage has to run.
"""

import dataclasses
import datetime
import importlib.metadata
import json
import platform
import time
from typing import Any

from etils import epath

from glore_jax import stages, storage
from glore_jax.config import validate
from glore_jax.errors import UserError
from glore_jax.parallel import processes
from glore_jax.stages.context import Context

# Config fields, at any depth, that change how fast, where or how safely a stage runs, but not what comes out of it.
IGNORED = frozenset(
    {
        "mesh",
        "engine",
        "round_steps",
        "save_seconds",
        "profile_steps",
        "remat",
        "unroll_layers",
        "kernel",
        "tfds_dir",
    }
)
# Fields that say how the work of a stage is cut into parts: free once it is done, fixed while some of its parts exist.
LAYOUT = ("engine.part_questions",)
# A work directory belongs to one of these; another needs another directory.
IDENTITY = ("name", "task.name", "model.base")

_PACKAGES = (
    "glore-jax",
    "jax",
    "jaxlib",
    "libtpu",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "pyarrow",
    "safetensors",
    "tokenizers",
    "ml-collections",
    "tensorflow-datasets",
)
_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage as the config wants it (`fingerprint`, `config`, `inputs`) and as it lies on disk (`manifest`, {} if it does not)."""

    name: str
    fingerprint: str
    config: dict[str, Any]  # dotted section -> its value without IGNORED fields, as JSON has it
    inputs: dict[str, str]  # stage read -> its wanted fingerprint
    layout: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def done(self) -> bool:
        return (
            self.manifest.get("done") is True
            and self.manifest.get("fingerprint") == self.fingerprint
        )

    @property
    def stale(self) -> str:
        """Why the files on disk are not those that the config asks for; empty if they are, or there are none."""
        m = self.manifest
        if m and m.get("fingerprint") != self.fingerprint:
            return (
                _difference(m.get("config", {}), self.config)
                or next(
                    (
                        f"input {name} changed"
                        for name, f in self.inputs.items()
                        if m.get("inputs", {}).get(name) != f
                    ),
                    "",
                )
                or "its inputs changed"
            )
        if m and not m.get("done"):
            return _difference(m.get("layout", {}), self.layout)
        return ""


def run(config, workdir: epath.PathLike, only: tuple[str, ...] | None = None) -> list[str]:
    """Runs what is missing of `config` in `workdir` and returns the names of the stages that ran.

    Args:
      config: a locked `ConfigDict` as `glore_jax.config.default` makes it.
      workdir: where everything goes, any path that `etils.epath` opens.
      only: the stages asked for; default: all but `pretrain`, or `pretrain` alone if the config has such a section.

    Raises:
      UserError: the config is out of bounds, the work directory is of another config, a stage is unknown, or its inputs are missing.
    """
    validate(config)
    names = _selection(config, only)
    ctx = Context(config, workdir)
    _check_identity(config, ctx.workdir)
    plan: dict[str, Stage] = {}
    for name in names:
        _examine(name, config, ctx.workdir, plan)
    _check_inputs(plan, names, ctx.workdir)
    processes.barrier("plan")  # everyone has read what lies there before anyone changes it

    todo = [name for name in names if not plan[name].done]
    if todo and processes.is_main():
        storage.write_json(ctx.folder("config.json"), _run_description(config))
    for name in names:
        if name in todo:
            _run_stage(ctx, plan[name])
        else:
            ctx.say(f"{name}: done already ({_duration(plan[name].manifest.get('seconds', 0.0))})")
    if not todo:
        ctx.say(f"nothing to do: all that was asked for is done in {ctx.workdir}")
        summary = ctx.folder("report", "summary.txt")
        if "report" in names and summary.exists():
            ctx.say(storage.read_text(summary).rstrip("\n"))
    return todo


def _selection(config, only: tuple[str, ...] | None) -> list[str]:
    if only is None:
        return (
            ["pretrain"] if "pretrain" in config else [n for n in stages.NAMES if n != "pretrain"]
        )
    for name in only:
        if name not in stages.NAMES:
            raise UserError(f"there is no stage {name!r}: choose from {', '.join(stages.NAMES)}")
    if not only:
        raise UserError(f"--stage is empty: choose from {', '.join(stages.NAMES)}, or leave it out")
    return [n for n in stages.NAMES if n in only]


def _check_identity(config, workdir: epath.Path) -> None:
    file = workdir / "config.json"
    if not file.exists() or not any(_holds_results(workdir / name) for name in stages.NAMES):
        return  # a first run that failed on a wrong path has claimed nothing
    old = storage.read_json(file)
    old = old.get("config", {}) if isinstance(old, dict) else {}
    for field in IDENTITY:
        was, now = _lookup(old, field), _lookup(config, field)
        if was != now:
            raise UserError(
                f"{workdir} belongs to another config ({field} {_show(was)}, not {_show(now)}): choose another --workdir"
            )


def _holds_results(folder: epath.Path) -> bool:
    files = list(folder.iterdir()) if folder.exists() else []
    return any(f.name != "manifest.json" or storage.read_json(f).get("done") for f in files)


def _examine(name: str, config, workdir: epath.Path, plan: dict[str, Stage]) -> Stage:
    """Adds `name` and the stages below it to `plan`."""
    if name not in plan:
        declared = stages.declaration(name)
        inputs = {
            need: _examine(need, config, workdir, plan).fingerprint for need in declared.needs
        }
        sections = {
            s: _section(config, s, name)
            for s in declared.config
            if IGNORED.isdisjoint(s.split("."))
        }
        fingerprint = storage.fingerprint({"stage": name, "config": sections, "inputs": inputs})
        file = workdir / name / "manifest.json"
        manifest = storage.read_json(file) if file.exists() else {}
        layout = {
            field: value for field in LAYOUT if (value := _lookup(config, field)) is not _ABSENT
        }
        plan[name] = Stage(name, fingerprint, sections, inputs, layout, manifest)
    return plan[name]


def _check_inputs(plan: dict[str, Stage], names: list[str], workdir: epath.Path) -> None:
    for name in names:
        stage = plan[name]
        missing = [n for n in stage.inputs if n not in names and not plan[n].done]
        if missing and not stage.done:
            what = ", ".join(f"{n} ({_state(plan[n])})" for n in missing)
            raise UserError(
                f"stage {name} needs {what}: add it to --stage, or leave --stage out to run all that is missing"
            )
        folder = workdir / name
        if not stage.manifest and folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"{folder} holds files but no manifest.json, so it is not known what they are: move it away"
            )


def _state(stage: Stage) -> str:
    return (
        f"stale: {stage.stale}"
        if stage.stale
        else "not finished"
        if stage.manifest
        else "not run yet"
    )


def _run_stage(ctx: Context, stage: Stage) -> None:
    name, manifest = stage.name, stage.manifest
    file = ctx.folder(name, "manifest.json")
    if stage.stale:
        ctx.say(f"{name} is stale: {stage.stale}")
        if processes.is_main():
            _set_aside(ctx, name, stage.stale, str(manifest.get("fingerprint")))
        manifest = {}
    ctx.say(f"{name}: goes on" if manifest else f"{name}: starts")
    manifest = {
        "stage": name,
        "fingerprint": stage.fingerprint,
        "config": stage.config,
        "inputs": stage.inputs,
        "layout": stage.layout,
        "done": False,
        "started": manifest.get("started")
        or datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": float(manifest.get("seconds", 0.0)),
        "counts": {},
    }
    before, start = manifest["seconds"], time.monotonic()

    def write(**fields):
        manifest.update(fields, seconds=round(before + time.monotonic() - start, 3))
        if processes.is_main():
            storage.write_json(file, manifest)

    write()
    processes.barrier(f"{name} starts")
    _prepare_jax(ctx.workdir)
    ctx.stage = name
    try:
        counts = stages.load(name).run(ctx)
    except BaseException:
        write()  # the seconds count, whatever ended the stage; a run killed outright loses its own
        raise
    processes.barrier(f"{name} ends")
    write(done=True, counts=counts)
    processes.barrier(f"{name} done")
    ctx.say(f"{name}: done in {_duration(manifest['seconds'])}")


def _set_aside(ctx: Context, name: str, reason: str, fingerprint: str) -> None:
    """Moves the stage's folder, and its TensorBoard events with it, under `stale/`; both would be mixed with the new ones."""
    folder, events = ctx.folder(name), ctx.folder("tb", name)
    target = ctx.folder("stale", f"{name}-{fingerprint}")
    count = 1
    while target.exists():
        count += 1
        target = ctx.folder("stale", f"{name}-{fingerprint}-{count}")
    if events.exists():
        events.rename(folder / "tb")
    # The note also brings `stale/` into being where folders exist only through their files (gs://).
    storage.write_json(f"{target}.json", {"stage": name, "reason": reason})
    folder.rename(target)


def _prepare_jax(workdir: epath.Path) -> None:
    """Before the first compilation: is the run complete, and where do compiled programs stay for the next run."""
    import jax

    processes.check_initialized()
    if jax.config.jax_compilation_cache_dir is None and "://" not in str(workdir):
        jax.config.update("jax_compilation_cache_dir", str(workdir / ".jax_cache"))


def _run_description(config) -> dict:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pass
    return {"config": _plain(config), "python": platform.python_version(), "packages": versions}


def _plain(value: Any) -> Any:
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value.to_dict() if hasattr(value, "to_dict") else value))


def _section(config, dotted: str, stage: str) -> Any:
    value = _lookup(config, dotted)
    if value is _ABSENT:
        raise UserError(f"the config has no {dotted}, which stage {stage} needs")
    return _without_ignored(_plain(value))


def _without_ignored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: _without_ignored(v) for k, v in value.items() if k not in IGNORED}


def _lookup(config, dotted: str) -> Any:
    for key in dotted.split("."):
        if not hasattr(config, "keys") or key not in config:
            return _ABSENT
        config = config[key]
    return config


def _difference(old: dict, new: dict) -> str:
    """The first field that differs, as `config.rollout.k 8 -> 4`, and how many more there are; empty if none."""
    was, now = _flat(old), _flat(new)
    fields = [f for f in {**now, **was} if was.get(f, _ABSENT) != now.get(f, _ABSENT)]
    if not fields:
        return ""
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return (
        f"config.{first} {_show(was.get(first, _ABSENT))} -> {_show(now.get(first, _ABSENT))}{more}"
    )


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix: tree}
    return {
        k: v
        for key, value in tree.items()
        for k, v in _flat(value, f"{prefix}.{key}" if prefix else key).items()
    }


def _show(value: Any) -> str:
    return "absent" if value is _ABSENT else json.dumps(value)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.1f} s"
        if seconds < 120
        else f"{seconds / 60:.1f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
