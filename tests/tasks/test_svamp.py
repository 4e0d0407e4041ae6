"""SVAMP from a folder and through its TFDS builder, on made-up rows."""

import json
import shutil

import pytest

from glore_jax.errors import UserError
from glore_jax.tasks import svamp
from glore_jax.tasks.svamp import SvampTask


def row(i, **fields):
    return {
        "ID": f"made-{i}",
        "Body": f"A shelf holds {i} jars and {i} tins",
        "Question": "How many things does it hold?",
        "Equation": f"( {i}.0 + {i}.0 )",
        "Answer": 2.0 * i,
        "Type": "Addition",
        **fields,
    }


ROWS = [row(i) for i in range(100)]


def write(folder, rows):
    folder.mkdir(exist_ok=True)
    (folder / "SVAMP.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "svamp", ROWS)


def load(split, folder, /, **config):
    given = {"data_dir": str(folder), "dev_size": 20, "split": "rows", **config}
    return SvampTask(given).load(split)


def all_problems(folder, /, **config):
    return {p.id: p for split in SvampTask.splits for p in load(split, folder, **config)}


def test_rows_become_problems(tmp_path):
    rows = [
        row(1, Body=" Ten jars. "),
        row(2, Body="Ten jars!", Answer=2.5),
        row(3, Body="Ten jars", Answer="1,000"),
        *ROWS[4:],
    ]
    problems = all_problems(write(tmp_path / "svamp", rows))
    assert problems["svamp-made-1"].question == "Ten jars. How many things does it hold?"
    assert problems["svamp-made-2"].question == "Ten jars! How many things does it hold?"
    assert problems["svamp-made-3"].question == "Ten jars. How many things does it hold?"
    assert [problems[f"svamp-made-{i}"].gold for i in (1, 2, 3, 4)] == ["2", "2.5", "1000", "8"]
    assert {(p.solution, p.facts) for p in problems.values()} == {((), None)}


def test_worked_solutions_from_equations(tmp_path):
    """Rows whose equation does not come to their answer stay without one."""
    odd = row(3, Equation="( 1.0 + 1.0 )")
    folder = write(tmp_path / "svamp", [*ROWS[:3], odd, *ROWS[4:]])
    problems = all_problems(folder, worked="equation")
    assert problems["svamp-made-2"].solution == ("2 + 2 = <<2+2=4>>4", "#### 4")
    assert problems["svamp-made-3"].solution == ()
    with pytest.raises(UserError, match="task.worked is 'all': choose none or equation"):
        load("train", folder, worked="all")


def test_splits_are_disjoint_and_complete(folder):
    parts = {split: [p.id for p in load(split, folder)] for split in SvampTask.splits}
    assert {split: len(ids) for split, ids in parts.items()} == {"train": 50, "dev": 20, "test": 30}
    everyone = sorted(f"svamp-made-{i}" for i in range(100))
    assert sorted(id for ids in parts.values() for id in ids) == everyone


def test_splits_depend_on_ids_alone(folder, tmp_path):
    other = write(tmp_path / "other", [row(i, Body="Else", Answer=1) for i in reversed(range(100))])
    for split in SvampTask.splits:
        assert [p.id for p in load(split, folder)] == [p.id for p in load(split, other)]
    # Fixed by value: runs of different versions must agree on what a test problem is.
    first = ["svamp-made-61", "svamp-made-78", "svamp-made-15"]
    assert [p.id for p in load("test", folder, limit={"test": 3})] == first


def test_dev_is_taken_from_train_only(folder):
    test = load("test", folder)
    assert load("test", folder, dev_size=50) == test
    assert load("train", folder, dev_size=0) == load("train", folder) + load("dev", folder)


HEROES = ("Ann", "Bo", "Cem", "Dov", "Eli", "Fay", "Gus", "Hal", "Ida", "Jo")
THINGS = ("trees", "kites", "plums", "dogs", "coins")


@pytest.fixture
def told(tmp_path):
    """The rows of fifty stories, one to five variations of each."""
    bodies = (
        f"{hero}: {i} {things}"
        for hero in HEROES
        for number, things in enumerate(THINGS)
        for i in range(number + 1)
    )
    return write(tmp_path / "told", [row(i, Body=body) for i, body in enumerate(bodies)])


def stories(problems):
    return {tuple(w for w in p.question.split() if not w.isdigit()) for p in problems}


def test_no_two_splits_share_a_story(told):
    parts = {split: load(split, told, split="stories") for split in SvampTask.splits}
    assert sum(map(len, parts.values())) == 150
    # 105 rows train, 20 of these dev; a story that a boundary falls into is dev's.
    assert 20 <= len(parts["dev"]) < 20 + 5 + 5 and 45 - 5 < len(parts["test"]) <= 45
    told_in = [stories(problems) for problems in parts.values()]
    assert sum(map(len, told_in)) == len(set.union(*told_in)) == 50
    by_row = {split: load(split, told) for split in SvampTask.splits}
    assert len(stories(by_row["test"]) & stories(by_row["train"])) > 10
    # Within a split the rows of a story are spread, so that a limit takes several stories.
    assert len(stories(load("train", told, split="stories", limit={"train": 10}))) > 5


@pytest.mark.parametrize("split", ["stories", "rows"])
def test_a_problem_knows_its_story(told, tmp_path, split):
    problems = all_problems(told, split=split)
    by_story = {}
    for problem in problems.values():
        by_story.setdefault(problem.story, []).append(problem)
    assert len(by_story) == 50
    for name, variations in by_story.items():
        assert len(stories(variations)) == 1 and name in {p.id for p in variations}
    # A name is that of no place in the file.
    rows = json.loads((told / "SVAMP.json").read_text())
    turned = all_problems(write(tmp_path / "turned", rows[::-1]), split=split)
    assert {p.id: p.story for p in turned.values()} == {p.id: p.story for p in problems.values()}


def test_stories_are_divided_unless_the_config_says_rows(told):
    def ids(**config):
        given = {"data_dir": str(told), "dev_size": 20, **config}
        return [p.id for p in SvampTask(given).load("test")]

    assert ids() == ids(split="stories") != ids(split="rows")
    with pytest.raises(UserError, match="task.split is 'both': choose stories or rows or pub"):
        ids(split="both")


def test_rows_of_one_story_cannot_be_divided_by_stories(folder):
    with pytest.raises(UserError, match="the 100 rows tell only 1 stories: .*task.split=rows"):
        load("test", folder, split="stories")


def test_rows_that_are_divided_already(tmp_path):
    folder = tmp_path / "divided"
    folder.mkdir()
    for name, rows in (("train", ROWS[:70]), ("test", ROWS[70:])):
        (folder / f"{name}.json").write_text(json.dumps(rows))
    given = {"split": "published"}
    parts = {split: load(split, folder, **given) for split in SvampTask.splits}
    assert {split: len(problems) for split, problems in parts.items()} == {
        "train": 50,
        "dev": 20,
        "test": 30,
    }
    assert {p.id for p in parts["test"]} == {f"svamp-made-{i}" for i in range(70, 100)}
    # The same problems as those of the whole file, stories and all.
    whole = all_problems(write(tmp_path / "whole", ROWS))
    assert {p.id: p for problems in parts.values() for p in problems} == whole
    (folder / "test.json").write_text(json.dumps([ROWS[0]]))
    with pytest.raises(UserError, match="row 0: the ID 'made-0' stands there twice"):
        load("test", folder, **given)
    with pytest.raises(UserError, match="needs the divided rows: pass a folder with train.json"):
        load("test", "", **given)


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"Body": None}, "row 3: the field 'Body' is missing or empty"),
        ({"Question": ""}, "row 3: the field 'Question' is missing or empty"),
        ({"ID": None}, "row 3: the field 'ID' is missing or empty"),
        ({"Answer": True}, "row 3: the field 'Answer' is missing or empty"),
        ({"Answer": "many"}, "row 3: the field 'Answer' is not a number: 'many'"),
        ({"ID": "made-0"}, "row 3: the ID 'made-0' stands there twice"),
    ],
)
def test_malformed_rows_are_named(tmp_path, serve, bad, message):
    folder = write(tmp_path / "svamp", [*ROWS[:3], row(3, **bad), *ROWS[4:]])
    with pytest.raises(UserError, match=message) as e:
        load("train", folder)
    assert f"{folder}/SVAMP.json: " in str(e.value)


def test_malformed_rows_may_be_gathered(tmp_path):
    rows = [*ROWS[:3], row(3, Answer="many"), row(0), "text", *ROWS[4:]]
    faults = []
    task = SvampTask(
        {"data_dir": str(write(tmp_path / "svamp", rows)), "dev_size": 20, "split": "rows"}, faults
    )
    ids = {p.id for split in SvampTask.splits for p in task.load(split)}
    assert ids == {f"svamp-made-{i}" for i in range(100) if i != 3}
    assert [line.partition("SVAMP.json: ")[2] for line in faults] == [
        "row 3: the field 'Answer' is not a number: 'many'",
        "row 4: the ID 'made-0' stands there twice",
        "row 5: the field 'ID' is missing or empty",
    ]


def test_not_a_list_of_rows(tmp_path):
    message = r"SVAMP\.json: expected a JSON list of problems, found dict"
    with pytest.raises(UserError, match=message):
        load("train", write(tmp_path / "svamp", {"rows": ROWS}))
    with pytest.raises(UserError, match="row 0: the field 'ID' is missing"):
        load("train", write(tmp_path / "svamp", ["text"]))
    with pytest.raises(UserError, match=r"nowhere/SVAMP\.json: no such file"):
        load("train", tmp_path / "nowhere")
    with pytest.raises(UserError, match="no split 'valid'"):
        load("valid", tmp_path)


def test_optional_fields_may_be_absent(tmp_path, folder):
    rows = [{k: v for k, v in r.items() if k not in ("Equation", "Type")} for r in ROWS]
    assert all_problems(write(tmp_path / "less", rows)) == all_problems(folder)


def test_tfds_prepares_once_and_gives_the_same_problems(folder, tmp_path, serve):
    config = {"url": serve(folder) + "/SVAMP.json", "tfds_dir": tmp_path / "tfds"}
    expected = all_problems(folder)
    assert load("test", "", **config) == load("test", folder)
    shutil.rmtree(folder)  # from here on the data can come from the prepared files only
    assert all_problems("", **config) == expected


def test_tfds_keeps_urls_apart(folder, tmp_path, serve):
    other = write(tmp_path / "other", [row(i, Answer=7) for i in range(100)])
    for source, gold in ((folder, None), (other, "7")):
        problems = load("dev", "", url=serve(source) + "/SVAMP.json", tfds_dir=tmp_path / "tfds")
        assert ({p.gold for p in problems} == {"7"}) is (gold == "7")


def test_tfds_names_a_malformed_row(tmp_path, serve):
    folder = write(tmp_path / "svamp", [*ROWS[:3], row(3, Answer="many")])
    with pytest.raises(UserError, match="row 3: the field 'Answer' is not a number"):
        load("train", "", url=serve(folder) + "/SVAMP.json", tfds_dir=tmp_path / "tfds")


def test_failed_download_says_to_pass_a_folder(tmp_path, serve, no_retries):
    message = r"svamp_glore: .*404.*; pass a folder .* --config\.task\.data_dir"
    with pytest.raises(UserError, match=message):
        load("train", "", url=serve(tmp_path) + "/SVAMP.json", tfds_dir=tmp_path / "tfds")


def test_published_url_is_the_default(monkeypatch):
    asked = []

    def read(make_builder, split, advice):
        asked.append(make_builder())
        return []

    monkeypatch.setattr(svamp.tfds_source, "read", read)
    with pytest.raises(UserError):
        SvampTask({}).load("train")
    assert asked[0]._url == svamp.PUBLISHED_URL
