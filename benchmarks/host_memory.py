"""The memory that each stage's host side takes beside the model, on synthetic records.

    python -m benchmarks.host_memory --samples=10000,1000000 [--folder=DIR]

Each stage runs in a process of its own, up to the batches that a training would be fed with: it
reads records, chooses, makes tokens, packs them on the local disk, lays out all epochs and makes
the first batches. There is no model, only a tokenizer. Prints a table:

    anonymous    largest amount of memory that only the system's swap could take back, less what
                 the process had before the stage began. This is what limits a machine
    resident     the same with pages of files, which the system takes back when it needs them
    packed       training examples on the local disk
    records      what the stage reads, compressed

Memory is read off /proc each hundredth of a second, so this needs Linux.
"""

import argparse
import gc
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np

from benchmarks import harness, synthetic
from glore_jax import grouping, records
from glore_jax.models import hf_import
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.records import Sample, StoredRecords
from glore_jax.stages import (
    labelling,
    models,
    orm,
    refiner,
    rewards,
    rollout,
    solutions,
    sorm,
    student,
    tally,
    training,
)
from glore_jax.stages.context import Context
from glore_jax.stages.evaluation import sample_figures
from glore_jax.training.examples import Example

FIRST_BATCHES = 50
ROW_LENGTH = 1024
MIB = 2**20


class Stages:
    """The host side of each stage; a method gives the bytes that it packed."""

    def __init__(self, folder: pathlib.Path):
        config = harness.read_config("configs/tiny.py")
        config.orm.per_question = 0  # all
        config.rollout.drafts_per_question = synthetic.DRAFTS
        self.ctx = Context(config, folder)
        base = models.base_folder(config)
        self.config = hf_import.read_config(base)
        self.prompts = self.ctx.prompts(SimpleNamespace(tokenizer=Tokenizer.load(base)))

    def sample(self) -> int:
        """The figures of all samples."""
        folder = self.ctx.folder("sample", "records")
        tally.Tally.of(records.stream_columns(folder, Sample, tally.COLUMNS))
        return 0

    def rollout(self) -> int:
        """The choice of the drafts that are labelled, and the drafts."""
        drafts, _ = rollout.drafts_of(self._samples(), self.ctx.config)
        labelling.longest_first(drafts)
        return 0

    def student(self) -> int:
        """A round: new solutions among all samples, and training on them and on the old ones."""
        shown = self.ctx.folder("student", "solutions-0")
        rows = json.loads(self.ctx.folder("student", "solutions-0.json").read_text())["rows"]
        known = StoredRecords.of(shown, records.Solution, rows)
        samples = self._samples(solutions.COLUMNS)
        found = solutions.distinct_right(samples, 0, solutions.by_question(known))
        counts = records.write_all(self.ctx.folder("student", "new"), found, records.Solution)
        new = StoredRecords.of(self.ctx.folder("student", "new"), records.Solution, counts)
        examples = (student.solution_example(self.prompts, s) for s in known + new)
        return self._batches(examples, self.ctx.config.student.sft)

    def orm(self) -> int:
        return self._rewards(orm.labelled_solutions(self.ctx, "plain"), self.ctx.config.orm)

    def sorm(self) -> int:
        labels = sorm.drafts(self.ctx, "labels")
        whole, held_out = sorm.which(self.ctx, labels)
        _, kept = sorm.choose(self.ctx, labels, whole & ~held_out)
        drafts = sorm.drafts(self.ctx, "prompt", "completions", "labels")
        learned = sorm.labelled_solutions(sorm.in_order(drafts), kept)
        return self._rewards(learned, self.ctx.config.sorm)

    def refiner(self) -> int:
        pairs = refiner.written(self.ctx, refiner.make_pairs(self.ctx))
        examples = (refiner.pair_example(self.prompts, pair, True, 1.0) for pair in pairs)
        return self._batches(examples, self.ctx.config.refiner.train)

    def evaluate(self) -> int:
        """Figures of all samples, with scores made up; no curves along K, which take hours."""
        folder = self.ctx.folder("sample", "records")
        count = sum(batch.num_rows for batch in records.stream_columns(folder, Sample, ("ended",)))
        rng = np.random.default_rng(0)
        scores = {m: (rng.random(6) for _ in range(count)) for m in ("orm", "sorm")}
        columns = ("question_id", *sample_figures.COLUMNS)
        samples = sample_figures.Samples.of(records.stream(folder, Sample, columns), scores)
        sample_figures.student(self.ctx.task, samples, synthetic.K, None)
        sample_figures.scorers(samples)
        return 0

    def _samples(self, columns: tuple[str, ...] | None = None) -> grouping.Groups[Sample]:
        return grouping.of_folder(self.ctx.folder("sample", "records"), Sample, columns)

    def _rewards(self, learned: Iterable[rewards.LabelledSolution], section) -> int:
        examples = rewards.Examples(self.prompts, section.every_token, ROW_LENGTH)
        return self._batches(examples.of(learned), section.train)

    def _batches(self, examples: Iterable[Example], section) -> int:
        section.row_length = ROW_LENGTH
        batches, _ = training.make_batches(self.ctx, "measured", examples, section, self.config)
        for update in range(min(FIRST_BATCHES, len(batches))):
            batches[update]
        return batches.examples.nbytes


READS = {
    "sample": ("sample/records",),
    "rollout": ("sample/records",),
    "student": ("sample/records", "student/solutions-0"),
    "orm": ("sample/records",),
    "sorm": ("sample/records", "rollout/records"),
    "refiner": ("sample/records", "rollout/records"),
    "evaluate": ("sample/records",),
}


def memory() -> tuple[int, int]:
    """(anonymous, resident) bytes of this process."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS"))


class Peak:
    """The largest values of `memory` within a `with`, less those at its beginning."""

    def __enter__(self) -> "Peak":
        self.before = memory()
        self.largest = self.before
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def _look(self) -> None:
        while not self._over.wait(0.01):
            self.largest = tuple(map(max, self.largest, memory()))

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._watch.join()

    @property
    def above(self) -> tuple[int, ...]:
        return tuple(most - first for most, first in zip(self.largest, self.before, strict=True))


def measure(folder: pathlib.Path, stage: str) -> dict:
    """What `stage` takes in this process."""
    host = Stages(folder)
    run: Callable[[], int] = getattr(host, stage)
    host.ctx.mesh, host.ctx.task  # noqa: B018  made before the stage begins
    gc.collect()
    start = time.perf_counter()
    with Peak() as peak:
        packed = run()
    seconds = time.perf_counter() - start
    anonymous, resident = peak.above
    read = sum(size_of(folder / name) for name in READS[stage])
    sizes = {"anonymous": anonymous, "resident": resident, "packed": packed, "records": read}
    return {"stage": stage, **sizes, "seconds": seconds}


def size_of(folder: pathlib.Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def measured(folder: pathlib.Path, samples: int, stages: Iterable[str]) -> list[dict]:
    """`measure` of each stage, each in a process of its own, on so many samples."""
    command = [sys.executable, "-m", "benchmarks.host_memory", f"--folder={folder}"]
    subprocess.run([*command, f"--write={samples}"], check=True)
    found = []
    for stage in stages:
        done = subprocess.run([*command, f"--stage={stage}"], check=True, stdout=subprocess.PIPE)
        *_, figures = done.stdout.splitlines()  # what comes before are warnings of the stage
        found.append({"samples": samples, **json.loads(figures)})
    return found


def table(rows: Iterable[dict]) -> str:
    """The rows as a Markdown table, in MiB."""
    head = "| samples | stage | anonymous | resident | packed | records | seconds |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        sizes = [f"{row[n] / MIB:.0f}" for n in ("anonymous", "resident", "packed", "records")]
        cells = [f"{row['samples']:,}", row["stage"], *sizes, f"{row['seconds']:.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--samples", default="10000,1000000")
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--stages", default=",".join(READS))
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)  # what the processes do
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.write:
        return synthetic.write(flags.folder, flags.write)
    if flags.stage:
        return print(json.dumps(measure(flags.folder, flags.stage)))
    rows: list[dict] = []
    for samples in map(int, flags.samples.split(",")):
        with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
            rows += measured(pathlib.Path(folder), samples, flags.stages.split(","))
    print(table(rows))


if __name__ == "__main__":
    main()
