"""The card of a model, README.md: from what the run's work directory says of it, and nothing else.

config.json            the resolved config and the versions of packages
STAGE/manifest.json    what the stage ran on, and how often it learned
report/report.json     the figures, if the run has been evaluated
README.md of the base  under which licence that may be passed on
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from typing import Any

import yaml
from etils import epath

from glore_jax import config, storage
from glore_jax.errors import UserError
from glore_jax.models import sources
from glore_jax.report.reading import number

_ROLES = {
    "student": "writes solutions step by step",
    "orm": "judges, at each step, whether a solution will end with the right answer (ORM)",
    "sorm": "judges whether the steps so far can still lead to the right answer (stepwise ORM)",
    "refiner": "corrects a draft: the whole, or from a marked step on",
}
# stage -> (what it is, where it stands in report.json, where of how many)
_FIGURES = {
    "student": (
        ("drafts that are right", "draft.acc", "draft.n"),
        ("the same on unseen templates", "templates.draft", "templates.n"),
    ),
    "orm": (
        ("final answers that it judges rightly", "final.orm.acc", "final.orm.n"),
        ("always saying the commoner", "final.orm.majority", "final.orm.n"),
        ("right above wrong, of one question", "scorer.orm.within_pair", "scorer.orm.n"),
        ("the same by the student's likelihood", "scorer.loglik.within_pair", "scorer.loglik.n"),
    ),
    "sorm": (
        ("steps that it judges rightly", "step.sorm.acc", "step.sorm.n"),
        ("always saying the commoner", "step.sorm.majority", "step.sorm.n"),
    ),
    "refiner": (
        ("wrong drafts put right, whole", "refine.global.fix_rate", "refine.global.n_wrong"),
        (
            "wrong drafts put right, from the SORM's mark",
            "refine.local_sorm.fix_rate",
            "refine.local_sorm.n_wrong",
        ),
        ("right drafts spoilt, whole", "refine.global.break_rate", "refine.global.n_right"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the card says.

    Attributes:
      stage: student, orm, sorm or refiner.
      config: the resolved config of the run.
      manifest: of the stage.
      report: the content of report.json; empty if there is none.
      license: of the base, as its card names it, or None.
    """

    stage: str
    config: Mapping[str, Any]
    manifest: Mapping[str, Any]
    report: Mapping[str, Any]
    license: str | None


def read_facts(workdir: epath.PathLike, stage: str) -> Facts:
    """UserError if the work directory lacks its config, or the stage has not ended."""
    folder = storage.path(workdir)
    manifest = folder / stage / "manifest.json"
    if not storage.exists(manifest) or not storage.read_json(manifest).get("done"):
        raise UserError(f"{folder}: the stage {stage} has not ended")
    report = folder / "report" / "report.json"
    resolved = storage.read_json(folder / "config.json")["config"]
    return Facts(
        stage,
        resolved,
        storage.read_json(manifest),
        storage.read_json(report) if storage.exists(report) else {},
        license_of(resolved["model"]["base"]),
    )


def license_of(base: str) -> str | None:
    """The licence in the front matter of the base's README.md; None if none is named there."""
    try:
        file = sources.locate(base, weights=False) / "README.md"
        text = storage.read_text(file) if storage.exists(file) else ""
    except UserError:  # the base may be gone by now
        return None
    front = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    try:
        said = yaml.safe_load(front[1]) if front else None
    except yaml.YAMLError:
        return None
    found = said.get("license") if isinstance(said, dict) else None
    return found if isinstance(found, str) else None


def text_of(facts: Facts) -> str:
    """The content of README.md."""
    base = facts.config["model"]["base"]
    task = facts.config["task"]
    name = os.path.basename(base.removeprefix("hf://").partition("@")[0].rstrip("/"))
    front = {"library_name": "transformers", "tags": ["glore", facts.stage]}
    if base.startswith("hf://"):
        front["base_model"] = base.removeprefix("hf://").partition("@")[0]
    if facts.license:
        front["license"] = facts.license
    licence = facts.license or "not named in its folder: find out before you pass this model on"
    parts = [
        f"---\n{yaml.safe_dump(front, sort_keys=True)}---",
        f"# {name}: {facts.stage}, trained as in GLoRe",
        f"It {_ROLES[facts.stage]}: a stage of GLoRe (arXiv 2402.10963), made by glore_jax.",
        _table(
            "What it is made from",
            [
                ("base", f"`{name}`"),
                ("licence of the base", licence),
                ("task", task["name"]),
                ("prompt (`task.prompt`)", f"`{task['prompt']!r}`"),
                ("commit of glore_jax", ", ".join(facts.manifest.get("commits", ())) or "unknown"),
                ("trained on", facts.manifest.get("devices", "unknown")),
            ],
        ),
        _base(facts),
        _figures(facts),
        _warnings(facts),
        _table("How it was trained", _section(facts)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _base(facts: Facts) -> str:
    """What the base has read, as the report repeats it from the base's own card."""
    about = facts.report.get("about") or {}
    return f"The base: {about['base']}" if about.get("base") else ""


def _figures(facts: Facts) -> str:
    if not facts.report:
        return "## What it reached\n\nThe run has not been evaluated."
    found = []
    for label, key, of in _FIGURES[facts.stage]:
        value, count = number(facts.report, key), number(facts.report, of)
        if value is not None and count is not None:
            found.append((label, f"{value:.3f} of {count}"))
    return _table("What it reached, on test questions", found)


def _section(facts: Facts) -> list[tuple[str, str]]:
    """The fields of the stage's own section of the config."""
    fields = sorted(config.leaves(facts.config[facts.stage]))
    return [(f"`{name}`", f"`{value!r}`") for name, value in fields]


def _warnings(facts: Facts) -> str:
    said = facts.manifest.get("warnings", ())
    return "\n".join(["## What to know", "", *(f"- {text}" for text in said)]) if said else ""


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {key} | {value} |" for key, value in escaped]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines]) if rows else ""
