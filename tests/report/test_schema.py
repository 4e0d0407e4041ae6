"""The schema of report.json: fresh in docs, and strict."""

import json
import pathlib

import jsonschema
import pytest

from glore_jax.report import schema
from glore_jax.report.run_figures import Report

FILE = pathlib.Path(__file__).parents[2] / "docs" / "report.schema.json"


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema.schema())


def test_the_file_in_docs_is_that_of_the_types():
    command = "python -m glore_jax.report.schema docs/report.schema.json"
    assert FILE.read_text("utf-8") == schema.text(), f"write it anew: {command}"


def test_the_command_writes_the_schema(tmp_path):
    schema.main([str(tmp_path / "schema.json")])
    written = json.loads((tmp_path / "schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(written)
    assert written["properties"]["draft"] == {
        "description": "greedy solutions",
        "$ref": "#/$defs/Draft",
    }


def test_every_figure_has_a_meaning():
    whole = schema.schema()
    for group in (whole, *whole["$defs"].values()):
        assert group["description"]
        assert all(field["description"] for field in group["properties"].values())


def test_whole_and_empty_reports_are_valid(validator, results):
    validator.validate(results)
    validator.validate(Report().to_json())


@pytest.mark.parametrize(
    ("group", "key", "value"),
    [
        ("draft", "acc", 55.2),
        ("draft", "n", 2.5),
        ("draft", "first_error_histogram", [[1, 2, 3]]),
        ("draft", "accuracy", 0.5),
        ("seconds", "student", "fast"),
        ("model", "base", 7),
    ],
)
def test_what_the_types_refuse_is_not_valid(validator, results, group, key, value):
    results[group][key] = value
    assert not validator.is_valid(results)
    with pytest.raises(ValueError, match=group):
        Report.from_json(results)
