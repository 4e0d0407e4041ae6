"""Small values between processes, through the coordinator of `jax.distributed`.

JAX's coordinator, in process 0, keeps a table of names and values for the whole run. It is asked
over the network, without a collective of the devices and without a file, so that processes may come
to it at different times: who is busy decoding holds up nobody.

    from_main     process 0 decides, all are told      what is done already, what is missing
    check_same    all must say the same                the training set
    Counter       each number goes to one process      which part of the work is next

Calls of one name match by their order: each process has to make the same ones (of a `Counter`, to
make the same counters; how often each draws from them is its own affair).

With one process nothing is asked, and JAX is not imported.
"""

import collections
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

from glore_jax.errors import UserError
from glore_jax.parallel import processes

_PATIENCE_MILLISECONDS = 1000  # of one question; then signals get their turn, and it is asked again
_RETRY_SECONDS = 0.2

_calls: dict[str, itertools.count] = collections.defaultdict(itertools.count)


def from_main(name: str, make: Callable[[], Any]) -> Any:
    """The result of `make`, called on process 0 alone, in every process.

    It comes back as JSON has it (lists for tuples, string keys), on process 0 as elsewhere, so that
    one process sees what several would. Whatever `make` raises, process 0 raises; the others end
    with it.
    """
    if processes.is_single():
        return json.loads(json.dumps(make()))
    key = _key(name)
    if processes.is_main():
        _client().key_value_set(key, json.dumps(make()))
    return json.loads(_get(key))


def check_same(what: str, fingerprint: str) -> None:
    """UserError in every process, unless all of them have the same `fingerprint` of `what`.

    It says which processes differ from process 0.
    """
    if processes.is_single():
        return
    key = _key(what)
    _client().key_value_set(f"{key}/{processes.index()}", fingerprint)

    def differing() -> list[int]:
        others = range(1, processes.count())
        return [index for index in others if _get(f"{key}/{index}") != fingerprint]

    different = from_main(f"{what} compared", differing)
    if different:
        who = ", ".join(map(str, different))
        raise UserError(
            f"{what} is not the same everywhere: process {who} has another than process 0. "
            "All processes must read the same work directory, data and config"
        )


class Counter:
    """0, 1, 2, ...: each number goes to one caller of one process. Or a sum of what all add.

    Args:
      name: of what is counted.
    """

    def __init__(self, name: str):
        self._key = _key(name)
        self._sum = 0  # of the only process

    def next(self) -> int:
        """The first number that nobody has been given."""
        return self.add(1) - 1

    def add(self, count: int) -> int:
        """The sum of all that was added by any process, `count` included."""
        if processes.is_single():
            self._sum += count
            return self._sum
        return _client().key_value_increment(self._key, count)


def _key(name: str) -> str:
    """The key of this call: the n-th one of its name, in every process."""
    return f"glore_jax/{name}/{next(_calls[name])}"


def _get(key: str) -> str:
    """The value of `key`, as soon as somebody has set it."""
    while True:
        try:
            return _client().blocking_key_value_get(key, _PATIENCE_MILLISECONDS)
        except RuntimeError as error:  # JAX's own are RuntimeErrors
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        time.sleep(_RETRY_SECONDS)


def _client() -> Any:
    # There is no public way to it; Orbax and JAX's own checkpoint code take the same.
    from jax._src import distributed

    return distributed.global_state.client
