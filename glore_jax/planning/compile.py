"""Compile what a run would execute on a Cloud TPU slice, without the slice, and say whether it fits and what it costs.

    python -m glore_jax.planning.compile --config=configs/gsm8k_llama2_7b.py --topology=v5e:4x4 [--program=student,rollout]
        [--model=llama2_7b] [--json=FILE] [--config.mesh.fsdp=8 ...]

A command like `glore_jax/main.py`, so that it alone in this room looks up: it hands the stages' own programs (`planning/programs.py`) to
the compiler (`measure.py`). Needs libtpu (pip install -e '.[tpu]') and no TPU. A program that does not fit is an answer, not an
error: the exit code is 0, and 2 only for a mistake in the command.
"""

import sys

from absl import app, flags, logging
from ml_collections import config_flags

from glore_jax import command, storage
from glore_jax.config import validate
from glore_jax.errors import UserError
from glore_jax.parallel import chips
from glore_jax.planning import slices

FLAGS = flags.FLAGS
GIB = chips.GIB
HINTS = {
    "training": "a larger slice, --config.model.remat=full, or fewer rows a chip: a smaller batch_size or a larger mesh.data x mesh.fsdp",
    "host": "a smaller --config.engine.groups or a larger --config.engine.tensor; a chip with more memory if the weights alone do not fit",
}


HEADER = (
    f"{'program':<9} {'fits':<5}{'args':>7}{'temp':>7}{'peak':>7} GiB{'TFLOPs':>10}{'of model':>9}{'GiB moved':>11}{'of least':>9}"
    f"{'at best ms':>11}  collectives (times, GiB)"
)


def define_flags() -> None:
    config_flags.DEFINE_config_file(
        "config", None, "a file like configs/gsm8k_llama2_7b.py", lock_config=True
    )
    flags.DEFINE_string(
        "topology", None, "a slice by the shape of its chips: v5e:4x4, v4:2x2x4, v5p:2x2x4, v6e:4x4"
    )
    flags.DEFINE_list(
        "program", ["all"], "student, reward, refiner, rollout, prefill, score; default: all"
    )
    flags.DEFINE_string(
        "model",
        None,
        "llama2_7b, llama2_13b, llama3_8b or llama3_70b; default: what config.model.base is",
    )
    flags.DEFINE_integer("tokens", 256, "tokens of a question with its solution", lower_bound=1)
    flags.DEFINE_string("json", None, "write the figures to this file too")


def shape_of(config, model: str | None):
    """(LlamaConfig, its name) of `model`, or of the checkpoint that the config names: its config.json, else its folder's name."""
    from glore_jax.models import hf_import, shapes
    from glore_jax.stages import models

    if model:
        return shapes.named(model), model
    folder = models.base_folder(config)
    if (folder / "config.json").exists():
        return hf_import.read_config(folder), str(config.model.base)
    name = shapes.guess(config.model.base)
    if name is None:
        raise UserError(
            f"config.model.base {config.model.base!r} is not here, and its name tells no shape: give --model"
        )
    return shapes.named(name), name


def compile_all(
    config, topology: str, names: list[str], model: str | None, tokens: int, say=print
) -> dict:
    """{topology, model, programs: {name: figures of `measure.measure`}}; `say` gets a line for each program as it is done."""
    from glore_jax.planning import measure
    from glore_jax.planning import programs

    if "all" in names:
        names = list(programs.NAMES)
    for name in names:
        if name not in programs.NAMES:
            raise UserError(
                f"--program={name!r} is not known: choose from {', '.join(programs.NAMES)}, all"
            )
    chip, (shape, title) = slices.chip_of(topology), shape_of(config, model)
    # What is wrong with the name or the installation shows before anything is compiled.
    slices.describe(topology)
    say(
        f"{title} on {topology}: {chip.memory / GIB:.2f} GiB a chip to use; figures of one chip, none timed"
    )
    say(HEADER)
    found = {}
    for name in names:
        program = programs.build(name, config, shape, topology, programs.Assumed(tokens))
        found[name] = measure.measure(program, chip)
        say(row(name, found[name]))
        if not found[name]["fits"]:
            hint = HINTS["training" if name in programs.TRAINING else "host"]
            say(f"  {found[name]['says'][:200]}\n  try {hint}")
    return {"topology": topology, "model": title, "programs": found}


def row(name: str, f: dict) -> str:
    if not f["fits"]:
        size = f"{f['needed_bytes'] / GIB:.2f} GiB needed" if "needed_bytes" in f else ""
        return f"{name:<9} {'NO':<5}{size}"
    moved = ", ".join(
        f"{k} {c['count']:g}, {c['bytes'] / GIB:.2f}" for k, c in f["collectives"].items()
    )
    sizes = "".join(f"{f[k] / GIB:7.2f}" for k in ("argument_bytes", "temp_bytes", "peak_bytes"))
    least = f"{f['bytes_ratio']:9.2f}" if f["bytes_ratio"] else f"{'':9}"
    longest = max(f["seconds"], key=f["seconds"].get)
    best = f"{1000 * f['seconds'][longest]:8.1f} {longest[:2]}"
    line = f"{name:<9} {'yes':<5}{sizes}    {f['flops'] / 1e12:10.3f}{f['flops_ratio']:9.2f}{f['bytes_accessed'] / GIB:11.2f}{least}{best}  {moved}"
    for what, items in (
        ("whole on every chip", f["unsharded"]),
        ("donated in vain", f["unaliased_bytes"]),
    ):
        line += f"\n  {what}: {items}" if items else ""
    return line


def main(argv: list[str]) -> int:
    try:
        if len(argv) > 1:
            raise UserError(f"unexpected argument {argv[1]!r}: flags have the form --name=value")
        if FLAGS.config is None or not FLAGS.topology:
            raise UserError("--config=configs/NAME.py and --topology=TYPE:AxB are needed")
        validate(FLAGS.config)
        import jax

        # The slice is only described; a real TPU of this machine stays free.
        jax.config.update("jax_platforms", "cpu")
        found = compile_all(FLAGS.config, FLAGS.topology, FLAGS.program, FLAGS.model, FLAGS.tokens)
        if FLAGS.json:
            storage.write_json(storage.path(FLAGS.json), found)
        return 0
    except UserError as e:
        return command.end(f"error: {e}", 2)
    except KeyboardInterrupt:
        return command.end("interrupted", 130)


if __name__ == "__main__":
    define_flags()
    logging.set_verbosity(logging.WARNING)
    sys.exit(app.run(main, flags_parser=command.parse))
