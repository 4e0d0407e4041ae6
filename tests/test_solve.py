"""One question through a finished run: what a person sees is what the evaluation stored for it."""

import dataclasses
import gc
import re
import shutil
import subprocess
import sys

import finished_run
import jax
import pytest

from glore_jax import parquet, solve, storage
from glore_jax.parallel import program_cache
from glore_jax.stages import models


@dataclasses.dataclass
class Case:
    """A test question: its records of the stage `evaluate`, and what the command says about it."""

    draft: dict
    refined: dict
    sorm: list
    flagged: int | None
    lines: list


@pytest.fixture(scope="module")
def case(finished, tmp_path_factory) -> Case:
    def records(name):
        return parquet.read_records(finished / "evaluate" / "test" / name)

    drafts, scores = records("drafts"), [r["scores"] for r in records("scores/sorm")]
    mark = storage.read_json(finished / "evaluate" / "choices.json")["mark"]["sorm"]["value"]

    def telling(i):
        """First a draft of which a later step is flagged, then one of which the first one is."""
        return min(scores[i]) <= mark, scores[i][0] > mark

    index = max(range(len(drafts)), key=telling)
    flagged = next((i for i, s in enumerate(scores[index]) if s <= mark), None)
    draft = drafts[index]
    refined = {
        r["bad"]: r["steps"]
        for r in records("refinements")
        if r["question_id"] == draft["question_id"]
    }
    lines = ask(finished, draft["question"], tmp_path_factory.mktemp("solve"))
    return Case(draft, refined, scores[index], flagged, lines)


def ask(finished, question, folder):
    """The lines that the command prints for a question in a file, over two lines."""
    words = question.split()
    file = folder / "question.txt"
    file.write_text(" ".join(words[:5]) + "\n  " + " ".join(words[5:]) + "\n")
    arguments = (f"--workdir={finished}", f"--question-file={file}")
    cache = finished.parent / "compiled"
    with open(folder / "out.txt", "w") as log, open(folder / "err.txt", "w") as errors:
        process = finished_run.start("solve", *arguments, cache=cache, log=log, errors=errors)
        code = process.wait(timeout=300)
    assert code == 0, (folder / "err.txt").read_text()
    return (folder / "out.txt").read_text().splitlines()


def section(lines, name):
    """(ORM score, is it chosen, lines) of the draft or a refinement."""
    (start,) = (i for i, line in enumerate(lines) if line.startswith(f"{name} "))
    score = re.match(rf"{name} +ORM (\d\.\d\d)( <- chosen)?", lines[start])
    body = []
    if "the draft itself" not in lines[start]:
        body = lines[start + 1 : lines.index("", start)]
    return float(score[1]), bool(score[2]), body


def test_the_question_is_read_from_a_file(case):
    assert f"question  {case.draft['question']}" in case.lines


def test_the_draft_has_the_score_of_each_step(case):
    _, _, body = section(case.lines, "draft")
    expected = [
        ("[BAD] " if i == case.flagged else "") + step for i, step in enumerate(case.draft["steps"])
    ]
    assert [line.split(None, 1)[1] for line in body] == expected
    assert [float(line.split()[0]) for line in body] == pytest.approx(case.sorm, abs=0.0051)


def test_refinements_are_those_of_the_evaluation(case):
    found = {
        name: [line.strip() for line in section(case.lines, name)[2]]
        for name in ("global", "local")
    }
    assert found["global"] == case.refined[0]
    assert found["local"] == ([] if case.flagged is None else case.refined[case.flagged])


def test_the_best_score_is_chosen_and_answers(case, finished):
    scores = {name: section(case.lines, name) for name in ("draft", "global", "local")}
    (chosen,) = (name for name, (_, is_chosen, _) in scores.items() if is_chosen)
    assert scores[chosen][0] == max(score for score, _, _ in scores.values())
    body = scores[chosen][2] or scores["draft"][2]
    # A solution that was cut off may end without an answer.
    answer = body[-1].partition("####")[2].strip() or "none"
    assert case.lines[-1] == f"answer    {answer}"


DRAFT = ["2+3", "=6", "#### 6"]
SOLVED = solve.Solved(
    question="2+3?",
    sorm=[0.9, 0.4, 0.2],
    bad=1,
    texts={"draft": DRAFT, "global": ["#### 5"], "local": ["2+3", "#### 5"]},
    scores={"draft": 0.1, "global": 0.5, "local": 0.75},
    choice="local",
    answer="5",
)


def test_show():
    assert solve.show(SOLVED) == (
        "question  2+3?\n\n"
        "draft     ORM 0.10\n    0.90  2+3\n    0.40  [BAD] =6\n    0.20  #### 6\n\n"
        "global    ORM 0.50\n          #### 5\n\n"
        "local     ORM 0.75 <- chosen\n          2+3\n          #### 5\n\n"
        "answer    5"
    )


def test_show_when_no_step_is_flagged():
    texts = SOLVED.texts | {"local": DRAFT}
    solved = dataclasses.replace(SOLVED, bad=-1, choice="draft", answer=None, texts=texts)
    lines = solve.show(solved).splitlines()
    assert lines.count("    0.90  2+3") == 1 and "[BAD]" not in "".join(lines)
    assert lines[-2:] == [
        "local     ORM 0.75 (no step is flagged: the draft itself)",
        "answer    none",
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((), "the following arguments are required: --workdir"),
        (("--workdir=w",), "one of the arguments --question --question-file is required"),
        (
            ("--workdir=w", "--question=a", "--question-file=b"),
            "argument --question-file: not allowed with argument --question",
        ),
        (("--workdir=w", "--question= \n"), "the question is empty"),
        (
            ("--workdir=w", "--question-file=none.txt"),
            "cannot read none.txt: no such file or folder",
        ),
        (("--workdir=w", "--question=2+3?", "more"), "unrecognized arguments: more"),
        (
            ("--workdir=w", "--question=2+3?"),
            "w is not a work directory (no config.json): run glore_jax.main first",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert solve.main(list(arguments)) == 2
    assert capsys.readouterr() == ("", f"glore: error: {message}\n")


def test_one_model_at_a_time(finished, monkeypatch):
    held = []

    def loading(load):
        def loaded(*arguments, **options):
            held.append(sum(array.nbytes for array in jax.live_arrays()) - before)
            return load(*arguments, **options)

        return loaded

    gc.collect()
    before = sum(array.nbytes for array in jax.live_arrays())
    for name in ("load_policy", "load_reward"):
        monkeypatch.setattr(models, name, loading(getattr(models, name)))
    monkeypatch.setattr(program_cache, "enable", lambda: None)  # of this process for good
    gc.disable()  # at whatever moment it would come
    try:
        solve.solve(finished, "Ben has 2 pies and 3 pens.")
    finally:
        gc.enable()
    size = (finished / "student" / "hf" / "model.safetensors").stat().st_size
    assert len(held) == 4 and max(held) < size / 10, held


def test_a_mistake_is_told_before_jax_is_imported():
    code = "import sys; from glore_jax import solve; solve.main([]); sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_candidates_that_the_config_adds(finished, tmp_path):
    """A run whose system also votes over backtracks, a second suspect and samples."""
    work = tmp_path / "work"
    work.mkdir()
    for stage in ("student", "orm", "sorm", "refiner"):
        (work / stage).symlink_to(finished / stage)
    (work / "evaluate").mkdir()
    described = storage.read_json(finished / "config.json")
    fields = {"suspects": 2, "backtrack": 2, "extra_samples": 1, "choose": "combination"}
    described["config"]["evaluate"].update(fields)
    storage.write_json(work / "config.json", described)
    chosen = storage.read_json(finished / "evaluate" / "choices.json")
    chosen["choose"] = "combination"
    chosen["combination"] = {"weights": {"orm": 1.0, "sorm": 0.5, "loglik": 0.1}}
    chosen["mark"]["sorm"]["value"] = 1.0  # every first step is marked
    storage.write_json(work / "evaluate" / "choices.json", chosen)
    solved = solve.solve(work, "Ben has 2 pies and 3 pens. How many things does Ben have?")
    assert list(solved.texts) == [
        "draft",
        "global",
        "local",
        "local_2",
        "backtrack_1",
        "backtrack_2",
        "sample_1",
    ]
    assert solved.bad == 0 and solved.texts["local"] == solved.texts["global"]
    assert solved.scores.keys() == solved.texts.keys() and solved.choice in solved.texts
    lines = solve.show(solved).splitlines()
    assert any(line.startswith("backtrack_2 ORM 0.") for line in lines)


def test_a_run_that_has_chosen_nothing_is_told(finished, tmp_path, capsys):
    for stage in ("student", "orm", "sorm", "refiner"):
        (tmp_path / stage).symlink_to(finished / stage)
    shutil.copy(finished / "config.json", tmp_path)
    assert solve.main([f"--workdir={tmp_path}", "--question=2+3?"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"{tmp_path}/evaluate/choices.json is not there" in message


@pytest.mark.parametrize("missing", ["student", "refiner"])
def test_an_unfinished_run_is_named(finished, tmp_path, missing, capsys):
    shutil.copy(finished / "config.json", tmp_path)
    for stage in {"student", "orm", "sorm", "refiner"} - {missing}:
        (tmp_path / stage / "hf").mkdir(parents=True)
        (tmp_path / stage / "hf" / "config.json").touch()
    assert solve.main([f"--workdir={tmp_path}", "--question=2+3?"]) == 2
    message = f"{tmp_path} has no finished {missing}: run glore_jax.main on it first"
    assert capsys.readouterr() == ("", f"glore: error: {message}\n")
