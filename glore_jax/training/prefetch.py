"""The next batch is made and copied by a thread of the host while the devices use this one.

host thread     batch 0    batch 1    batch 2    batch 3
main thread                update 0   update 1   update 2
"""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def prefetch(make: Callable[[int], Made], numbers: Iterable[int]) -> Generator[Made, None, None]:
    """Yields `make(n)` for each n of `numbers`, in order, always one ahead.

    What `make` raises is raised here, in place of its result. Closing the generator ends the
    thread once it has finished what it is making, and makes no more; `contextlib.closing` does
    that however the loop over it ends.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        futures = (thread.submit(make, n) for n in numbers)
        made = next(futures, None)
        while made is not None:
            result = made.result()
            # Submitted before the result is handed out, so that it is made meanwhile.
            made = next(futures, None)
            yield result
