"""SVAMP, the paper's second task: 1000 short word problems without worked solutions.

The rows come from a folder with the published `SVAMP.json` (`config.data_dir`), or, without one,
from a TFDS builder of ours (the catalog has none) that downloads the same file from `config.url`.
Both give the same problems under the same ids.

The paper does not say how it splits SVAMP, and the authors publish one file. What is done is a
choice, `config.split`. Ranked by a hash of the IDs, the first 70 % train and the rest test:

    stories    whole stories, so that no split knows one of another's. The rows are variations of
               about a hundred stories (`SHARED_WORDS`). Splits are a few rows larger or smaller.
    rows       each row by itself: 700 of the 1000 rows train. Nearly every test row is then a
               variation of one that was trained on.

Or as somebody has divided them:

    published  the folder has a train.json and a test.json instead, each in the form of SVAMP.json:
               the copy on the Hugging Face hub is of 700 and 300 rows.

The last `config.dev_size` training rows of the ranking are held out as dev.

Either way every problem knows its story.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError, refuse
from glore_jax.tasks import equations, grading, stories, tfds_source
from glore_jax.tasks.base import Problem, Task

PUBLISHED_URL = "https://raw.githubusercontent.com/arkilpatel/SVAMP/main/SVAMP.json"
TRAIN_SHARE = (7, 10)  # 7 of 10
SPLITTINGS = ("stories", "rows", "published")
# Rows that have half of their words in common tell one story: 108 stories of the 1,000 published
# rows, the largest of 32 rows.
SHARED_WORDS = 0.5

_ADVICE = "pass a folder with the published SVAMP.json as --config.task.data_dir"
_FIELDS = ("ID", "Body", "Question", "Equation", "Answer", "Type")
_NEEDED = ("ID", "Body", "Question", "Answer")


def read_rows(
    file: epath.PathLike,
    fault: Callable[[str], None] = refuse,
    seen: set[str] | None = None,
) -> list[dict[str, str]]:
    """The rows of a published `SVAMP.json`, all `_FIELDS` as texts.

    `seen`: IDs of other files, to which those of this one are added. `fault`: what is told of each
    malformed row, with file, row (from 0) and field, before it is passed over.
    """
    rows = storage.read_json(file)
    if not isinstance(rows, list):
        raise UserError(f"{file}: expected a JSON list of problems, found {type(rows).__name__}")
    seen = set() if seen is None else seen
    found = []
    for i, row in enumerate(rows):
        wrong = _wrong(row, seen)
        if not wrong:
            seen.add(str(row["ID"]))
            found.append({field: str(row.get(field, "")).strip() for field in _FIELDS})
        else:
            fault(f"{file}: row {i}: {wrong}")
    return found


def _wrong(row: Any, seen: set[str]) -> str:
    """What is malformed in a row, with its field; empty if nothing is. `seen`: the IDs before."""
    for field in _NEEDED:
        value = row.get(field) if isinstance(row, dict) else None
        # A boolean is an `int` in Python, but none of these fields may be one.
        is_value = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not is_value or not str(value).strip():
            return f"the field '{field}' is missing or empty"
    if grading.parse_number(str(row["Answer"])) is None:
        return f"the field 'Answer' is not a number: {row['Answer']!r}"
    if str(row["ID"]) in seen:
        return f"the ID {row['ID']!r} stands there twice"
    return ""


class Svamp(tfds.core.GeneratorBasedBuilder):
    """TFDS builder of one `SVAMP.json` at a URL: one split, `problems`, every field a text.

    The builder's config name stands for the URL: data prepared from one are never taken for those
    of another.
    """

    name = "svamp_glore"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, *, url: str = PUBLISHED_URL, **kwargs: Any):
        self._url = url
        config = tfds.core.BuilderConfig(
            name=f"url_{storage.fingerprint(url)}", description=f"SVAMP.json of {url}"
        )
        super().__init__(config=config, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=(
                "Simple Variations on Arithmetic Math word Problems (Patel et al., NAACL 2021)."
            ),
            features=tfds.features.FeaturesDict({field: tfds.features.Text() for field in _FIELDS}),
            homepage="https://github.com/arkilpatel/SVAMP",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        return {"problems": self._generate_examples(dl_manager.download(self._url))}

    def _generate_examples(self, file: epath.Path) -> Iterator[tuple[int, dict[str, str]]]:
        yield from enumerate(read_rows(file))


class SvampTask(Task):
    """SVAMP. Reads of `config` these fields; ids are `svamp-<published ID>`.

    `data_dir`: folder with the published file, or empty for TFDS. `url`: what TFDS downloads, or
    empty for the authors' copy. `tfds_dir`: where TFDS keeps its data, or empty for its default.
    `worked`: "none", as the paper has it, or "equation": solutions made of the published equations.
    `split`: what is divided, one of `SPLITTINGS`. `dev_size` (100); `limit.<split>` (0 = all).
    """

    name = "svamp"
    splits = ("train", "dev", "test")

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, ordered by a hash of their ID; errors as in `Task.load`."""
        self._check_split(split)
        worked = self.config.get("worked") or "none"
        if worked not in ("none", "equation"):
            raise UserError(f"task.worked is {worked!r}: choose none or equation")
        rows, tests = self._rows()
        told = stories.stories_of([row["Body"] for row in rows], SHARED_WORDS)
        names = _story_names(rows, told)
        problems = [
            _problem(row, worked == "equation", name) for row, name in zip(rows, names, strict=True)
        ]
        if tests is not None:
            cut = len(problems) - tests
            parts = self._divided(problems[:cut], problems[cut:])
            return self._take(sorted(parts[split], key=_rank), split)
        groups = list(range(len(told))) if self._split() == "rows" else told
        parts = self._divide(problems, groups)
        if problems and not parts[split]:
            raise UserError(
                f"task svamp: nothing is left for {split}, as the {len(rows)} rows tell only "
                f"{len(set(told))} stories: lower task.dev_size, or take task.split=rows"
            )
        return self._take(sorted(parts[split], key=_rank), split)

    def _split(self) -> str:
        splitting = self.config.get("split") or SPLITTINGS[0]
        if splitting not in SPLITTINGS:
            raise UserError(f"task.split is {splitting!r}: choose {' or '.join(SPLITTINGS)}")
        return splitting

    def _divided(self, train: list[Problem], test: list[Problem]) -> dict[str, list[Problem]]:
        """The problems of each split where they are divided into two already."""
        train, dev = self._hold_out(sorted(train, key=_rank), default=100)
        return {"train": train, "dev": dev, "test": test}

    def _divide(self, problems: list[Problem], groups: list[int]) -> dict[str, list[Problem]]:
        """The problems of each split; those of a group are in one.

        A group that a boundary falls into goes to dev rather than to test, and to dev rather than
        to train.
        """
        first: dict[int, bytes] = {}  # group -> the smallest rank in it
        for problem, group in zip(problems, groups, strict=True):
            first[group] = min(first.get(group, _rank(problem)), _rank(problem))
        order = sorted(range(len(problems)), key=lambda i: (first[groups[i]], _rank(problems[i])))
        # Places in that order where a group begins, and its end.
        begins = [at for at, i in enumerate(order) if at == 0 or groups[order[at - 1]] != groups[i]]
        begins.append(len(order))
        share = len(order) * TRAIN_SHARE[0] // TRAIN_SHARE[1]
        first_test = next(at for at in begins if at >= share)
        first_dev = first_test - self._dev_size(first_test, default=100)
        first_dev = max(at for at in begins if at <= first_dev)
        ranked = [problems[i] for i in order]
        return {
            "train": ranked[:first_dev],
            "dev": ranked[first_dev:first_test],
            "test": ranked[first_test:],
        }

    def _rows(self) -> tuple[list[dict[str, str]], int | None]:
        """The rows, and how many at their end are those of a published test split; None: they are
        not divided."""
        folder = self.config.get("data_dir")
        if self._split() == "published":
            if not folder:
                raise UserError(
                    "task.split=published needs the divided rows: pass a folder with train.json "
                    "and test.json as --config.task.data_dir"
                )
            seen: set[str] = set()
            train, test = (
                read_rows(storage.path(folder) / f"{name}.json", self._fault, seen)
                for name in ("train", "test")
            )
            return train + test, len(test)
        if folder:
            return read_rows(storage.path(folder) / "SVAMP.json", self._fault), None

        def make_builder() -> Svamp:
            return Svamp(
                url=self.config.get("url") or PUBLISHED_URL,
                data_dir=self.config.get("tfds_dir") or None,
                file_format=tfds_source.FILE_FORMAT,
            )

        return tfds_source.read(make_builder, "problems", _ADVICE), None


def _rank(problem: Problem) -> bytes:
    return _rank_of(problem.id)


def _rank_of(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()


def _id(row: dict[str, str]) -> str:
    return f"svamp-{row['ID']}"


def _story_names(rows: list[dict[str, str]], told: list[int]) -> list[str]:
    """For each row the id of the first of its story in the order of the ranks.

    So a name does not depend on the order of the rows. `told`: a number for each row, equal ones
    for rows of one story.
    """
    first: dict[int, str] = {}
    for row, story in zip(rows, told, strict=True):
        first[story] = min(first.get(story, _id(row)), _id(row), key=_rank_of)
    return [first[story] for story in told]


def _problem(row: dict[str, str], worked: bool, story: str) -> Problem:
    body = row["Body"]
    if body[-1] not in ".?!":
        body += "."
    gold = row["Answer"]
    value = grading.parse_number(gold)
    if value is not None and value.denominator == 1:
        gold = str(value.numerator)  # the file has 51.0 where 51 is meant
    solution = equations.solution_of(row["Equation"], gold) if worked else ()
    question = f"{body} {row['Question']}"
    return Problem(_id(row), question, gold, solution, variation_of=story)
