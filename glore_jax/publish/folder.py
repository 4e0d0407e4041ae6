"""The files of a model as others get them: an export without the rows that only meshes need.

Embeddings are padded to a multiple that meshes divide (`model.vocab_multiple`). Rows behind the
tokenizer's last id mean nothing; they are the last of their tensors, so that the copy leaves them
out as it passes:

    embed_tokens   row 0 ... row n-1 | padding      ─►   row 0 ... row n-1
"""

import math
from collections.abc import Iterator

from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models.hf_names import INDEX
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.models.weight_files import Stored, make_header, read_header

_OF_WORDS = ("embed_tokens.weight", "lm_head.weight")  # [rows of the vocabulary, width]
_CHUNK = 1 << 26  # bytes that the host holds


def write(source: epath.Path, target: epath.Path, card: str) -> int:
    """Copies the export `source` to `target` with `card` as its README.md.

    config.json comes last: without it there is no model. Returns the rows of the vocabulary that
    are left, one for each id of the tokenizer.

    UserError if something cannot be read or written.
    """
    config = storage.read_json(source / "config.json")
    rows = min(Tokenizer.load(source).vocab_size, config["vocab_size"])
    sizes = {}
    for name in sorted(storage.names(source)):
        if name.endswith(".safetensors"):
            sizes[name] = _copy_weights(source / name, target / name, rows)
        elif name not in ("config.json", INDEX, "README.md"):
            storage.write_bytes(target / name, storage.read_bytes(source / name))
    if storage.exists(source / INDEX):
        index = storage.read_json(source / INDEX)
        index["metadata"] = {"total_size": sum(sizes.values())}
        storage.write_json(target / INDEX, index)
    storage.write_text(target / "README.md", card)
    storage.write_json(target / "config.json", config | {"vocab_size": rows})
    return rows


def _copy_weights(source: epath.Path, target: epath.Path, rows: int) -> int:
    """Bytes of the tensors that were copied, in the order in which they lie."""
    tensors = sorted(read_header(source).values(), key=lambda stored: stored.start)
    kept = [(stored, _rows_of(stored, rows)) for stored in tensors]
    sizes = [stored.row_bytes * count for stored, count in kept]
    header = make_header(
        (stored.name, stored.dtype, (count, *stored.shape[1:]) if stored.shape else (), size)
        for (stored, count), size in zip(kept, sizes, strict=True)
    )
    with storage.open_whole(target) as file:
        file.write(header)
        for (stored, _), size in zip(kept, sizes, strict=True):
            for piece in _pieces(stored, size):
                file.write(piece)
    return sum(sizes)


def _rows_of(stored: Stored, rows: int) -> int:
    """How many rows of a tensor are kept."""
    if not stored.shape:
        return 1
    of_words = stored.name.endswith(_OF_WORDS)
    return min(rows, stored.shape[0]) if of_words else stored.shape[0]


def _pieces(stored: Stored, size: int) -> Iterator[bytes]:
    """The first `size` bytes of a tensor."""
    for number in range(math.ceil(size / _CHUNK)):
        first = number * _CHUNK
        after = min(first + _CHUNK, size)
        piece = storage.read_range(stored.file, stored.start + first, stored.start + after)
        if len(piece) != after - first:
            raise UserError(f"{stored.file}: damaged: it ends inside the tensor {stored.name}")
        yield piece
