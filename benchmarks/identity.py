"""How often a fork's text stays the same, token for token, in other company.

    python -m benchmarks.identity --model=m15 --job=job.npz [--dtype=bfloat16]

The same forks run twice: in other slots, another order, other rounds. In float32 the share of equal
texts must be 1. In bfloat16 rows of another batch round otherwise, and a draw near an edge falls on
its other side; from there on the texts differ. Prints one line of JSON.
"""

import json

import numpy as np

from benchmarks import harness, jobs
from glore_jax.sampling.engine import Engine
from glore_jax.sampling.tokens import Sampling


def texts(engine: Engine, job: jobs.RolloutJob, backwards: bool) -> dict:
    """The tokens of each fork of `job`, by (row, fork); `backwards`: its rows, last first."""
    work = jobs.engine_jobs(job, job.rows)
    if backwards:
        for one in work:
            one.waiting.reverse()
        work.reverse()
    done = engine.run(work, Sampling(jobs.TEMPERATURE, max_new=job.new))
    return {(j.question_id, f): c.tokens for j in done for f, c in j.completions.items()}


def equal_before_first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens two texts of one length have in common from their beginning."""
    differs = np.asarray(one) != np.asarray(other)
    return int(differs.argmax()) if differs.any() else len(one)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    flags = parser.parse_args()

    job = jobs.read(flags.job)
    model = jobs.read_policy(flags.model, flags.dtype, unroll=True)
    usual = jobs.make_engine(model, job, groups=16, slots=32, round_steps=16)
    other = jobs.make_engine(model, job, groups=6, slots=10, shelves=2, round_steps=7)
    first = texts(usual, job, backwards=False)
    second = texts(other, job, backwards=True)

    pairs = [(first[fork], second[fork]) for fork in first]
    common = sum(equal_before_first_difference(a, b) for a, b in pairs)
    line = {
        "dtype": flags.dtype,
        "rollouts": len(pairs),
        "new": job.new,
        "equal": sum(a == b for a, b in pairs) / len(pairs),
        "equal_before_first_difference": common / (job.new * len(pairs)),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
