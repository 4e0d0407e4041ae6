"""The conditions under which a run's figures came about, as its work directory tells them.

config.json              the resolved config, the commit, the versions
evaluate/choices.json    marks, thresholds and what else was chosen on dev; without it, config's
STAGE/manifest.json      what each stage ran on
README.md of the base    what the base has read
"""

import json
from collections.abc import Mapping
from typing import Any

from glore_jax import config, storage
from glore_jax.errors import UserError
from glore_jax.report.run_figures import About
from glore_jax.stages import models
from glore_jax.stages.context import Context

# Fields that the report speaks of, whatever their value.
_SETTINGS = (
    *("rollout.solved_only", "rollout.consistency", "rollout.schedule", "refiner.attention"),
    *("evaluate.keep_prefix", "evaluate.splits"),
    *("evaluate.suspects", "evaluate.backtrack", "evaluate.extra_samples"),
)
_SAMPLES = ("student.ei.k", "sample.k", "rollout.k", "evaluate.k", "evaluate.label_k")


def about(ctx: Context, manifests: Mapping[str, Mapping[str, Any]]) -> About:
    """What is known; what is not stays None. `manifests`: of the stages that the report reads."""
    described = _read(ctx, "config.json")
    fields = dict(config.leaves(described.get("config") or {}))
    temperatures = {n: v for n, v in fields.items() if n.split(".")[-1] == "temperature"}
    return About(
        config=fields.get("name"),
        changed=_texts(changed(fields)),
        settings=_texts({name: fields[name] for name in _SETTINGS if name in fields}),
        seeds=_numbers({n: v for n, v in fields.items() if n.split(".")[-1] == "seed"}),
        samples=_numbers({name: fields[name] for name in _SAMPLES if name in fields}),
        temperatures=_numbers(temperatures),
        commit=_commits(manifests) or described.get("commit"),
        versions={"python": described.get("python", "")} | described.get("packages", {}),
        devices={s: m["devices"] for s, m in manifests.items() if m.get("devices")},
        base=base_card(ctx),
    )


def _commits(manifests: Mapping[str, Mapping[str, Any]]) -> str:
    """Of the package, all that had a hand in the stages: config.json knows the last one alone."""
    known = [c for m in manifests.values() for c in m.get("commits", ()) if c]
    return ", ".join(dict.fromkeys(known))


def _read(ctx: Context, *parts: str) -> dict[str, Any]:
    """The content of a JSON file of the work directory; {} if it is not there."""
    file = ctx.folder(*parts)
    return storage.read_json(file) if storage.exists(file) else {}


def changed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `fields` (of a resolved config, by dotted name) that no default gives."""
    standard = config.default().to_dict()
    try:
        of_task = config.task(fields["task.name"]).to_dict()
        standard["task"] = of_task | {"name": standard["task"]["name"]}
    except (KeyError, UserError):  # a task that another version had
        pass
    # As JSON has them: lists for tuples.
    given = dict(config.leaves(json.loads(json.dumps(standard))))
    nowhere = object()
    return {name: value for name, value in fields.items() if given.get(name, nowhere) != value}


def base_card(ctx: Context) -> str | None:
    """The first paragraph of the README.md beside the base's weights.

    Without one, the base's name; None if it has none.
    """
    base = ctx.config.model.base
    if not base:
        return None
    file = models.base_folder(ctx.config, weights=False) / "README.md"
    text = storage.read_text(file) if storage.exists(file) else ""
    for paragraph in text.split("\n\n"):
        lines = [line.strip() for line in paragraph.strip().splitlines()]
        # Headings and front matter say nothing of what was read.
        if lines and not lines[0].startswith(("#", "---")):
            return " ".join(lines)
    return base


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Those that are numbers."""
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}
