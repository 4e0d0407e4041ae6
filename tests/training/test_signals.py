"""A signal is noted, and none is lost."""

import os
import signal
import threading

import pytest

from glore_jax.training.signals import deferred_signals


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_handed_on_at_the_end(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), deferred_signals() as signalled:
        assert not signalled()
        send(number)
        assert signalled()
        reached = True
    assert reached and signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts_at_once():
    with pytest.raises(KeyboardInterrupt), deferred_signals():
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # waits all the same
        reached = True
        send(signal.SIGINT)
        reached = False
    assert reached


def test_an_error_is_not_replaced():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), deferred_signals():
        send(signal.SIGTERM)
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def run():
        with deferred_signals() as signalled:
            found.append((signalled(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(False, before)]
