"""GSM8K, the paper's main task: 7473 training and 1319 test problems with worked solutions.

The rows come from a folder with the published `train.jsonl` and `test.jsonl` (`config.data_dir`),
or, without one, from the TFDS catalog's builder. Both give the same problems under the same ids.
The published data have no development split, and the paper does not say what it used: the last
`config.dev_size` training rows are held out.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.text.gsm8k import Gsm8k

from glore_jax import storage
from glore_jax.tasks import grading, tfds_source
from glore_jax.tasks.base import ANSWER_MARK, Problem, Task

_ADVICE = "pass a folder with the published train.jsonl and test.jsonl as --config.task.data_dir"


class Gsm8kInOrder(Gsm8k):
    """The catalog's builder, but with the rows in the order of the published files.

    The catalog's own shuffles the rows by a hash of their keys and forgets the keys. Ids, the
    development split and limits would then name other problems than they do when the published
    files are read from a folder.
    """

    name = "gsm8k_in_order"  # a subclass must not take the name of a registered data set

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self, features=super()._info().features, disable_shuffling=True
        )


class Gsm8kTask(Task):
    """GSM8K. Reads of `config` these fields.

    `data_dir`: folder with the published files, or empty for TFDS. `tfds_dir`: where TFDS keeps its
    data, or empty for its default, `~/tensorflow_datasets`. `dev_size` (256); `limit.<split>` (0 =
    all). Ids are `gsm8k-<file>-<row, from 0>`, whatever the split and the limits are.
    """

    name = "gsm8k"
    splits = ("train", "dev", "test")

    def load(self, split: str) -> list[Problem]:
        """The problems of `split` in the order of the published file; errors as in `Task.load`."""
        self._check_split(split)
        file = "test" if split == "test" else "train"
        problems = []
        for i, (where, row) in enumerate(self._rows(file)):
            wrong = self._wrong(row)
            if wrong:
                self._fault(f"{where}: {wrong}")
            else:
                problems.append(self._problem(f"gsm8k-{file}-{i:05d}", row))
        if file == "train":
            train, dev = self._hold_out(problems, default=256)
            problems = train if split == "train" else dev
        return self._take(problems, split)

    def _rows(self, file: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(where it stands, row) for each row of the published `file`, "train" or "test"."""
        folder = self.config.get("data_dir")
        if folder:
            source = storage.path(folder) / f"{file}.jsonl"
            for line, row in storage.enumerate_jsonl(source, self._fault):
                yield f"{source}:{line}", row
            return

        def make_builder() -> Gsm8kInOrder:
            return Gsm8kInOrder(
                data_dir=self.config.get("tfds_dir") or None, file_format=tfds_source.FILE_FORMAT
            )

        for i, row in enumerate(tfds_source.read(make_builder, file, _ADVICE)):
            yield f"TFDS gsm8k {file} row {i}", row

    def _wrong(self, row: dict[str, Any]) -> str:
        """What is malformed in a row, with its field; empty if nothing is."""
        for field in ("question", "answer"):
            if not isinstance(row.get(field), str) or not row[field].strip():
                return f"the field '{field}' is missing or not a text"
        gold = self.answer(_steps(row))
        if gold is None or grading.parse_number(gold) is None:
            return f"the field 'answer' does not end with a line '{ANSWER_MARK} NUMBER'"
        return ""

    def _problem(self, id: str, row: dict[str, Any]) -> Problem:
        steps = _steps(row)
        gold = self.answer(steps)
        assert gold is not None, id
        return Problem(id, row["question"].strip(), gold, steps)


def _steps(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(line.strip() for line in row["answer"].split("\n") if line.strip())
