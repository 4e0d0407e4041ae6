"""The smallest run of the real command that does all there is to do, in a minute or two.

Two steps a problem and few samples; hot enough that a good base errs, with worked solutions so that
a bad one has right ones.
"""

import pathlib

ROOT = pathlib.Path(__file__).parent.parent  # the checkout
CONFIG = "configs/tiny.py:smoke"
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # to compile

_FIELDS = {
    "task.size": {"train": 10, "dev": 4, "test": 6},
    "task": {"steps": "(2,2)"},
    "engine": {"part_questions": 4},
    "student.sft": {"optimizer": "adamw", "row_length": 256},
    "student.ei": {"k": 3, "max_new": 72},
    "sample": {"k": 3, "max_new": 72, "temperature": 1.3, "include_worked": True},
    "rollout": {"k": 3, "max_new": 72, "drafts_per_question": 3, "solved_only": False},
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


def keeping(cache: pathlib.Path) -> dict[str, str]:
    """Environment variables with which compiled programs stay in `cache` for the next process."""
    return {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
