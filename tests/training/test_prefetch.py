"""One thing is made ahead, in order, on a thread that ends."""

import threading

import pytest

from glore_jax.training.prefetch import prefetch


def makers() -> list[str]:
    """Names of the running threads that make batches."""
    return [t.name for t in threading.enumerate() if t.name.startswith("batches")]


def test_one_is_made_while_the_one_before_is_in_use():
    started = {n: threading.Event() for n in range(3, 7)}
    threads = set()

    def make(n):
        threads.add(threading.current_thread())
        started[n].set()
        return 10 * n

    made = prefetch(make, range(3, 7))
    for n in range(3, 7):
        assert next(made) == 10 * n
        if n < 6:
            assert started[n + 1].wait(timeout=60)  # without being asked for
        if n < 5:
            assert not started[n + 2].is_set()
    assert next(made, None) is None
    assert len(threads) == 1 and threading.main_thread() not in threads
    assert makers() == []


def test_nothing_to_make():
    assert list(prefetch(lambda n: n, range(0))) == []
    assert makers() == []


def test_an_error_comes_in_place_of_its_result_and_ends_the_thread():
    asked = []

    def make(n):
        asked.append(n)
        return 6 // (2 - n)

    made = prefetch(make, range(5))
    assert [next(made), next(made)] == [3, 6]
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert asked == [0, 1, 2] and makers() == []


def test_closing_makes_no_more():
    asked = []
    made = prefetch(asked.append, range(100))
    next(made)
    made.close()
    assert len(asked) <= 2 and makers() == []
