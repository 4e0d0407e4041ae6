"""A run that is stopped and goes on elsewhere ends as one that stayed.

Elsewhere: on more or fewer devices or processes.
"""

import jax
import numpy as np
import pytest
import several
import tiny_run


@pytest.fixture(scope="module")
def stayed(tmp_path_factory):
    """(parameters, losses) of the run on one device."""
    return tiny_run.train(tmp_path_factory.mktemp("stayed"), (1, 1, 1), jax.devices()[:1])


def interrupted(*arguments, **options):
    """The losses until it was stopped."""
    with pytest.raises(KeyboardInterrupt) as stop:
        tiny_run.train(*arguments, **options)
    return stop.value.args[0]


def assert_same(stayed, params, losses, updates):
    assert list(losses) == list(updates)
    expected = [stayed[1][n] for n in updates]
    np.testing.assert_allclose(list(losses.values()), expected, rtol=1e-4)
    if params is not None:
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(stayed[0])):
            np.testing.assert_allclose(a, b, atol=1e-4)


def test_from_eight_devices_to_four_to_one_and_back(tmp_path, stayed):
    where = [((1, 8, 1), 8, 3), ((1, 2, 2), 4, 6), ((1, 1, 1), 1, 8), ((4, 1, 2), 8, None)]
    first = 0
    for sizes, count, last in where:
        arguments = (tmp_path, sizes, jax.devices()[:count])
        params = None
        if last:
            losses = interrupted(*arguments, stop_after=last)
        else:
            params, losses = tiny_run.train(*arguments)
        assert_same(stayed, params, losses, range(first, last or tiny_run.UPDATES))
        first = last


def test_from_one_process_to_two_and_back(tmp_path, stayed):
    """One of the two is signalled, and only one finds that it is time to save.

    Both save after the same updates, and end.
    """
    interrupted(tmp_path, (1, 1, 1), jax.devices()[:1], stop_after=2)

    def arguments(address, index):
        return tiny_run.__file__, tmp_path, "1,2,2", address, 2, index

    with several.together(2, arguments, devices=2) as run:
        ends = several.ended(run)
    assert [code for code, *_ in ends] == [130, 130], ends
    saved = max(int(p.name) for p in tmp_path.iterdir())
    # What is agreed is known one update late.
    assert tiny_run.SIGNALLED < saved <= tiny_run.SIGNALLED + 3
    params, losses = tiny_run.train(tmp_path, (1, 2, 1), jax.devices()[:2])
    assert_same(stayed, params, losses, range(saved, tiny_run.UPDATES))
