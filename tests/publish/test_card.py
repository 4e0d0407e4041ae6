"""The card says what the work directory says, and nothing else."""

import pytest
import yaml

from glore_jax.errors import UserError
from glore_jax.publish import card

REPORT = {
    "refine": {
        "global": {"fix_rate": 0.25, "n_wrong": 40, "break_rate": 0.125, "n_right": 60},
        "local_sorm": {"fix_rate": None, "n_wrong": 40},
    },
    "about": {"base": "A model that has read the web."},
}


def front_of(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card(tmp_path, write_facts, hub_server):
    write_facts(tmp_path, "refiner", report=REPORT, base="hf://some-org/base@v1")
    text = card.text_of(card.read_facts(tmp_path, "refiner"))
    assert front_of(text) == {
        "library_name": "transformers",
        "tags": ["glore", "refiner"],
        "base_model": "some-org/base",
    }
    for line in (
        "# base: refiner, trained as in GLoRe",
        "The base: A model that has read the web.",
        "| licence of the base | not named in its folder: find out before you pass this model on |",
        "| wrong drafts put right, whole | 0.250 of 40 |",
        "| right drafts spoilt, whole | 0.125 of 60 |",
        "- few drafts",
        "| commit of glore_jax | abc |",
        "| `train.lr` | `0.001` |",
    ):
        assert line in text.splitlines(), line
    assert "SORM's mark" not in text  # of which nothing is known


def test_without_a_report(tmp_path, write_facts):
    write_facts(tmp_path, "student")
    text = card.text_of(card.read_facts(tmp_path, "student"))
    assert "The run has not been evaluated." in text and "The base:" not in text


@pytest.mark.parametrize(
    ("front", "found"),
    [
        ("---\nlicense: apache-2.0\n---\n# Base", "apache-2.0"),
        ("---\nlicense: [a, b]\n---\n", None),
        ("---\nno: [\n---\n", None),
        ("# Base\nlicense: mit", None),
    ],
)
def test_the_licence_is_that_of_the_base(tmp_path, front, found, write_facts):
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text(front)
    write_facts(tmp_path / "work", "orm", base=str(base))
    facts = card.read_facts(tmp_path / "work", "orm")
    assert facts.license == found
    said = front_of(card.text_of(facts))
    assert said.get("license") == found and "base_model" not in said


def test_a_stage_that_has_not_ended(tmp_path, write_facts):
    write_facts(tmp_path, "sorm", done=False)
    for stage in ("sorm", "orm"):
        with pytest.raises(UserError, match=f"the stage {stage} has not ended"):
            card.read_facts(tmp_path, stage)
