"""One connection from every process to process 0, from the first moment of a run to its last.

It tells who is missing at the start and who is gone later:

    process 1 ──"1"──►             all have come               ──► "go" to each
    process 2 ──"2"──►  process 0  one ends: "0", or a reason  ──► the reason to each; all end
    process 3 ──"3"──►             one is killed: silence      ──► "process 3 is gone"; all end

JAX notices a dead process too, but only by missing heartbeats: after a minute or two, with a
stack trace that does not say which. Here the kernel of the dead one's machine says it at once,
and if the machine is down itself, unanswered probes do.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

from glore_jax.errors import TransientError, UserError

# Seconds, seconds, count: a machine that answers no probe is gone after 15 + 3 * 5 = 30 s.
KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
_ENDED_WELL = "0"  # the line of a process that has ended well
_ALL_HERE = b"go"  # what process 0 answers once everybody has come
_RETRY_SECONDS = 0.2  # between two attempts to reach process 0


class Lifeline:
    """The open connections of one process: of process 0 to all the others, of another to it.

    Attributes:
      index: number of this process.
      peers: number of the process at the other end -> connection.
    """

    def __init__(self, index: int, peers: dict[int, socket.socket]):
        self.index = index
        self.peers = peers
        self._ignores_losses = False
        for connection in peers.values():
            connection.settimeout(None)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):  # not on every system
                    connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def watch(self, on_loss: Callable[[str], None]) -> None:
        """Calls `on_loss(who ended, and how)` once another process has ended other than well.

        It is called on a thread of its own, as soon as the loss is known, and at most once.
        """
        threading.Thread(target=self._watch, args=(on_loss,), name="lifeline", daemon=True).start()

    def ignore_losses(self) -> None:
        """From now on it is no loss that a process ends, however it does."""
        self._ignores_losses = True

    def announce_exit(self, reason: str = "") -> None:
        """Tells the others that this process ends, and why; "" is well, and nobody minds."""
        if not reason:
            self._send(_ENDED_WELL)
            return
        # Whoever reads the reason ends too, and that must not change how this process ends.
        self.ignore_losses()
        one_line = " ".join(reason.split())
        self._send(f"process {self.index} {one_line}")

    def _watch(self, on_loss: Callable[[str], None]) -> None:
        with selectors.DefaultSelector() as selector:
            for peer, connection in self.peers.items():
                selector.register(connection, selectors.EVENT_READ, peer)
            while selector.get_map():
                for key, _ in selector.select():
                    connection = self.peers[key.data]
                    line = _read_line(connection)
                    selector.unregister(connection)
                    if line == _ENDED_WELL or self._ignores_losses:
                        continue
                    loss = line or f"process {key.data} is gone: killed, or its machine is down"
                    # The others are connected to process 0 alone: it passes on what it hears.
                    self._send(loss)
                    on_loss(loss)
                    return

    def _send(self, line: str) -> None:
        for connection in self.peers.values():
            with contextlib.suppress(OSError):  # gone too
                connection.sendall(f"{line}\n".encode())


def _read_line(connection: socket.socket) -> str:
    """The one line that ever comes, or "" if the other end closes without any."""
    data = b""
    with contextlib.suppress(OSError):  # what had come by then counts
        while not data.endswith(b"\n"):
            more = connection.recv(4096)
            if not more:
                break
            data += more
    return data.decode(errors="replace").strip()


def rendezvous(address: str, count: int, index: int, timeout: float) -> Lifeline:
    """Returns in every process once all `count` of them have reported to process 0.

    Args:
      address: `HOST:PORT`, where process 0 listens until all have come.
      count: how many processes the run has.
      index: number of this one.
      timeout: seconds to wait for the others.

    Raises:
      UserError: the address is malformed.
      TransientError: somebody did not report in time; it says who. They may when all start again.
    """
    host, port = host_and_port(address)
    deadline = time.monotonic() + timeout
    if index == 0:
        others = frozenset(range(1, count))
        return Lifeline(0, _accept_all(port, others, deadline, timeout))
    trouble: Exception | str = "it closed the connection"
    while time.monotonic() < deadline:
        try:
            connection = _report(host, port, index, deadline)
        except OSError as error:
            trouble = error
        else:
            if connection is not None:
                return Lifeline(index, {0: connection})
        time.sleep(_RETRY_SECONDS)
    raise TransientError(
        f"process {index} heard nothing from process 0 at {address} in {timeout} s: {trouble}; "
        "is that port open?"
    )


def host_and_port(address: str) -> tuple[str, int]:
    """The two halves of `HOST:PORT`. UserError if it has another form."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")  # of an IPv6 address
    if not host or not port.isdecimal():
        raise UserError(f"coordinator address {address!r}: needs the form HOST:PORT")
    return host, int(port)


def free_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


def _report(host: str, port: int, index: int, deadline: float) -> socket.socket | None:
    """The connection to process 0 once all have reported; None if it closed it before."""
    with contextlib.ExitStack() as unless_all_here:
        connection = socket.create_connection((host, port), timeout=5)
        unless_all_here.enter_context(connection)
        connection.sendall(f"{index}\n".encode())
        connection.settimeout(max(0.1, deadline - time.monotonic()))
        if connection.recv(len(_ALL_HERE)) != _ALL_HERE:
            return None
        unless_all_here.pop_all()
        return connection


def _accept_all(
    port: int, expected: frozenset[int], deadline: float, timeout: float
) -> dict[int, socket.socket]:
    """The connections of all `expected` processes, once each of them has reported.

    Listens where JAX's coordinator will listen afterwards.
    """
    present: dict[int, socket.socket] = {}
    with _listen(port) as server, contextlib.ExitStack() as unless_all_here:
        while missing := expected - present.keys():
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                connection, _ = server.accept()
            except TimeoutError as error:
                names = ", ".join(map(str, sorted(missing)))
                raise TransientError(
                    f"process {names} did not report to process 0 on port {port} within {timeout} s"
                ) from error
            unless_all_here.enter_context(connection)
            connection.settimeout(5)
            try:
                report = connection.recv(16).decode(errors="replace").strip()
            except OSError:  # not one of ours, or it broke off; ours will try again
                continue
            if report.isdecimal() and int(report) in expected:
                present[int(report)] = connection
        for connection in present.values():
            with contextlib.suppress(OSError):
                connection.sendall(_ALL_HERE)
        unless_all_here.pop_all()
    return present


def _listen(port: int) -> socket.socket:
    """A server on `port`, of IPv4 and, where the system has it, IPv6. UserError if it is taken."""
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise UserError(
            f"process 0 cannot listen on port {port}: {error.strerror}; "
            "choose another port in --coordinator"
        ) from error
