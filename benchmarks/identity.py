"""How often a fork's text stays the same, token for token, in other company: other slots, another order, other rounds.

    python -m benchmarks.identity --model=m15 --job=job.npz [--dtype=bfloat16]

In float32 the share must be 1. In bfloat16 rows of another batch round otherwise, and a draw near an edge falls on its other
side; from there on the texts differ. Prints one line of JSON.
"""

import argparse
import json

from benchmarks import jobs
from benchmarks.rollouts import NoTokenizer
from glore_jax.models import hf_import, llama
from glore_jax.models.model import Model
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.tokens import Sampling


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    flags = parser.parse_args()
    job, config = jobs.read(flags.job), hf_import.read_config(flags.model)
    graphdef, shapes = llama.abstract(
        config, dtype=flags.dtype, param_dtype=flags.dtype, unroll=True
    )
    params = hf_import.read_weights(flags.model, shapes)

    policy = Model(graphdef, params, config, NoTokenizer(config.vocab_size))

    def texts(backwards: bool, groups: int, slots: int, shelves: int, round_steps: int) -> dict:
        capacity = Capacity(groups, slots, shelves, max_trunk=job.cuts[-1], max_new=job.new)
        engine = Engine(policy, capacity, round_steps=round_steps)
        work = []
        for i, row in enumerate(job.rows):
            forks = [Fork(c, cut=c, rollout=j) for c in job.cuts for j in range(job.k)]
            work.append(
                Job(f"row {i}", row[: job.cuts[-1]].tolist(), forks[::-1] if backwards else forks)
            )
        done = engine.run(
            work[::-1] if backwards else work, Sampling(jobs.TEMPERATURE, max_new=job.new)
        )
        return {(j.question_id, f): c.tokens for j in done for f, c in j.completions.items()}

    first = texts(False, groups=16, slots=32, shelves=1, round_steps=16)
    second = texts(True, groups=6, slots=10, shelves=2, round_steps=7)
    pairs = [(first[k], second[k]) for k in first]
    same = [
        next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), job.new)
        for a, b in pairs
    ]
    line = {
        "dtype": flags.dtype,
        "rollouts": len(pairs),
        "new": job.new,
        "equal": sum(a == b for a, b in pairs) / len(pairs),
        "equal_before_first_difference": sum(same) / (job.new * len(pairs)),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
