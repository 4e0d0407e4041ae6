"""A reader sees what it declares, and all that changes nothing but speed and place."""

import copy

import pytest

from glore_jax.config import UndeclaredField, View, default


@pytest.fixture
def view():
    return View(default(), "reader", ("seed", "rollout", "orm.train.lr"))


def test_declared_fields_and_sections(view):
    assert view.seed == view["seed"] == 0
    assert view.rollout.k == 8 and view["rollout"]["schedule"] == "backward"
    assert view.orm.train.lr == 2e-6


def test_fields_of_speed_and_place_need_no_declaration(view):
    assert view.mesh.to_dict() == {"data": 1, "fsdp": -1, "tensor": 1}
    assert view.engine.part_questions == 0
    assert view.model.remat == "auto" and view.sorm.train.save_seconds == 600


@pytest.mark.parametrize(
    "read",
    [
        lambda view: view.name,
        lambda view: view["name"],
        lambda view: view.sample.k,
        lambda view: view.orm.balanced,
        lambda view: view.orm.train.min_lr,
        # None of these takes the field for absent.
        lambda view: view.get("name", "?"),
        lambda view: "name" in view,
        lambda view: hasattr(view, "name"),
        lambda view: view.orm.to_dict(),
        lambda view: dict(view.model),
    ],
)
def test_other_fields_are_refused(view, read):
    with pytest.raises(
        UndeclaredField, match=r"stage reader reads config\.[a-z_.]+, which it does"
    ):
        read(view)


def test_the_error_names_the_whole_field(view):
    with pytest.raises(UndeclaredField, match=r"config\.orm\.train\.batch_size,"):
        view.orm.train.to_dict()


def test_a_longer_name_is_another_field():
    config = default()
    config.seeds = 3
    with pytest.raises(UndeclaredField):
        View(config, "reader", ("seed",)).seeds  # noqa: B018


def test_what_is_not_there(view):
    assert view.get("absent", 3) == 3 and "absent" not in view and not hasattr(view, "absent")
    with pytest.raises(AttributeError, match=r"the config has no field rollout\.kk"):
        view.rollout.kk  # noqa: B018
    with pytest.raises(KeyError):
        view["absent"]


def test_a_section_reads_like_the_real_one(view):
    real = default().rollout
    assert view.rollout.to_dict() == real.to_dict()
    assert dict(view.rollout.items()) == dict(real.items())
    assert len(view.rollout) == len(real) and "k" in view.rollout


def test_nothing_can_be_set(view):
    with pytest.raises(TypeError, match=r"config\.rollout\.k cannot be set"):
        view.rollout.k = 3
    with pytest.raises(TypeError):
        view["seed"] = 3


def test_a_copy_sees_no_more(view):
    with pytest.raises(UndeclaredField):
        copy.copy(view).name  # noqa: B018
