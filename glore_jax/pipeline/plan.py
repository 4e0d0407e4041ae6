"""Stages as the config wants them, beside what lies on disk of them."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from glore_jax import stages, storage
from glore_jax.config import Effect, effect_of, fields_of, leaves
from glore_jax.errors import UserError
from glore_jax.parallel import coordinator

ABSENT = object()  # the value of a field that is not there
MOVING = "moving"  # in the manifest of a stage that goes aside, see `aside`


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage as the config wants it and as it lies on disk.

    Attributes:
      name: as in `stages.STAGES`.
      fingerprint: stands for name, `config` and `inputs`.
      config: declared field or section -> its value without fields of speed and place, as JSON has
        it.
      inputs: stage that it reads -> that one's wanted fingerprint.
      layout: the fields that say how work is cut into parts: free once the stage is done, fixed
        while some of its parts exist.
      manifest: what lies on disk; {} if nothing does.
    """

    name: str
    fingerprint: str
    config: dict[str, Any]
    inputs: dict[str, str]
    layout: dict[str, Any]
    manifest: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether the files on disk are whole and those that the config asks for."""
        same = self.manifest.get("fingerprint") == self.fingerprint
        return same and self.manifest.get("done") is True

    @property
    def stale(self) -> str:
        """Why the files on disk are not those that the config asks for; empty if they are, or there
        are none."""
        made = self.manifest
        if not made:
            return ""
        if MOVING in made:  # some of it has gone, whatever the config asks for
            return made[MOVING]["reason"]
        if made.get("fingerprint") == self.fingerprint:
            return "" if made.get("done") else difference(made.get("layout", {}), self.layout)
        return (
            difference(made.get("config", {}), self.config)
            or self._changed_input()
            or "its inputs changed"
        )

    def _changed_input(self) -> str:
        before = self.manifest.get("inputs", {})
        for name, fingerprint in self.inputs.items():
            if before.get(name) != fingerprint:
                return f"input {name} changed"
        return ""

    @property
    def state(self) -> str:
        """Why another stage cannot read it yet."""
        if self.stale:
            return f"stale: {self.stale}"
        return "not finished" if self.manifest else "not run yet"


def selection(config: ConfigDict, only: tuple[str, ...] | None) -> list[str]:
    """Names of the stages asked for, in the order of their data; UserError if one is unknown."""
    known = list(stages.STAGES)
    if only is None:
        if "pretrain" in config:
            return ["pretrain"]
        return [name for name in known if name != "pretrain"]
    for name in only:
        if name not in known:
            raise UserError(f"there is no stage {name!r}: choose from {', '.join(known)}")
    if not only:
        raise UserError(f"--stage is empty: choose from {', '.join(known)}, or leave it out")
    return [name for name in known if name in only]


def make_plan(config: ConfigDict, workdir: epath.Path, names: list[str]) -> dict[str, Stage]:
    """The stages `names` and all that they read, each after those that it reads."""
    plan: dict[str, Stage] = {}
    for name in names:
        _examine(name, config, workdir, plan)
    return plan


def _examine(name: str, config: ConfigDict, workdir: epath.Path, plan: dict[str, Stage]) -> Stage:
    """Adds `name` and the stages that it reads to `plan`."""
    if name not in plan:
        declared = stages.STAGES[name]
        inputs = {}
        for need in declared.needs:
            inputs[need] = _examine(need, config, workdir, plan).fingerprint
        wanted = _wanted(config, declared.config, name)
        fingerprint = storage.fingerprint({"stage": name, "config": wanted, "inputs": inputs})
        # What is done decides what everyone does next, so everyone hears it from process 0.
        manifest = coordinator.from_main(f"{name}/manifest", lambda: _manifest(workdir / name))
        plan[name] = Stage(name, fingerprint, wanted, inputs, _layout(config), manifest)
    return plan[name]


def _manifest(folder: epath.Path) -> dict[str, Any]:
    """What lies in a stage's folder; {} if nothing does."""
    file = folder / "manifest.json"
    return storage.read_json(file) if storage.exists(file) else {}


def _wanted(config: ConfigDict, declared: tuple[str, ...], stage: str) -> dict[str, Any]:
    """The `declared` parts of `config` with all that can change a result, as JSON has them."""
    parts = {}
    for name in declared:
        value = lookup(config, name)
        if value is ABSENT:
            raise UserError(f"the config has no {name}, which stage {stage} needs")
        part = _with_effect(plain(value), name)
        if part is not ABSENT:
            parts[name] = part
    return parts


def _with_effect(value: Any, name: str) -> Any:
    """`value` of the field or section `name` without fields of speed and place; ABSENT if nothing
    is left."""
    if not isinstance(value, dict):
        free = effect_of(name) in (Effect.SPEED, Effect.PARTS)
        return ABSENT if free else value
    kept = {}
    for key, child in value.items():
        part = _with_effect(child, f"{name}.{key}")
        if part is not ABSENT:
            kept[key] = part
    return kept if kept or not value else ABSENT


def _layout(config: ConfigDict) -> dict[str, Any]:
    names = fields_of(Effect.PARTS)
    return {name: value for name in names if (value := lookup(config, name)) is not ABSENT}


def lookup(config: Any, dotted: str) -> Any:
    """The field or section `dotted` of a config or of nested dicts; ABSENT if it is not there."""
    for key in dotted.split("."):
        if not isinstance(config, Mapping | ConfigDict) or key not in config:
            return ABSENT
        config = config[key]
    return config


def plain(value: Any) -> Any:
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value.to_dict() if hasattr(value, "to_dict") else value))


def difference(old: dict, new: dict) -> str:
    """The first field that differs, as `config.rollout.k 8 -> 4`, and how many more there are;
    empty if none."""
    was = dict(leaves(old))
    now = dict(leaves(new))
    fields = [f for f in {**now, **was} if was.get(f, ABSENT) != now.get(f, ABSENT)]
    if not fields:
        return ""
    first = fields[0]
    before = show(was.get(first, ABSENT))
    after = show(now.get(first, ABSENT))
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return f"config.{first} {before} -> {after}{more}"


def show(value: Any) -> str:
    """A value of a config as a message shows it."""
    return "absent" if value is ABSENT else json.dumps(value)
