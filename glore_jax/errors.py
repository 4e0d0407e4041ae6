"""Errors that are not mistakes of the program: what the user can mend, and what mends itself.

    UserError            one clear line that says what to do           exit code 2
      TransientError     nobody is to blame, and it will pass          exit code 4

`is_passing` tells the second kind from the first in whatever the libraries raise.
"""

import errno
import re
from collections.abc import Iterator
from typing import NoReturn


class UserError(Exception):
    """Something the user can put right.

    The message is one clear line that names the file, field or row and says what to do. The
    commands print it as `glore: error: MESSAGE` on stderr and exit with code 2; a traceback would
    only hide it.
    """


class TransientError(UserError):
    """A machine or the network between did not answer, although it was asked again and again.

    The same command goes on from here, later. The commands exit with code 4.
    """


def refuse(message: str) -> NoReturn:
    """UserError: what becomes of a malformed row, unless somebody gathers them all."""
    raise UserError(message)


# HTTP: time-out, too many requests, and what a server says that is down or overloaded.
_PASSING_CODES = {"408", "429", "500", "502", "503", "504"}
# A network, or a disk behind one.
_PASSING_ERRNOS = {
    errno.EAGAIN,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EPIPE,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETRESET,
    errno.ENETUNREACH,
}
# By name, since the libraries may not be installed: of aiohttp, fsspec and gcsfs; of requests; of
# Google's credentials (those come over the network too); of the C library's name look-up.
_PASSING_TYPES = {
    "ClientConnectionError",
    "ClientPayloadError",
    "ChecksumError",
    "ChunkedEncodingError",
    "ConnectionError",
    "Timeout",
    "TransportError",
    "gaierror",
}
# TensorStore says it in the text of a ValueError.
_PASSING_TEXT = re.compile(r"(UNAVAILABLE|DEADLINE_EXCEEDED|ABORTED)\b")


def is_passing(error: BaseException) -> bool:
    """Whether the same attempt may succeed later, with nothing changed: a server that answers 503,
    a cut connection, no answer in time, a name that is not resolved."""
    return any(_passes(link) for link in _chain(error))


def _passes(error: BaseException) -> bool:
    if isinstance(error, TransientError | TimeoutError | ConnectionError):
        return True
    code = getattr(error, "code", None) or getattr(error, "status", None)
    if str(code) in _PASSING_CODES:
        return True
    # An access token that ran out; the next attempt gets another.
    if str(code) == "401" and "Invalid Credentials" in str(error):
        return True
    if isinstance(error, OSError) and error.errno in _PASSING_ERRNOS:
        return True
    if isinstance(error, ValueError) and _PASSING_TEXT.match(str(error)):
        return True
    return any(kind.__name__ in _PASSING_TYPES for kind in type(error).__mro__)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """`error`, and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__
