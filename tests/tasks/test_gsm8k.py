"""GSM8K from a folder and through TFDS, on made-up rows."""

import itertools
import json

import pytest
from tensorflow_datasets.text.gsm8k import gsm8k as catalog

from glore_jax.errors import UserError
from glore_jax.tasks.gsm8k import Gsm8kTask


def row(a, b):
    steps = [
        f"They pick {a}+{b} = <<{a}+{b}={a + b}>>{a + b} plums.",
        "None is eaten, so all are left.",
        f"#### {a + b:,}",
    ]
    return {
        "question": f"Ida picks {a} plums and Ole {b}. How many is that?",
        "answer": "\n".join(steps),
    }


TRAIN = [row(i, 900 + i) for i in range(60)]
TEST = [row(i, i) for i in range(7)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "gsm8k"
    folder.mkdir()
    for file, rows in (("train", TRAIN), ("test", TEST)):
        (folder / f"{file}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def urls(site):
    return {file: f"{site}/{file}.jsonl" for file in ("train", "test")}


def load(split, folder, **config):
    return Gsm8kTask({"data_dir": str(folder), "dev_size": 10, **config}).load(split)


def test_rows_become_problems(folder):
    problem = load("train", folder)[41]
    assert problem.id == "gsm8k-train-00041"
    assert problem.question == "Ida picks 41 plums and Ole 941. How many is that?"
    assert problem.solution == (
        "They pick 41+941 = <<41+941=982>>982 plums.",
        "None is eaten, so all are left.",
        "#### 982",
    )
    assert problem.gold == "982" and problem.facts is None


def test_every_gold_grades_its_own_solution_only(folder):
    task = Gsm8kTask({"data_dir": folder, "dev_size": 10})
    problems = task.load("train")
    assert problems[-1].gold == "998" and task.load("dev")[-1].gold == "1,018"  # with its comma
    for a, b in itertools.pairwise(problems):
        assert task.grade(a.solution, a.gold) and not task.grade(a.solution, b.gold)


def test_splits_share_no_problem_and_leave_none_out(folder):
    parts = {split: [p.id for p in load(split, folder)] for split in Gsm8kTask.splits}
    assert parts["train"] == [f"gsm8k-train-{i:05d}" for i in range(50)]
    assert parts["dev"] == [f"gsm8k-train-{i:05d}" for i in range(50, 60)]
    assert parts["test"] == [f"gsm8k-test-{i:05d}" for i in range(7)]


def test_ids_do_not_depend_on_limits_or_dev_size(folder):
    whole = {p.id: p for split in ("train", "dev") for p in load(split, folder)}
    for problem in load("dev", folder, dev_size=30, limit={"dev": 4}):
        assert whole[problem.id] == problem
    assert len(load("dev", folder, dev_size=30, limit={"dev": 4})) == 4


def test_default_dev_size_needs_enough_rows(folder):
    with pytest.raises(UserError, match=r"task\.dev_size = 256: .* 60 training rows"):
        Gsm8kTask({"data_dir": folder}).load("train")


NO_ANSWER_LINE = "does not end with a line '#### NUMBER'"


@pytest.mark.parametrize(
    "line, message",
    [
        ('{"question": "Why?"}', "the field 'answer' is missing"),
        ('{"question": " ", "answer": "#### 1"}', "the field 'question' is missing"),
        ('{"question": "Why?", "answer": 5}', "the field 'answer' is missing or not a text"),
        ('{"question": "Why?", "answer": "It is 5."}', NO_ANSWER_LINE),
        ('{"question": "Why?", "answer": "#### 5\\nDone."}', NO_ANSWER_LINE),
        ('{"question": "Why?", "answer": "#### five"}', NO_ANSWER_LINE),
        ('{"question": "Why?"', "not valid JSON"),
        ('["Why?"]', "expected a JSON object"),
    ],
)
def test_malformed_rows_are_named_by_file_and_line(folder, line, message):
    with (folder / "test.jsonl").open("a") as f:
        f.write("\n" + line + "\n")
    with pytest.raises(UserError, match=message) as e:
        load("test", folder)
    assert f"{folder}/test.jsonl:9: " in str(e.value)


def test_malformed_rows_may_be_gathered(folder):
    with (folder / "train.jsonl").open("a") as f:
        f.write('{"question": "Why?"}\n["Why?"]\n{"question"\n' + json.dumps(row(1, 2)) + "\n")
    faults = []
    task = Gsm8kTask({"data_dir": str(folder), "dev_size": 10}, faults)
    problems = task.load("train") + task.load("dev")  # one file: each fault is told once
    assert len(problems) == 61
    assert [line.partition("train.jsonl:")[2] for line in faults] == [
        "61: the field 'answer' is missing or not a text",
        "62: expected a JSON object, found list",
        "63: not valid JSON: " + faults[2].partition("not valid JSON: ")[2],
    ]


def test_missing_file_empty_file_unknown_split(folder):
    (folder / "test.jsonl").write_text("\n")
    with pytest.raises(UserError, match="task gsm8k: split 'test' is empty"):
        load("test", folder)
    (folder / "test.jsonl").unlink()
    with pytest.raises(UserError, match=r"test\.jsonl: no such file"):
        load("test", folder)
    with pytest.raises(UserError, match="no split 'valid'"):
        load("valid", folder)


def test_tfds_gives_the_same_problems_in_the_same_order(folder, tmp_path, serve, monkeypatch):
    monkeypatch.setattr(catalog, "_URLS", urls(serve(folder)))
    for split in Gsm8kTask.splits:
        through_tfds = load(split, "", tfds_dir=tmp_path / "tfds")
        assert through_tfds == load(split, folder)


def test_tfds_names_a_malformed_row(folder, tmp_path, serve, monkeypatch):
    bad = '{"question": "Why?", "answer": "#### x"}'
    (folder / "train.jsonl").write_text(f"{json.dumps(TRAIN[0])}\n{bad}\n")
    monkeypatch.setattr(catalog, "_URLS", urls(serve(folder)))
    with pytest.raises(UserError, match="TFDS gsm8k train row 1: the field 'answer'"):
        load("train", "", tfds_dir=tmp_path / "tfds")


def test_failed_download_says_to_pass_a_folder(tmp_path, serve, no_retries, monkeypatch):
    url = serve(tmp_path)
    monkeypatch.setattr(catalog, "_URLS", {"train": f"{url}/none.jsonl"})
    message = r"gsm8k_in_order: .*; pass a folder .* --config\.task\.data_dir"
    with pytest.raises(UserError, match=message):
        load("train", "", tfds_dir=tmp_path / "tfds")
