"""The audit of a data set, on made-up and on broken files."""

import json
import pathlib
import subprocess
import sys

import pytest
from ml_collections import ConfigDict

from glore_jax.tasks import audit, registry
from glore_jax.tasks.audit import Numbers

ROOT = pathlib.Path(__file__).parent.parent.parent


def row(question, *steps):
    return {"question": question, "answer": "\n".join(steps)}


PLUMS = "Ida picks {} plums and Ole picks {} plums in the garden. How many plums is that?"
TRAIN = [
    row(PLUMS.format(2, 3), "2+3 = <<2+3=5>>5", "#### 5"),
    row("Ole has 17 cups. Half of them are red, half blue.", "17*0.5 = 8", "8 are red", "#### 8"),
    # 7 is written and not used.
    row("Mia has four jars.", "3 + 4 = 7", "So there are 2 * 2 = 4", "#### 4"),
    row("Who has half?", "Nobody knows.", "#### 1/2"),
    row("Why?", "#### 1"),
]
TEST = [
    row(PLUMS.format(2, 30), "2+30 = 32", "#### 32"),
    row("MIA has  four jars.", "#### 4"),
    row("Where is the pen?", "#### -1"),
    row("Where is the pen?", "#### 2"),
]


@pytest.fixture
def folder(tmp_path):
    for file, rows in (("train", TRAIN), ("test", TEST)):
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return tmp_path


def look(folder, name="gsm8k", **fields):
    config = {"name": name, "data_dir": str(folder), "dev_size": 1, **fields}
    return audit.audit(registry.make_task(ConfigDict(config), faults=[]))


def test_figures_of_a_split(folder):
    found = look(folder)
    train, dev, test = found.splits.values()
    assert (train.rows, dev.rows, test.rows, train.stories) == (4, 1, 4, 4)
    assert train.steps == Numbers(1.5, 2) and dev.steps == Numbers(0.0, 0)
    assert dev.words == Numbers(1.0, 1)
    assert (train.odd, dev.odd, test.odd) == (1, 0, 1)
    assert (train.false_steps, train.no_result) == (1, 1)
    assert (train.inconsistent, train.prefixes, train.inconsistent_solutions) == (1, 6, 1)
    assert (train.unsolved, train.graded_wrong, test.repeated) == (0, 0, 1)
    assert found.false == [("gsm8k-train-00001", "17*0.5 = 8")]
    assert found.faults == [] and found.unread == {}


def test_questions_that_stand_in_two_splits(folder):
    found = look(folder)
    test = found.splits["test"]
    assert (test.same, test.near, test.shared_story) == (1, 2, 0)
    (best, mia, third), (likeness, plums, first) = found.pairs
    assert (best, mia, third) == (1.0, "gsm8k-test-00001", "gsm8k-train-00002")
    assert (plums, first) == ("gsm8k-test-00000", "gsm8k-train-00000") and 0.8 < likeness < 1
    assert found.splits["train"].near == found.splits["dev"].near == 0


def test_broken_rows_are_counted_and_named(folder):
    with (folder / "test.jsonl").open("a") as file:
        file.write('{"question": "Why?", "answer": "It is 5."}\n{"question"\n[]\n')
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"answer": "#### 5"}\n')
    found = look(folder)
    assert [f.rows for f in found.splits.values()] == [4, 1, 4]
    assert len(found.faults) == 4
    shown = audit.screen(found)
    assert "4 malformed rows" in shown
    assert f"malformed: {folder}/train.jsonl:6: the field 'question' is missing" in shown


def test_a_split_that_cannot_be_read(folder):
    (folder / "test.jsonl").unlink()
    found = look(folder)
    assert list(found.splits) == ["train", "dev"]
    assert "test.jsonl: no such file" in found.unread["test"]
    assert "cannot be read: " in audit.screen(found)
    (folder / "train.jsonl").unlink()
    assert look(folder).splits == {} and "no such file" in audit.screen(look(folder))


def test_a_data_set_without_solutions(tmp_path):
    rows = [
        {"ID": i, "Body": f"There are {i} {word}s", "Question": "How many?", "Answer": i}
        for i, word in enumerate(["cat", "cat", "dog", "cow", "pig", "hen", "fox", "owl", "ant"])
    ]
    (tmp_path / "SVAMP.json").write_text(json.dumps(rows))
    found = look(tmp_path, "svamp", split="rows", worked="none")
    assert sum(f.rows for f in found.splits.values()) == 9
    assert all(f.unsolved == f.rows for f in found.splits.values())
    assert all(f.stories == 1 for f in found.splits.values())
    shared = [f.shared_story for f in found.splits.values()]
    assert shared == [0, found.splits["dev"].rows, found.splits["test"].rows]


def test_one_screen(folder):
    lines = audit.screen(look(folder)).splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= 100


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "glore_jax.tasks.audit", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command(folder):
    (folder / "train.jsonl").write_text("{\n")
    config = "--config=configs/gsm8k_llama2_7b.py"
    done = command(config, f"--config.task.data_dir={folder}", "--config.task.dev_size=1")
    assert done.returncode == 2 and "1 malformed rows" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("glore: error: a run would stop at what is")
    wrong = command()
    assert wrong.returncode == 2 and wrong.stderr.endswith("--config=configs/NAME.py is needed\n")
