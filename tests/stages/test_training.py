"""From examples to batches of a stage."""

from tiny_llama import CONFIG

from glore_jax.config import training as section_of
from glore_jax.parallel import mesh as meshes
from glore_jax.stages import training
from glore_jax.training.examples import language_example


def test_what_is_longer_than_a_row_is_counted(ctx):
    ctx.mesh = meshes.make_mesh(2, 2, 2)
    section = section_of(1e-3, 1e-4, 4, 1)
    section.row_length = 1000
    # The context is 160.
    examples = [language_example([3] * 10, [4] * n) for n in (10, 100, 151, 140, 200)]
    batches, too_long = training.make_batches(ctx, examples, section, CONFIG)
    assert too_long == 2 and batches.plan.row_length == 160
    assert sorted(batches.examples.lengths) == [20, 110, 150]
    assert batches.plan.rows % 4 == 0  # of data x fsdp
