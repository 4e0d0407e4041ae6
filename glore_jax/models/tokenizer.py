"""Text to tokens and back, as `AutoTokenizer` reads a Hugging Face folder."""

from collections.abc import Iterable
from typing import Any

import tokenizers
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.models import gguf_files, hf_auto, sources
from glore_jax.tasks.prompts import BAD


class Tokenizer:
    """A tokenizer and the ids that the project needs by name.

    Attributes:
      vocab_size: smallest embedding that has a row for every id.
      bos_id: put before every text, or None if the tokenizer puts nothing there.
      eos_id: end of text.
      pad_id: padding; the end of text if the model has none.
      bad_id: the `[BAD]` token, or None if it was not added.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_id: int | None,
        eos_id: int,
        pad_id: int | None = None,
    ):
        backend.no_truncation()  # some tokenizer.json files cut at 512 tokens, or pad
        backend.no_padding()
        self._backend = backend
        # Ids may have gaps, so the largest counts, not how many there are.
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.pad_id = eos_id if pad_id is None else pad_id
        self.bad_id: int | None = backend.token_to_id(BAD)

    @classmethod
    def load(cls, folder: epath.PathLike) -> "Tokenizer":
        """The tokenizer of a model's folder, or of a GGUF file, as `AutoTokenizer` understands it.

        A text begins with what that tokenizer puts before it, so that `add_bos_token` counts. Where
        it names no end of text or padding, `config.json` is asked.

        Raises:
          UserError: no tokenizer or none that can be read, no end of text, or one for which the
            model has no row.
        """
        folder = storage.path(folder)
        config: dict[str, Any] = {}
        if gguf_files.is_one(folder):
            theirs = gguf_files.read_tokenizer(folder)
        else:
            theirs = _read(folder)
            if storage.exists(folder / "config.json"):
                config = _read_object(folder / "config.json")
        backend = getattr(theirs, "backend_tokenizer", None)
        if backend is None:
            raise UserError(
                f"{folder}: its tokenizer, a {type(theirs).__name__}, has no fast form, which is "
                "needed here"
            )
        backend.no_truncation()
        backend.no_padding()
        begun = backend.encode("", add_special_tokens=True).ids[:1]
        bos_id = _id_of(theirs.bos_token_id, config.get("bos_token_id"))
        eos_id = _id_of(theirs.eos_token_id, config.get("eos_token_id"))
        if eos_id is None:
            raise UserError(
                f"{folder}: no end-of-text token; set eos_token in its tokenizer_config.json"
            )
        rows = config.get("vocab_size", eos_id + 1)
        if backend.id_to_token(eos_id) is None or eos_id >= rows:
            raise UserError(
                f"{folder}: the end-of-text token {theirs.eos_token or eos_id!r} is not in the "
                "vocabulary of the tokenizer and the model"
            )
        pad_id = _id_of(theirs.pad_token_id, config.get("pad_token_id"))
        known = pad_id is not None and backend.id_to_token(pad_id) is not None
        return cls(
            backend,
            bos_id=bos_id if begun == [bos_id] else None,
            eos_id=eos_id,
            pad_id=pad_id if known else None,
        )

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with nothing around it; special tokens in it become their ids."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, without the marks of begin, end and padding; `[BAD]` stays."""
        silent = (self.bos_id, self.eos_id, self.pad_id)
        heard = [i for i in ids if i not in silent]
        return self._backend.decode(heard, skip_special_tokens=False)

    def with_token(self, token: str) -> "Tokenizer":
        """A tokenizer that also knows the special `token`, under the next free id.

        `self` stays as it is.
        """
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False)])
        return Tokenizer(backend, bos_id=self.bos_id, eos_id=self.eos_id, pad_id=self.pad_id)

    def save(self, folder: epath.PathLike) -> None:
        """Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`.

        Whoever encodes with them gets what `bos_id` says before a text, and nothing after it.
        """
        folder = storage.path(folder)
        ids = {"bos": self.bos_id, "eos": self.eos_id, "pad": self.pad_id}
        special: dict[str, Any] = {
            f"{role}_token": self._backend.id_to_token(token_id)
            for role, token_id in ids.items()
            if token_id is not None
        }
        if self.bad_id is not None:
            special["additional_special_tokens"] = [BAD]
        config = {
            # The class of transformers that takes tokenizer.json as it is; LlamaTokenizer rebuilds
            # it by its own rules.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            "add_bos_token": self.bos_id is not None,
            "add_eos_token": False,
            **special,
        }
        backend = self._as_written()
        storage.write_text(folder / "tokenizer.json", backend.to_str(pretty=True))
        storage.write_json(folder / "special_tokens_map.json", special)
        storage.write_json(folder / "tokenizer_config.json", config)

    def _as_written(self) -> tokenizers.Tokenizer:
        """The backend, which puts `bos_id` before a text by itself."""
        wanted = [] if self.bos_id is None else [self.bos_id]
        if self._backend.encode("", add_special_tokens=True).ids == wanted:
            return self._backend
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        begin = [] if self.bos_id is None else [backend.id_to_token(self.bos_id)]
        backend.post_processor = tokenizers.processors.TemplateProcessing(
            single=[*begin, "$A"],
            pair=[*begin, "$A", *(f"{token}:1" for token in begin), "$B:1"],
            special_tokens=[(token, self.bos_id) for token in begin],
        )
        return backend


def _read(folder: epath.Path) -> Any:
    """The tokenizer of transformers that the files of `folder` are."""
    with sources.small_files(folder) as local:
        present = sources.tokenizer_files(folder, local)
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if storage.exists(folder / name):
                _read_object(folder / name)  # its own name, if it is damaged
        return hf_auto.read_tokenizer(local, f"{folder}: {', '.join(present)}")


def _read_object(file: epath.Path) -> dict[str, Any]:
    value = storage.read_json(file)
    if not isinstance(value, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _id_of(*said: Any) -> int | None:
    """The first of what was `said` that is an id; -1, which some files have, is none.

    Of several ends of text, a list, the first is the plain one.
    """
    for value in said:
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, int) and first >= 0:
            return first
    return None
