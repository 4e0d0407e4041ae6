"""The JSON schema of `report.json`, read off the types of its figures.

    python -m glore_jax.report.schema docs/report.schema.json

writes it anew after a change of the types (`figures.py`, `step_figures.py`, `run_figures.py`); a
test holds the file and the types together.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

from glore_jax import storage
from glore_jax.report.contract import Figures, Kind, Shape, Spec
from glore_jax.report.run_figures import Report

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_COUNT = {"type": "integer", "minimum": 0}
_SINGLE: dict[Kind, Schema] = {
    Kind.RATE: {"type": "number", "minimum": 0, "maximum": 1},
    Kind.COUNT: _COUNT,
    Kind.NUMBER: {"type": "number"},
    Kind.TEXT: {"type": "string"},
    Kind.FLAG: {"type": "boolean"},
    Kind.STEP_COUNT: {"type": "array", "items": _COUNT, "minItems": 2, "maxItems": 2},
}


def schema() -> Schema:
    """The schema of `report.json`; every type of group is one entry of its `$defs`."""
    types: dict[str, Schema] = {}
    root = _group(Report, types)
    head = {"$schema": _DIALECT, "title": "report.json of glore_jax"}
    return head | root | {"$defs": dict(sorted(types.items()))}


def _group(group: type[Figures], types: dict[str, Schema]) -> Schema:
    """The schema of one group; the types inside it go to `types`."""
    specs = group.specs()
    written = [key for key, spec in specs.items() if spec.null]
    return {
        "type": "object",
        "description": " ".join((group.__doc__ or "").split()),
        "properties": {key: _field(spec, types) for key, spec in specs.items()},
        "required": written,
        "additionalProperties": False,
    }


def _field(spec: Spec, types: dict[str, Schema]) -> Schema:
    return {"description": _description(spec)} | _shaped(spec, types)


def _description(spec: Spec) -> str:
    return f"{spec.meaning} (over `{spec.over}`)" if spec.over else spec.meaning


def _shaped(spec: Spec, types: dict[str, Schema]) -> Schema:
    single = _single(spec, types)
    if spec.shape is Shape.ONE:
        return _nullable(single) if spec.null else single
    if spec.shape is Shape.MAPPING:
        return {"type": "object", "additionalProperties": single}
    # A rate over nothing is null, in a list too; the other lists have no gaps.
    items = _nullable(single) if spec.kind is Kind.RATE else single
    many = {"type": "array", "items": items}
    return _nullable(many) if spec.null else many


def _nullable(schema: Schema) -> Schema:
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _single(spec: Spec, types: dict[str, Schema]) -> Schema:
    if spec.group is None:
        return _SINGLE[spec.kind]
    name = spec.group.__name__
    if name not in types:
        types[name] = {}  # holds its place while the groups inside it are read
        types[name] = _group(spec.group, types)
    return {"$ref": f"#/$defs/{name}"}


def text() -> str:
    """The schema as the file in docs holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> None:
    """Write the schema to the file named by the only argument."""
    (file,) = arguments
    storage.write_text(file, text())


if __name__ == "__main__":
    main(sys.argv[1:])
