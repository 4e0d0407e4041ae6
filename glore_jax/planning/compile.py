"""Compile what a run would execute on a Cloud TPU slice, without the slice.

    python -m glore_jax.planning.compile --config=configs/gsm8k_llama2_7b.py --topology=v5e:4x4
        [--program=student,rollout] [--model=llama2_7b] [--json=FILE] [--config.mesh.fsdp=8 ...]

Says whether each program fits and what it costs. The stages' own programs (`programs.py`) go to
the compiler (`measure.py`), which takes libtpu (pip install -e '.[tpu]') and no TPU.

A program that does not fit is an answer, not an error: the exit code is 0, and 2 only for a mistake
in the command.
"""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from glore_jax import command, storage
from glore_jax.config import validate
from glore_jax.errors import UserError
from glore_jax.models import hf_import, shapes
from glore_jax.models.config import LlamaConfig
from glore_jax.parallel.chips import GIB
from glore_jax.planning import measure, planned, programs, slices
from glore_jax.planning.measure import Figures, Refusal
from glore_jax.sampling.budget import NoRoom
from glore_jax.stages import models
from glore_jax.training import fitting

FLAGS = flags.FLAGS

# What to try where a program does not fit.
_HINT_TRAINING = (
    "a larger slice, --config.model.remat=full, or fewer rows a chip:"
    " a smaller batch_size or a larger mesh.data x mesh.fsdp"
)
_HINT_HOST = (
    "a larger --config.engine.tensor, --config.engine.cache_bytes=auto, or a chip with more memory"
)

HEADER = (
    f"{'program':<19} {'fits':<5}{'args':>7}{'temp':>7}{'peak':>7} GiB{'TFLOPs':>10}{'of model':>9}"
    f"{'GiB moved':>11}{'of least':>9}{'at best ms':>11}  collectives (times, GiB)"
)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was found for one model on one slice: figures, or a refusal, by the program's name."""

    topology: str
    model: str
    programs: dict[str, Figures | Refusal]

    def to_json(self) -> dict[str, Any]:
        """{topology, model, programs: {name: figures}}, as `--json` writes it."""
        figures = {name: found.to_json() for name, found in self.programs.items()}
        return {"topology": self.topology, "model": self.model, "programs": figures}


def define_flags() -> None:
    """The flags of the command; not on import, as `glore_jax/main.py` has a `--config` too."""
    config_flags.DEFINE_config_file(
        "config", None, "a file like configs/gsm8k_llama2_7b.py", lock_config=True
    )
    flags.DEFINE_string(
        "topology", None, "a slice by the shape of its chips: v5e:4x4, v4:2x2x4, v5p:2x2x4, v6e:4x4"
    )
    flags.DEFINE_list("program", ["all"], "names as docs/pods.md has them; default: all")
    flags.DEFINE_string(
        "model",
        None,
        "llama2_7b, llama2_13b, llama3_8b or llama3_70b; default: what config.model.base is",
    )
    flags.DEFINE_integer(
        "tokens", planned.TOKENS, "tokens of a question with its solution", lower_bound=1
    )
    flags.DEFINE_string("json", None, "write the figures to this file too")


def compile_all(
    config: ConfigDict,
    topology: str,
    names: list[str],
    model: str | None,
    tokens: int = planned.TOKENS,
    say: Callable[[str], object] = print,
    known: measure.Known | None = None,
) -> Answer:
    """Compiles the programs `names` ("all": every one) for a slice.

    `model`, `tokens`: as the flags of those names. `known`: what need not be compiled again, see
    `measure.measure`. `say` gets a line for each program as it is
    done. UserError for an unknown name, slice or model.
    """
    names = _known(names, config)
    chip = slices.chip_of(topology)
    shape, title = shape_of(config, model)
    # What is wrong with the name or the installation shows before anything is compiled.
    slices.describe(topology)
    say(
        f"{title} on {topology}: {chip.memory / GIB:.2f} GiB a chip to use;"
        " figures of one chip, none timed"
    )
    say(HEADER)
    found = {}
    known = {} if known is None else known
    for name in names:
        answer = _measured(name, config, shape, topology, tokens, known)
        found[name] = answer
        say(row(name, answer))
        if isinstance(answer, Refusal):
            say(advice(name, answer))
    return Answer(topology, title, found)


def _measured(
    name: str,
    config: ConfigDict,
    shape: LlamaConfig,
    topology: str,
    tokens: int,
    known: measure.Known,
) -> Figures | Refusal:
    """What one program takes."""
    if programs.is_update(name) and config.model.remat == fitting.AUTO:
        # To choose takes the compiler, once for each choice. What was chosen before is known.
        for remat in fitting.LADDER:
            chosen = config.copy_and_resolve_references()
            chosen.model.remat = remat
            program = programs.build(name, chosen, shape, topology, tokens)
            if answer := measure.recall(program, known):
                return answer
    try:
        program = programs.build(name, config, shape, topology, tokens)
    except NoRoom as error:  # the engine cannot even be made
        return Refusal(mesh={}, layout="not one fork", unsharded=[], model_flops=0, says=str(error))
    return measure.measure(program, slices.chip_of(topology), known)


def _known(names: list[str], config: ConfigDict) -> list[str]:
    """`names` with "all" written out. UserError for one that is no program of `config`."""
    every = programs.names(config)
    if "all" in names:
        return every
    for name in names:
        if name not in every:
            choices = ", ".join(every)
            raise UserError(f"--program={name!r} is not known: choose from {choices}, all")
    return names


def shape_of(config: ConfigDict, model: str | None) -> tuple[LlamaConfig, str]:
    """(sizes, name) of `model`, or of the checkpoint that the config names.

    The checkpoint's sizes are those that it says itself, if it is here or on the hub, else of the
    model that its folder's name tells.
    """
    if model:
        return shapes.named(model), model
    folder = models.base_folder(config, weights=False)
    if hf_import.is_model(folder):
        return hf_import.read_config(folder), str(config.model.base)
    name = shapes.guess(config.model.base)
    if name is None:
        raise UserError(
            f"config.model.base {config.model.base!r} is not here, and its name tells no shape:"
            " give --model"
        )
    return shapes.named(name), name


def row(name: str, found: Figures | Refusal) -> str:
    """The line of one program under `HEADER`, and lines below it for what is wrong."""
    if isinstance(found, Refusal):
        size = f"{found.needed_bytes / GIB:.2f} GiB needed" if found.needed_bytes else ""
        return f"{name:<19} {'NO':<5}{size}"
    sizes = (found.argument_bytes, found.temp_bytes, found.peak_bytes)
    least = f"{found.bytes_ratio:.2f}" if found.bytes_ratio else ""
    bound = found.longest
    line = f"{name:<19} {'yes':<5}{''.join(f'{size / GIB:7.2f}' for size in sizes)}    "
    ratio = f"{found.flops_ratio:.2f}" if found.flops_ratio else ""
    line += f"{found.flops / 1e12:10.3f}{ratio:>9}"
    line += f"{found.bytes_accessed / GIB:11.2f}{least:>9}"
    line += f"{1000 * found.seconds[bound]:8.1f} {bound[:2]}  {_transfers(found)}"
    if found.unsharded:
        line += f"\n  whole on every chip: {found.unsharded}"
    if found.unaliased_bytes:
        line += f"\n  donated in vain: {found.unaliased_bytes}"
    return line


def _transfers(found: Figures) -> str:
    """Collectives as `all-reduce 81, 0.20`: kind, times, GiB."""
    return ", ".join(
        f"{kind} {sent.count:g}, {sent.bytes / GIB:.2f}" for kind, sent in found.collectives.items()
    )


def advice(name: str, found: Refusal) -> str:
    """What the compiler says of a program that does not fit, and what to try."""
    hint = _HINT_TRAINING if programs.is_training(name) else _HINT_HOST
    return f"  {found.says[:200]}\n  try {hint}"


def main(argv: list[str]) -> int:
    """Runs the command; the exit code."""
    try:
        run(argv)
        return 0
    except UserError as error:
        return command.end(f"error: {error}", 2)
    except KeyboardInterrupt:
        return command.end("interrupted", 130)


def run(argv: list[str]) -> None:
    """What the flags ask for. UserError for a mistake in them."""
    if len(argv) > 1:
        raise UserError(f"unexpected argument {argv[1]!r}: flags have the form --name=value")
    if FLAGS.config is None or not FLAGS.topology:
        raise UserError("--config=configs/NAME.py and --topology=TYPE:AxB are needed")
    validate(FLAGS.config)
    # The slice is only described; a real TPU of this machine stays free.
    jax.config.update("jax_platforms", "cpu")
    found = compile_all(FLAGS.config, FLAGS.topology, FLAGS.program, FLAGS.model, FLAGS.tokens)
    if FLAGS.json:
        storage.write_json(storage.path(FLAGS.json), found.to_json())


if __name__ == "__main__":
    define_flags()
    logging.set_verbosity(logging.WARNING)
    sys.exit(app.run(main, flags_parser=command.parse))
