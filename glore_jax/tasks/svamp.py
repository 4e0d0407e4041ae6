"""SVAMP, the paper's second task: 1000 short word problems without worked solutions.

The rows come from a folder with the published `SVAMP.json` (`config.data_dir`), or, without one,
from a TFDS builder of ours (the catalog has none) that downloads the same file from `config.url`.
Both give the same problems under the same ids.

The paper does not say how it splits SVAMP. Ours: rows ranked by a hash of their ID, the first 70 %
train (700 of the 1000 published rows) and the rest test (300); the last `config.dev_size` training
rows of that ranking are held out as dev. Neighbouring rows of SVAMP are often variations of one
story, so stories, though not problems, are shared by the splits.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.tasks import equations, grading, tfds_source
from glore_jax.tasks.base import Problem, Task

PUBLISHED_URL = "https://raw.githubusercontent.com/arkilpatel/SVAMP/main/SVAMP.json"
TRAIN_SHARE = (7, 10)  # 7 of 10

_ADVICE = "pass a folder with the published SVAMP.json as --config.task.data_dir"
_FIELDS = ("ID", "Body", "Question", "Equation", "Answer", "Type")
_NEEDED = ("ID", "Body", "Question", "Answer")


def read_rows(file: epath.PathLike) -> list[dict[str, str]]:
    """The rows of a published `SVAMP.json`, all `_FIELDS` as texts.

    UserError naming file, row (from 0) and field if one is missing or malformed.
    """
    rows = storage.read_json(file)
    if not isinstance(rows, list):
        raise UserError(f"{file}: expected a JSON list of problems, found {type(rows).__name__}")
    seen = set()
    for i, row in enumerate(rows):
        for field in _NEEDED:
            value = row.get(field) if isinstance(row, dict) else None
            # A boolean is an `int` in Python, but none of these fields may be one.
            is_value = isinstance(value, str | int | float) and not isinstance(value, bool)
            if not is_value or not str(value).strip():
                raise UserError(f"{file}: row {i}: the field '{field}' is missing or empty")
        if grading.parse_number(str(row["Answer"])) is None:
            raise UserError(
                f"{file}: row {i}: the field 'Answer' is not a number: {row['Answer']!r}"
            )
        if row["ID"] in seen:
            raise UserError(f"{file}: row {i}: the ID {row['ID']!r} stands there twice")
        seen.add(row["ID"])
    return [{field: str(row.get(field, "")).strip() for field in _FIELDS} for row in rows]


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
    `dev_size` (50); `limit.<split>` (0 = all).
    """

    name = "svamp"
    splits = ("train", "dev", "test")

    def load(self, split: str) -> list[Problem]:
        """The problems of `split`, ordered by a hash of their ID; errors as in `Task.load`."""
        self._check_split(split)
        worked = self.config.get("worked") or "none"
        if worked not in ("none", "equation"):
            raise UserError(f"task.worked is {worked!r}: choose none or equation")
        problems = [_problem(row, worked == "equation") for row in self._rows()]
        problems.sort(key=lambda problem: hashlib.sha256(problem.id.encode()).digest())
        first_test = len(problems) * TRAIN_SHARE[0] // TRAIN_SHARE[1]
        if split == "test":
            return self._take(problems[first_test:], split)
        train, dev = self._hold_out(problems[:first_test], default=50)
        return self._take(train if split == "train" else dev, split)

    def _rows(self) -> list[dict[str, str]]:
        folder = self.config.get("data_dir")
        if folder:
            return read_rows(storage.path(folder) / "SVAMP.json")

        def make_builder() -> Svamp:
            return Svamp(
                url=self.config.get("url") or PUBLISHED_URL,
                data_dir=self.config.get("tfds_dir") or None,
                file_format=tfds_source.FILE_FORMAT,
            )

        return tfds_source.read(make_builder, "problems", _ADVICE)


def _problem(row: dict[str, str], worked: bool) -> Problem:
    body = row["Body"]
    if body[-1] not in ".?!":
        body += "."
    gold = row["Answer"]
    value = grading.parse_number(gold)
    if value is not None and value.denominator == 1:
        gold = str(value.numerator)  # the file has 51.0 where 51 is meant
    solution = equations.solution_of(row["Equation"], gold) if worked else ()
    return Problem(f"svamp-{row['ID']}", f"{body} {row['Question']}", gold, solution)
