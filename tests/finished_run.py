"""The real command on a few questions, and all that it takes to run it again."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent  # the checkout

# Two steps a problem and few samples; hot enough that a good base errs, with worked solutions so that a bad one has right ones.
_FIELDS = {
    "task.size": {"train": 10, "dev": 4, "test": 6},
    "task": {"steps": "(2,2)"},
    "engine": {"part_questions": 4},
    "student.sft": {"optimizer": "adamw", "row_length": 256},
    "student.ei": {"k": 3, "max_new": 72},
    "sample": {"k": 3, "max_new": 72, "temperature": 1.3, "include_worked": True},
    "rollout": {"k": 3, "max_new": 72, "drafts_per_question": 3},
    "orm.train": {"optimizer": "adamw", "row_length": 256},
    "sorm.train": {"optimizer": "adamw", "row_length": 256},
    "refiner.train": {"optimizer": "adamw"},
    "refiner": {"max_new": 72},
    "evaluate": {"k": 3, "label_k": 3, "max_new": 72, "splits": "('test',)"},
}
FLAGS = [
    f"--config.{section}.{name}={value}"
    for section, fields in _FIELDS.items()
    for name, value in fields.items()
]


def start(
    module: str, *arguments: str, cache: pathlib.Path, log, errors=subprocess.STDOUT
) -> subprocess.Popen:
    """`python -m glore_jax.MODULE` on one device; every program that it compiles stays in `cache` for the next process."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", f"glore_jax.{module}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=errors)


def start_run(workdir: pathlib.Path, cache: pathlib.Path, log) -> subprocess.Popen:
    return start(
        "main", "--config=configs/tiny.py:smoke", f"--workdir={workdir}", *FLAGS, cache=cache, log=log
    )
