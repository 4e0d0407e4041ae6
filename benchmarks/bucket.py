"""The bucket of the campaign: a real GCS server on this machine, behind a door that can jam."""

from __future__ import annotations

import contextlib
import json
import pathlib
import urllib.parse
import urllib.request
from collections.abc import Iterator

from tests import bucket

_NAME = "campaign"

# How the door fails -> what it does with every request meanwhile.
FAILURES = {"unavailable": "503", "cut": "half", "gone": "drop"}


class FailingServer:
    """A server with one bucket. As a context it runs until its end.

    Attributes:
      variables: environment of the processes that use it.
    """

    def __enter__(self) -> FailingServer:
        self._server, self._address = bucket.start_server()
        bucket.make_bucket(self._address, _NAME)
        self._door = bucket.Door(self._address)
        self.variables = bucket.variables(self._door.address)
        return self

    def __exit__(self, *error: object) -> None:
        self._door.shutdown()
        self._door.server_close()
        self._server.kill()
        self._server.wait()

    def url(self, folder: str) -> str:
        return f"gs://{_NAME}/{folder}"

    @contextlib.contextmanager
    def failing(self, how: str) -> Iterator[None]:
        """Inside, every request fails in the way `how` of `FAILURES`."""
        self._door.always = FAILURES[how]
        try:
            yield
        finally:
            self._door.always = ""

    def copy(self, url: str, target: pathlib.Path, suffixes: tuple[str, ...]) -> None:
        """Copies the files below `url` whose names end in one of `suffixes` to `target`."""
        prefix = url.removeprefix(f"gs://{_NAME}/") + "/"
        for name in self._names(prefix):
            if name.endswith(suffixes):
                copy = target / name.removeprefix(prefix)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(self._get(f"/{urllib.parse.quote(name, safe='')}?alt=media"))

    def _names(self, prefix: str) -> Iterator[str]:
        page = ""
        while True:
            found = json.loads(self._get(f"?prefix={urllib.parse.quote(prefix)}&pageToken={page}"))
            yield from (item["name"] for item in found.get("items", ()))
            page = found.get("nextPageToken", "")
            if not page:
                return

    def _get(self, what: str) -> bytes:
        # Not through the door: this is no traffic of the run.
        url = f"http://{self._address}/storage/v1/b/{_NAME}/o{what}"
        with urllib.request.urlopen(url) as answer:
            return answer.read()
