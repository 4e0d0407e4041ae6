r"""What the benchmarks of the rollout engine run on: a job of token ids, and a random LLaMA.

    python -m benchmarks.jobs job --file=job.npz --rows=16 --question=80 --steps=4 \
        --step_length=25 --k=8 --new=64 --vocab=2000
    python -m benchmarks.jobs model --folder=m15 --hidden=384 --layers=6 --heads=6 \
        --ffn=1024 --vocab=2048

A job file holds `toks` int [rows, T], `cuts` int [steps], `k` and `new`: of every row, at every
cut, k continuations of row[:cut] are asked for, each exactly `new` tokens long (end-of-sequence
ignored, so that all engines do equal work), at temperature 0.7.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import harness

if TYPE_CHECKING:  # the job of another engine needs no JAX
    from glore_jax.models.model import Model
    from glore_jax.sampling.engine import Engine, Job

TEMPERATURE = 0.7
JOB = dict(rows=16, question=80, steps=4, step_length=25, k=8, new=64, vocab=2000, seed=0)
MODEL = dict(hidden=384, layers=6, heads=6, ffn=1024, vocab=2048, positions=1024, seed=0)


@dataclasses.dataclass(frozen=True)
class RolloutJob:
    """Rollouts of prefixes of rows.

    Attributes:
      rows: token ids int [rows, T].
      cuts: lengths of the prefixes, the longest last.
      k: rollouts of each prefix.
      new: tokens of each rollout.
    """

    rows: np.ndarray
    cuts: tuple[int, ...]
    k: int
    new: int

    @property
    def prefixes(self) -> list[list[int]]:
        return [row[:cut].tolist() for row in self.rows for cut in self.cuts]

    @property
    def rollouts(self) -> int:
        return len(self.rows) * len(self.cuts) * self.k


class NoTokenizer:
    """Stands in where texts do not matter: nothing ends a sequence, all ids may be drawn."""

    eos_id = -1

    def __init__(self, vocab_size: int):
        self.vocab_size = vocab_size

    def decode(self, ids) -> str:
        return ""


def read(file: str, question_scale: int = 1) -> RolloutJob:
    """The job in `file`.

    `question_scale` repeats its questions (the tokens before the first cut), all else the same.
    """
    with np.load(file) as data:
        rows = data["toks"]
        cuts = data["cuts"]
        k = int(data["k"])
        new = int(data["new"])
    questions = rows[:, : cuts[0]]
    rows = np.concatenate([questions] * (question_scale - 1) + [rows], axis=1)
    added = int(cuts[0]) * (question_scale - 1)
    return RolloutJob(rows, tuple(int(cut) + added for cut in cuts), k, new)


def write(
    file: str,
    *,
    rows: int,
    question: int,
    steps: int,
    step_length: int,
    k: int,
    new: int,
    vocab: int,
    seed: int,
) -> None:
    """A job of random tokens: questions, and after each of their `steps` but the last a cut."""
    draw = np.random.default_rng(seed).integers
    toks = draw(3, vocab, (rows, question + steps * step_length))
    np.savez(file, toks=toks, cuts=question + step_length * np.arange(steps), k=k, new=new)


def write_model(
    folder: str,
    *,
    hidden: int,
    layers: int,
    heads: int,
    ffn: int,
    vocab: int,
    positions: int,
    seed: int,
) -> None:
    """A LLaMA of random weights in Hugging Face form; its tokens are numbers."""
    import tokenizers

    from glore_jax.models import hf_export, llama
    from glore_jax.models.config import LlamaConfig
    from glore_jax.models.model import Model
    from glore_jax.models.tokenizer import Tokenizer

    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=hidden,
        intermediate_size=ffn,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=heads,
        head_dim=hidden // heads,
        max_positions=positions,
    )
    ids = {str(number): number for number in range(vocab)}
    words = tokenizers.models.WordLevel(ids, unk_token="0")
    tokenizer = Tokenizer(tokenizers.Tokenizer(words), bos_id=1, eos_id=2)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    graphdef, params = llama.init(config, seed)
    hf_export.save_policy(folder, Model(graphdef, params, config, tokenizer), "float32")


def read_policy(folder: str, dtype: str, unroll: bool) -> Model:
    """The model in `folder`, parameters and products in `dtype`, without its tokenizer."""
    from glore_jax.models import hf_import

    model = hf_import.read_policy(folder, param_dtype=dtype, dtype=dtype, unroll=unroll)
    return dataclasses.replace(model, tokenizer=NoTokenizer(model.config.vocab_size))


def make_engine(
    model: Model, job: RolloutJob, *, groups: int, slots: int, shelves: int = 1, round_steps: int
) -> Engine:
    """An engine of this package with room for `job`."""
    from glore_jax.sampling.budget import Capacity
    from glore_jax.sampling.engine import Engine

    capacity = Capacity(groups, slots, shelves, max_trunk=job.cuts[-1], max_new=job.new)
    return Engine(model, capacity, round_steps=round_steps)


def engine_jobs(job: RolloutJob, rows: np.ndarray) -> list[Job]:
    """`job` as the engine takes it, for some of its rows: a row is a trunk, its cuts are forks."""
    from glore_jax.sampling.engine import Fork, Job

    return [
        Job(
            f"row {number}",
            row[: job.cuts[-1]].tolist(),
            [Fork(cut, cut=cut, rollout=j) for cut in job.cuts for j in range(job.k)],
        )
        for number, row in enumerate(rows)
    ]


def main() -> None:
    parser = harness.parser(__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    job = kinds.add_parser("job")
    job.add_argument("--file", required=True)
    for name, value in JOB.items():
        job.add_argument(f"--{name}", type=int, default=value)
    model = kinds.add_parser("model")
    model.add_argument("--folder", required=True)
    for name, value in MODEL.items():
        model.add_argument(f"--{name}", type=int, default=value)
    flags = vars(parser.parse_args())
    if flags.pop("kind") == "job":
        write(**flags)
    else:
        write_model(**flags)


if __name__ == "__main__":
    main()
