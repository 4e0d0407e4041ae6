"""Text to tokens and back, by a `tokenizers` tokenizer in a Hugging Face folder."""

from __future__ import annotations

from typing import Any

import tokenizers
from etils import epath

from glore_jax import storage
from glore_jax.errors import UserError
from glore_jax.tasks.prompts import BAD

_ROLES = ("bos", "eos", "pad")


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
        self.vocab_size = max(backend.get_vocab(with_added_tokens=True).values()) + 1
        self.bos_id, self.eos_id = bos_id, eos_id
        self.pad_id = eos_id if pad_id is None else pad_id
        self.bad_id = backend.token_to_id(BAD)

    @classmethod
    def load(cls, folder: epath.PathLike) -> Tokenizer:
        """Reads `tokenizer.json`, and which tokens begin, end and pad a text from the first that says so:
        `tokenizer_config.json`, `special_tokens_map.json`, `config.json`.

        Raises:
          UserError: no `tokenizer.json`, a malformed file, no end of text, or an unknown special token.
        """
        folder = storage.path(folder)
        file = folder / "tokenizer.json"
        if not file.exists():
            if (folder / "tokenizer.model").exists():
                raise UserError(
                    f"{folder}: has tokenizer.model but no tokenizer.json; convert it with transformers: "
                    "AutoTokenizer.from_pretrained(FOLDER, use_fast=True).save_pretrained(FOLDER)"
                )
            raise UserError(f"{file}: no such file; a model folder needs its tokenizer.json")
        text = storage.read_text(file)
        try:
            backend = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception
            raise UserError(f"{file}: not a tokenizer: {error}") from error

        names = ("tokenizer_config.json", "special_tokens_map.json", "config.json")
        said = [
            (folder / name, _object(folder / name)) for name in names if (folder / name).exists()
        ]
        ids = {role: _find(backend, role, said) for role in _ROLES}
        if ids["eos"] is None:
            raise UserError(
                f"{folder}: no end-of-text token; set eos_token in its tokenizer_config.json"
            )
        return cls(backend, bos_id=ids["bos"], eos_id=ids["eos"], pad_id=ids["pad"])

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`. Nothing is added around it; special tokens written in it become their ids."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        """Text of `ids`, without the marks of begin, end and padding; `[BAD]` stays."""
        silent = (self.bos_id, self.eos_id, self.pad_id)
        return self._backend.decode([i for i in ids if i not in silent], skip_special_tokens=False)

    def with_token(self, token: str) -> Tokenizer:
        """A tokenizer that also knows the special `token`, under the next free id; `self` stays as it is."""
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False)])
        return Tokenizer(backend, bos_id=self.bos_id, eos_id=self.eos_id, pad_id=self.pad_id)

    def save(self, folder: epath.PathLike) -> None:
        """Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` for transformers."""
        folder = storage.path(folder)
        ids = {"bos": self.bos_id, "eos": self.eos_id, "pad": self.pad_id}
        named = {
            f"{role}_token": self._backend.id_to_token(i)
            for role, i in ids.items()
            if i is not None
        }
        special: dict[str, Any] = dict(named)
        if self.bad_id is not None:
            special["additional_special_tokens"] = [BAD]
        storage.write_text(folder / "tokenizer.json", self._backend.to_str(pretty=True))
        storage.write_json(folder / "special_tokens_map.json", special)
        storage.write_json(
            folder / "tokenizer_config.json",
            {
                # The class that takes tokenizer.json as it is; LlamaTokenizer rebuilds it by its own rules.
                "tokenizer_class": "PreTrainedTokenizerFast",
                "clean_up_tokenization_spaces": False,
                **special,
            },
        )


def _object(file: epath.Path) -> dict[str, Any]:
    value = storage.read_json(file)
    if not isinstance(value, dict):
        raise UserError(f"{file}: expected a JSON object, found {type(value).__name__}")
    return value


def _find(
    backend: tokenizers.Tokenizer, role: str, said: list[tuple[epath.Path, dict[str, Any]]]
) -> int | None:
    """Id of the token in `role`, by the first file that names it, or None."""
    for source, content in said:
        token = content.get(f"{role}_token")
        if isinstance(token, dict):  # an AddedToken in full
            token = token.get("content")
        if token is not None:
            token_id = backend.token_to_id(token)
            if token_id is None:
                raise UserError(
                    f"{source}: {role}_token {token!r} is not in the vocabulary of tokenizer.json"
                )
            return token_id
        token_id = content.get(f"{role}_token_id")
        if isinstance(token_id, list):  # several ends of text: the first is the plain one
            token_id = token_id[0] if token_id else None
        if token_id is not None:
            if backend.id_to_token(token_id) is None:
                raise UserError(
                    f"{source}: {role}_token_id {token_id} is not in the vocabulary of tokenizer.json"
                )
            return token_id
    return None
