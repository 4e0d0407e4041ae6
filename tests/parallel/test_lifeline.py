"""Who is missing at the start, who is gone later, and who has only ended."""

import queue
import socket
import threading

import pytest
import several

from glore_jax.errors import TransientError, UserError
from glore_jax.parallel.lifeline import Lifeline, rendezvous


def gather(count):
    """The lifelines of `count` processes, by number."""
    address = several.free_address()
    lines = {}

    def join(index):
        lines[index] = rendezvous(address, count, index, 20)

    threads = [threading.Thread(target=join, args=(i,)) for i in reversed(range(count))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return lines


def drop(line):
    for connection in line.peers.values():
        connection.close()


def watched(lines):
    """A queue of (number, what it heard)."""
    heard = queue.Queue()
    for index, line in lines.items():
        line.watch(lambda loss, index=index: heard.put((index, loss)))
    return heard


def test_rendezvous_ends_when_all_have_reported():
    lines = gather(4)
    peers = {i: sorted(line.peers) for i, line in lines.items()}
    assert peers == {0: [1, 2, 3], 1: [0], 2: [0], 3: [0]}


def test_process_0_names_who_is_missing():
    address = several.free_address()
    worker = threading.Thread(
        target=lambda: pytest.raises(UserError, rendezvous, address, 4, 2, 1.5)
    )
    worker.start()
    stranger = threading.Timer(0.3, lambda: socket.create_connection(address.split(":")).close())
    stranger.start()  # a port scan is no report
    line = r"^process 1, 3 did not report to process 0 on port \d+ within 1 s$"
    with pytest.raises(TransientError, match=line):
        rendezvous(address, 4, 0, timeout=1)
    worker.join()
    stranger.join()


def test_worker_names_the_coordinator_that_it_cannot_reach():
    address = several.free_address()
    line = rf"^process 1 heard nothing from process 0 at {address} in 1 s: .*refused"
    with pytest.raises(TransientError, match=line):
        rendezvous(address, 2, 1, timeout=1)


@pytest.mark.parametrize("gone", [0, 2])
def test_a_process_that_vanishes_is_named_to_all_others(gone):
    lines = gather(4)
    vanished = lines.pop(gone)
    heard = watched(lines)
    drop(vanished)
    line = f"process {gone} is gone: killed, or its machine is down"
    assert sorted(heard.get(timeout=20) for _ in lines) == [(i, line) for i in sorted(lines)]


@pytest.mark.parametrize("failing", [0, 2])
def test_a_process_that_fails_says_why(failing):
    lines = gather(3)
    failed = lines.pop(failing)
    heard = watched(lines)
    failed.announce_exit("ended with exit code 2 (no space\nleft)")
    drop(failed)
    line = f"process {failing} ended with exit code 2 (no space left)"
    assert sorted(heard.get(timeout=20) for _ in lines) == [(i, line) for i in sorted(lines)]


def test_nobody_minds_who_ends_well():
    """The last one vanishes; that this is heard shows that nothing was heard of those before."""
    lines = gather(4)
    heard = watched({0: lines[0]})
    for index in (3, 1):
        lines[index].announce_exit()
        drop(lines[index])
    drop(lines[2])
    assert heard.get(timeout=20) == (0, "process 2 is gone: killed, or its machine is down")
    assert heard.empty()


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="not on this system")
def test_a_machine_that_is_switched_off_is_noticed():
    """It closes nothing: the other end has to probe, and to give up within half a minute."""
    with socket.socket() as here:
        Lifeline(1, {0: here})
        assert here.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        idle, interval, count = (here.getsockopt(socket.IPPROTO_TCP, option) for option in options)
        assert idle + interval * count == 30
