"""The client of gs:// paths: fresh answers, and patience with a server that does not answer.

`storage` makes it the client of the whole process, so that `etils.epath` and Orbax open such paths
with it as well. Against gcsfs, on which it rests:

* Nothing is remembered. gcsfs keeps listings for ever and answers "not there" from them; several
  processes that work in one folder then see different things, and a barrier does not help.
* A request that fails in passing (see `errors.is_passing`) is sent again for `PATIENCE_SECONDS`, a
  silent connection is given up after `SILENCE_SECONDS`, and a line in the log says what is waited
  for. gcsfs itself gives up after half a minute, and waits for a silent server for ever.
* Only HTTP. gcsfs would first ask over gRPC what kind of bucket it is, which takes a minute where
  that is not allowed, and is needed only for zonal buckets.
"""

import asyncio
import inspect
import itertools
import os
import random
import time
from typing import Any

import aiohttp
from absl import logging
from gcsfs.core import GCSFileSystem

from glore_jax.errors import is_passing

# For one request, all attempts together.
PATIENCE_SECONDS = float(os.environ.get("GLORE_STORAGE_PATIENCE", "300"))
# To connect, and between two pieces of an answer.
SILENCE_SECONDS = float(os.environ.get("GLORE_STORAGE_SILENCE", "60"))
_LONGEST_PAUSE_SECONDS = 30.0
_LOG_SECONDS = 10.0  # many requests fail together; one line stands for all in this time

# gcsfs's own attempts are wrapped around the one that this is.
_request_once = inspect.unwrap(GCSFileSystem._request)


class Client(GCSFileSystem):
    """`gcsfs.GCSFileSystem` as a run of several processes needs it; the same options."""

    _logged = -_LOG_SECONDS  # when the last line was; for all clients of the process

    def __init__(self, *args: Any, **options: Any):
        silence = aiohttp.ClientTimeout(
            total=None, sock_connect=SILENCE_SECONDS, sock_read=SILENCE_SECONDS
        )
        options = {"requests_timeout": silence} | options | {"use_listings_cache": False}
        super().__init__(*args, **options)

    async def _request(self, method: str, path: str, *args: Any, **options: Any) -> Any:
        """One request of the protocol, sent again while it fails in passing."""
        start = time.monotonic()
        for attempt in itertools.count():
            try:
                return await _request_once(self, method, path, *args, **options)
            except FileNotFoundError:
                if method == "DELETE" and attempt:  # the attempt before had arrived
                    return 204, {}, None, b""
                raise
            except Exception as error:
                pause = _pause(attempt)
                spent = time.monotonic() - start
                if not is_passing(error) or spent + pause > PATIENCE_SECONDS:
                    raise
                self._say(error, pause, spent)
            await asyncio.sleep(pause)

    def _say(self, error: Exception, pause: float, spent: float) -> None:
        now = time.monotonic()
        if now - Client._logged < _LOG_SECONDS:
            return
        Client._logged = now
        logging.warning(
            "gs:// does not answer (%s): trying again in %.1f s, for %.0f s more",
            " ".join(str(error).split()) or type(error).__name__,
            pause,
            PATIENCE_SECONDS - spent,
        )


def _pause(attempt: int) -> float:
    """Seconds before the next attempt: twice as long each time, and so different between processes
    that they do not come back together."""
    return random.uniform(0.5, 1.0) * min(2.0**attempt, _LONGEST_PAUSE_SECONDS)
