"""The programs that the stages run on the devices, by name, with shapes in place of arrays.

They can be compiled without weights or data. Nothing is described twice: the functions, their
donations and their shardings come from the training loop, the rollout engine and the scorer, set up
as the stages set them up. `trainings.py` has those of the whole slice, `engines.py` those of one
host.

    student, orm, sorm, refiner                     an update; NAME/start, NAME/resume
    one-shot, ei, dev                               what stage `student` generates; NAME/prefill
    sample, rollout                                 the stages of these names
    drafts, samples, step_labels, refine            what stage `evaluate` generates
    score, likelihood                               solutions read by a reward model, by a policy
"""

from ml_collections import ConfigDict

from glore_jax.errors import UserError
from glore_jax.models.config import LlamaConfig
from glore_jax.planning import engines, planned, trainings
from glore_jax.planning.measure import Program
from glore_jax.planning.planned import TOKENS

_OF_TRAINING = {"": trainings.step, "start": trainings.start, "resume": trainings.resume}
_OF_ENGINE = {"": engines.decode_step, "prefill": engines.prefill}
_OF_READING = {"score": engines.score, "likelihood": engines.likelihood}


def names(config: ConfigDict) -> list[str]:
    """Every program of a run of `config`."""
    found = [_joined(name, kind) for name in trainings.trainings(config) for kind in _OF_TRAINING]
    found += [_joined(name, kind) for name in engines.generations(config) for kind in _OF_ENGINE]
    return [*found, *_OF_READING]


def _joined(name: str, kind: str) -> str:
    return f"{name}/{kind}" if kind else name


def is_training(name: str) -> bool:
    """Whether a program of this name runs over the whole slice."""
    return name.partition("/")[0] in ("student", "orm", "sorm", "refiner")


def is_update(name: str) -> bool:
    """Whether a program of this name is the update of a training."""
    return is_training(name) and "/" not in name


def build(
    name: str,
    config: ConfigDict,
    shape: LlamaConfig,
    topology: str,
    tokens: int = TOKENS,
) -> Program:
    """The program `name` of `names`, for a run of `config` with a model of `shape` on a slice.

    `tokens`: see `Planned`. UserError if the mesh of `config` does not fit the devices of the
    described slice `topology`, the memory of a device has no room for a single fork, or the config
    asks for layers written out.
    """
    if config.model.unroll_layers:
        raise UserError(
            "layers written out take too long to compile: --config.model.unroll_layers=false"
        )
    run = planned.plan(config, shape, topology, is_training(name), tokens)
    what, _, kind = name.partition("/")
    if name in _OF_READING:
        return _OF_READING[name](run)
    if is_training(name):
        return _OF_TRAINING[kind](run, trainings.trainings(config)[what])
    return _OF_ENGINE[kind](run, engines.generations(config)[what])
