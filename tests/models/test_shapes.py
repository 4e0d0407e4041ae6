"""The published sizes, without weights."""

import jax
import pytest

from glore_jax.errors import UserError
from glore_jax.models import llama, shapes


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("llama2_7b", 6_738_415_616),
        ("llama2_13b", 13_015_864_320),
        ("llama3_8b", 8_030_261_248),
        ("llama3_70b", 70_553_706_496),
    ],
)
def test_parameters_are_those_published(name, parameters):
    leaves = jax.tree.leaves(llama.abstract(shapes.named(name))[1])
    assert sum(x.size for x in leaves) == parameters


@pytest.mark.parametrize(
    "folder, name",
    [
        ("checkpoints/llama-2-7b-hf", "llama2_7b"),
        ("gs://b/Llama-2-13b-chat/", "llama2_13b"),
        ("meta/Meta-Llama-3-70B", "llama3_70b"),
        ("llama2_7b/mistral", None),
        ("tiny", None),
        ("", None),
    ],
)
def test_a_folder_name_tells_the_shape(folder, name):
    assert shapes.guess(folder) == name


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="'llama9' has no known shape: choose one of llama2_7b, "):
        shapes.named("llama9")
