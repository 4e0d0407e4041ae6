"""Rows of a TFDS builder without TensorFlow: prepared once as ArrayRecord files, then read.

TFDS's own default, TFRecord, needs TensorFlow to be written and read; ArrayRecord does not. Every
task that has a builder goes through `read`, so that the peculiarities of TFDS are known in one
place.
"""

import contextlib
import logging as std_logging
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from glore_jax.errors import UserError

FILE_FORMAT = "array_record"


MakeBuilder = Callable[[], tfds.core.DatasetBuilder]


def prepare(make_builder: MakeBuilder, advice: str) -> tfds.core.DatasetBuilder:
    """A builder whose data lie on disk; downloads and writes them if they are not there yet.

    Args:
      make_builder: makes a fresh builder; it must pass `file_format=FILE_FORMAT` to the builder.
      advice: what the user can do instead, for the message if the preparation fails.

    Raises:
      UserError: the data cannot be downloaded or written, or the builder itself raised one (a
        malformed row).
    """
    builder = make_builder()
    try:
        if not builder.is_prepared():
            logging.info(
                "TFDS prepares %s in %s; without a network it gives up after some minutes, then %s",
                builder.name,
                builder.data_dir,
                advice,
            )
        with _quiet():
            builder.download_and_prepare(file_format=FILE_FORMAT)
        return builder
    except UserError:
        raise
    except Exception as e:  # TFDS lets through whatever its network and file libraries raise
        # Another process may have prepared the same data meanwhile: then ours could not be renamed
        # into place, and the data are there all the same.
        builder = make_builder()
        if builder.is_prepared():
            return builder
        reason = " ".join(str(e).split())[:300] or type(e).__name__
        raise UserError(
            f"cannot prepare the TFDS data set {builder.name}: {reason}; {advice}"
        ) from e


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of every retry: the error in the end says what went wrong."""
    std_logging.disable(std_logging.WARNING)
    try:
        yield
    finally:
        std_logging.disable(std_logging.NOTSET)


def read(make_builder: MakeBuilder, split: str, advice: str) -> list[dict[str, Any]]:
    """The rows of `split` in stored order; prepares the data if need be.

    Texts are `str` (TFDS gives bytes). Stored order is the order of the keys only if the builder's
    info says `disable_shuffling=True`; otherwise TFDS shuffles by a hash of the keys. Arguments and
    errors as in `prepare`, and UserError for a split it does not have.
    """
    builder = prepare(make_builder, advice)
    if split not in builder.info.splits:
        raise UserError(
            f"the TFDS data set {builder.name} has no split '{split}' in {builder.data_dir}"
        )
    source = builder.as_data_source(split)
    return [{key: _text(value) for key, value in row.items()} for row in source]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
