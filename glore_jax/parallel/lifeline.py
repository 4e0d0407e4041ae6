"""One connection from every process to process 0, from the first moment of a run to its last: who is missing, who is gone.

    process 1 ──"1"──►            all have come             ──► "go" to each
    process 2 ──"2"──►  process 0  one ends: "0", or its word ──► that word to each, and all end
    process 3 ──"3"──►            one is killed: silence     ──► "process 3 is gone", and all end

JAX notices a dead process too, but only by missing heartbeats: after a minute or two, with a stack trace that does not say which.
Here the kernel of the dead one's machine says it at once, and if the machine is down itself, unanswered probes do.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from glore_jax.errors import UserError

PROBES = {
    "TCP_KEEPIDLE": 15,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
}  # seconds, seconds, count: gone after 30 s
_IN_PEACE = "0"  # the word of a process that has ended well


class Lifeline:
    """The open connections of one process: of process 0 to all the others, of another to process 0."""

    def __init__(self, index: int, peers: dict[int, socket.socket]):
        self.index, self.peers, self._resting = index, peers, False
        for connection in peers.values():
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in PROBES.items():
                if hasattr(socket, name):  # not on every system
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def watch(self, on_loss: Callable[[str], None]) -> None:
        """Calls `on_loss(who ended, and how)` on a thread of its own as soon as another process has ended other than well."""
        threading.Thread(target=self._watch, args=(on_loss,), name="lifeline", daemon=True).start()

    def rest(self) -> None:
        """From now on nothing is a loss."""
        self._resting = True

    def leave(self, word: str = "") -> None:
        """Tells the others that this process ends: `word` says how; "" is well, and nobody minds."""
        self._resting |= bool(
            word
        )  # whoever hears it ends, and that must not change how this one does
        self._send(f"process {self.index} {' '.join(word.split())}" if word else _IN_PEACE)

    def _watch(self, on_loss: Callable[[str], None]) -> None:
        with selectors.DefaultSelector() as open_ends:
            for peer, connection in self.peers.items():
                open_ends.register(connection, selectors.EVENT_READ, peer)
            while open_ends.get_map():
                for key, _ in open_ends.select():
                    word = _hear(key.fileobj)
                    open_ends.unregister(key.fileobj)
                    if word == _IN_PEACE or self._resting:
                        continue
                    loss = word or f"process {key.data} is gone: killed, or its machine is down"
                    self._send(loss)
                    on_loss(loss)
                    return

    def _send(self, line: str) -> None:
        for connection in self.peers.values():
            with contextlib.suppress(OSError):  # gone too
                connection.sendall(f"{line}\n".encode())


def _hear(connection: socket.socket) -> str:
    """The one line that ever comes, or "" if the other end closes without a word."""
    data = b""
    with contextlib.suppress(OSError):  # what had come by then counts
        while not data.endswith(b"\n") and (more := connection.recv(4096)):
            data += more
    return data.decode(errors="replace").strip()


def roll_call(address: str, count: int, index: int, timeout: float) -> Lifeline:
    """Returns in every process once all `count` have reported to process 0 at `address`.

    Raises UserError if the address is malformed, or naming who did not report within `timeout` seconds.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal():
        raise UserError(f"coordinator address {address!r}: needs the form HOST:PORT")
    deadline = time.monotonic() + timeout
    if index == 0:
        return Lifeline(0, _hear_all(int(port), set(range(1, count)), deadline, timeout))
    trouble: Exception | str = "it closed the connection"
    while time.monotonic() < deadline:
        with contextlib.ExitStack() as unless_called:
            try:
                connection = socket.create_connection((host, int(port)), timeout=5)
                unless_called.enter_context(connection)
                connection.sendall(f"{index}\n".encode())
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                if connection.recv(2) == b"go":
                    unless_called.pop_all()
                    return Lifeline(index, {0: connection})
            except OSError as e:
                trouble = e
        time.sleep(0.2)
    raise UserError(
        f"process {index} heard nothing from process 0 at {address} in {timeout} s: {trouble}; is that port open?"
    )


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def _hear_all(
    port: int, missing: set[int], deadline: float, timeout: float
) -> dict[int, socket.socket]:
    """Listens where JAX's coordinator will listen afterwards, until every process of `missing` has reported: their connections."""
    both = socket.has_dualstack_ipv6()
    try:
        server = socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        )
    except OSError as e:
        raise UserError(
            f"process 0 cannot listen on port {port}: {e.strerror}; choose another port in --coordinator"
        ) from e
    expected, present = frozenset(missing), {}
    with server, contextlib.ExitStack() as unless_all_come:
        while missing:
            try:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                connection, _ = server.accept()
            except TimeoutError as e:
                names = ", ".join(map(str, sorted(missing)))
                raise UserError(
                    f"process {names} did not report to process 0 on port {port} within {timeout} s"
                ) from e
            unless_all_come.enter_context(connection)
            connection.settimeout(5)
            try:
                report = connection.recv(16).decode(errors="replace").strip()
            except OSError:  # not one of ours, or it broke off; ours will try again
                continue
            if report.isdecimal() and int(report) in expected:
                missing.discard(int(report))
                present[int(report)] = connection
        for connection in present.values():
            with contextlib.suppress(OSError):
                connection.sendall(b"go")
        unless_all_come.pop_all()
    return present
