"""Text to tokens and back, by a `tokenizers` tokenizer in a Hugging Face folder."""

from collections.abc import Iterable
from typing import Any

import tokenizers
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.tasks.prompts import BAD

_ROLES = ("bos", "eos", "pad")
# Which files say what begins, ends and pads a text; the first that says so is believed.
_SOURCES = ("tokenizer_config.json", "special_tokens_map.json", "config.json")


class Tokenizer:
    """A tokenizer and the ids that the project needs by name.

    Attributes:
      vocab_size: smallest embedding that has a row for every id.
      bos_id: beginning of text, or None if the model has none.
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
        """Reads `tokenizer.json`, and which tokens begin, end and pad a text.

        The first of `tokenizer_config.json`, `special_tokens_map.json` and `config.json` that
        names such a token decides.

        Raises:
          UserError: no `tokenizer.json`, a malformed file, no end of text, or an unknown special
            token.
        """
        folder = storage.path(folder)
        backend = _read_backend(folder)
        files = [folder / name for name in _SOURCES]
        said = [(file, _read_object(file)) for file in files if file.exists()]
        ids = {role: _find(backend, role, said) for role in _ROLES}
        eos_id = ids["eos"]
        if eos_id is None:
            raise UserError(
                f"{folder}: no end-of-text token; set eos_token in its tokenizer_config.json"
            )
        return cls(backend, bos_id=ids["bos"], eos_id=eos_id, pad_id=ids["pad"])

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
        """Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`."""
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
            **special,
        }
        storage.write_text(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        storage.write_json(folder / "special_tokens_map.json", special)
        storage.write_json(folder / "tokenizer_config.json", config)


def _read_backend(folder: epath.Path) -> tokenizers.Tokenizer:
    file = folder / "tokenizer.json"
    if not file.exists():
        if (folder / "tokenizer.model").exists():
            raise UserError(
                f"{folder}: has tokenizer.model but no tokenizer.json; convert it with "
                "transformers: AutoTokenizer.from_pretrained(FOLDER, use_fast=True)"
                ".save_pretrained(FOLDER)"
            )
        raise UserError(f"{file}: no such file; a model folder needs its tokenizer.json")
    text = storage.read_text(file)
    try:
        return tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain Exception
        raise UserError(f"{file}: not a tokenizer: {error}") from error


def _read_object(file: epath.Path) -> dict[str, Any]:
    value = storage.read_json(file)
    if not isinstance(value, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _find(
    backend: tokenizers.Tokenizer, role: str, said: list[tuple[epath.Path, dict[str, Any]]]
) -> int | None:
    """Id of the token in `role` ("eos"), by the first file that names it, or None.

    A file names it by text (`eos_token`) or by id (`eos_token_id`).
    """
    by_text, by_id = f"{role}_token", f"{role}_token_id"
    for file, content in said:
        token = content.get(by_text)
        if isinstance(token, dict):  # an AddedToken in full
            token = token.get("content")
        if token is not None:
            token_id = backend.token_to_id(token)
            if token_id is None:
                raise _unknown(file, by_text, token)
            return token_id
        token_id = content.get(by_id)
        if isinstance(token_id, list):  # several ends of text: the first is the plain one
            token_id = token_id[0] if token_id else None
        if token_id is not None:
            if backend.id_to_token(token_id) is None:
                raise _unknown(file, by_id, token_id)
            return token_id
    return None


def _unknown(file: epath.Path, key: str, value: Any) -> UserError:
    return UserError(f"{file}: {key} {value!r} is not in the vocabulary of tokenizer.json")
