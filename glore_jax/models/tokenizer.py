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
      chat_template: how it writes a conversation (Jinja), or None.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        *,
        bos_id: int | None,
        eos_id: int,
        pad_id: int | None = None,
        chat_template: str | None = None,
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
        self.chat_template = chat_template

    @classmethod
    def load(cls, folder: epath.PathLike) -> "Tokenizer":
        """The tokenizer of a model's folder, or of a GGUF file, as `AutoTokenizer` understands it.

        A text begins with what that tokenizer puts before it, unless `add_bos_token` in
        `tokenizer_config.json` says otherwise, which transformers heeds in some classes and
        versions only. Where the tokenizer names no end of text or padding, `config.json` is asked.

        Raises:
          UserError: no tokenizer or none that can be read, no end of text, or one for which the
            model has no row.
        """
        folder = storage.path(folder)
        if gguf_files.is_one(folder):
            return _checked(folder, gguf_files.read_tokenizer(folder), {}, {})
        with sources.small_files(folder) as local:
            present = sources.tokenizer_files(folder, local)
            said = _read_object(folder / "tokenizer_config.json")
            _read_object(folder / "special_tokens_map.json")  # its own name, if it is damaged
            theirs = hf_auto.read_tokenizer(local, f"{folder}: {', '.join(present)}")
        return _checked(folder, theirs, said, _read_object(folder / "config.json"))

    def encode(self, text: str) -> list[int]:
        """Token ids of `text`, with nothing around it; special tokens in it become their ids."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids`, without the marks of begin, end and padding; `[BAD]` stays."""
        silent = (self.bos_id, self.eos_id, self.pad_id)
        heard = [i for i in ids if i not in silent]
        return self._backend.decode(heard, skip_special_tokens=False)

    def continuation(self, before: Iterable[int], ids: Iterable[int]) -> str:
        """Text of `ids` where it follows on `before`.

        At the beginning of a text, SentencePiece tokenizers drop a space: "▁apples" is "apples"
        alone and " apples" behind other tokens.
        """
        before = list(before)
        return self.decode([*before, *ids]).removeprefix(self.decode(before))

    def begun(self, text: str) -> list[int]:
        """Token ids of `text` as the beginning of what a model reads: with one `bos_id` in front,
        if the model has one and `text` does not name it itself."""
        ids = self.encode(text)
        return ids if self.bos_id is None or ids[:1] == [self.bos_id] else [self.bos_id, *ids]

    def chat_prompt(self) -> str:
        """A conversation in which the user has said "{question}" and the assistant is to answer.

        UserError if the tokenizer has no chat template, or one that cannot be used.
        """
        if self.chat_template is None:
            raise UserError(
                "task.prompt is 'chat', and the model's tokenizer has no chat template: give the "
                "text of a prompt with the field {question}"
            )
        ids = {"bos_token": self.bos_id, "eos_token": self.eos_id}
        names = {
            role: str(self._backend.id_to_token(number))
            for role, number in ids.items()
            if number is not None
        }
        return hf_auto.chat_prompt(self._backend, self.chat_template, names)

    def with_token(self, token: str) -> "Tokenizer":
        """A tokenizer that also knows the special `token`, under the next free id.

        `self` stays as it is.
        """
        backend = tokenizers.Tokenizer.from_str(self._backend.to_str())
        backend.add_special_tokens([tokenizers.AddedToken(token, special=True, normalized=False)])
        return Tokenizer(
            backend,
            bos_id=self.bos_id,
            eos_id=self.eos_id,
            pad_id=self.pad_id,
            chat_template=self.chat_template,
        )

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
        if self.chat_template is not None:
            config["chat_template"] = self.chat_template
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


def _checked(
    source: epath.Path, theirs: Any, said: dict[str, Any], config: dict[str, Any]
) -> Tokenizer:
    """Ours of a tokenizer of transformers.

    said, config: the content of `tokenizer_config.json` and `config.json`.
    """
    backend = getattr(theirs, "backend_tokenizer", None)
    if backend is None:
        raise UserError(
            f"{source}: its tokenizer, a {type(theirs).__name__}, has no fast form, which is "
            "needed here"
        )
    eos_id = _id_of(theirs.eos_token_id, config.get("eos_token_id"))
    if eos_id is None:
        raise UserError(
            f"{source}: no end-of-text token; set eos_token in its tokenizer_config.json"
        )
    if backend.id_to_token(eos_id) is None or eos_id >= config.get("vocab_size", eos_id + 1):
        raise UserError(
            f"{source}: the end-of-text token {theirs.eos_token or eos_id!r} is not in the "
            "vocabulary of the tokenizer and the model"
        )
    bos_id = _id_of(theirs.bos_token_id, config.get("bos_token_id"))
    begins = said.get("add_bos_token")
    if not isinstance(begins, bool):
        begins = backend.encode("", add_special_tokens=True).ids[:1] == [bos_id]
    pad_id = _id_of(theirs.pad_token_id, config.get("pad_token_id"))
    if pad_id is not None and backend.id_to_token(pad_id) is None:
        pad_id = None
    return Tokenizer(
        backend,
        bos_id=bos_id if begins else None,
        eos_id=eos_id,
        pad_id=pad_id,
        chat_template=_chat_template(theirs),
    )


def _chat_template(theirs: Any) -> str | None:
    """The plain one, where a tokenizer has several by name."""
    found = getattr(theirs, "chat_template", None)
    return found.get("default") if isinstance(found, dict) else found


def _read_object(file: epath.Path) -> dict[str, Any]:
    """The content of a JSON file; empty if it is not there."""
    value = storage.read_json(file) if storage.exists(file) else {}
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
