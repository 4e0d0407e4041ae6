"""What the benchmarks of the rollout engine run on: a job of token ids, a random LLaMA of any size.

    python -m benchmarks.jobs job --file=job.npz --rows=16 --question=80 --steps=4 \\
        --step_length=25 --k=8 --new=64 --vocab=2000
    python -m benchmarks.jobs model --folder=m15 --hidden=384 --layers=6 --heads=6 --ffn=1024 \\
        --vocab=2048

A job file holds `toks` int [rows, T], `cuts` int [steps], `k` and `new`: of every row, at every
cut, k continuations of row[:cut] are asked for, each exactly `new` tokens long (end-of-sequence
ignored, so that all engines do equal work), at temperature 0.7.
"""

import argparse
import dataclasses
import pathlib

import numpy as np

TEMPERATURE = 0.7

# Flags and their defaults.
JOB = dict(rows=16, question=80, steps=4, step_length=25, k=8, new=64, vocab=2000, seed=0)
MODEL = dict(hidden=384, layers=6, heads=6, ffn=1024, vocab=2048, positions=1024, seed=0)


@dataclasses.dataclass(frozen=True)
class RolloutJob:
    """k rollouts of `new` tokens each after every prefix.

    rows: int [rows, T]; cuts: the lengths of their prefixes.
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


def read(file, question_scale: int = 1) -> RolloutJob:
    """The job in `file`, its questions repeated `question_scale` times, all else the same.

    A question is what stands before the first cut.
    """
    with np.load(file) as data:
        rows, cuts = data["toks"], data["cuts"]
        k, new = int(data["k"]), int(data["new"])
    questions = rows[:, : cuts[0]]
    rows = np.concatenate([questions] * (question_scale - 1) + [rows], axis=1)
    added = int(cuts[0]) * (question_scale - 1)
    return RolloutJob(rows, tuple(int(c) + added for c in cuts), k, new)


def write(file, *, rows, question, steps, step_length, k, new, vocab, seed=0) -> None:
    toks = np.random.default_rng(seed).integers(3, vocab, (rows, question + steps * step_length))
    np.savez(file, toks=toks, cuts=question + step_length * np.arange(steps), k=k, new=new)


def write_model(folder, *, hidden, layers, heads, ffn, vocab, positions=1024, seed=0) -> None:
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
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    numbers = tokenizers.models.WordLevel({str(i): i for i in range(vocab)}, unk_token="0")
    tokenizer = Tokenizer(tokenizers.Tokenizer(numbers), bos_id=1, eos_id=2)
    model = Model(*llama.init(config, seed), config, tokenizer)
    hf_export.save_policy(folder, model, "float32")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
        write(flags.pop("file"), **flags)
    else:
        write_model(flags.pop("folder"), **flags)


if __name__ == "__main__":
    main()
