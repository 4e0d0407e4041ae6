"""What transformers says a folder means: `AutoConfig` and `AutoTokenizer`, and nothing else of it.

A rope spelled in the way of any version, a default that a family has, a tokenizer of which only a
SentencePiece file is there: all that means here what it means elsewhere. The library is imported
when a model is read, which takes a second or two; PyTorch plays no part.
"""

import os
from collections.abc import Mapping
from typing import Any

import tokenizers

from glore_jax.errors import UserError

# For those that ask: Llama 3.2 and others put in the day, on which a result must not depend, and
# Qwen 3 may think before its answer, where steps are expected.
_DAY = "26 Jul 2024"
_CHAT_VALUES = {"date_string": _DAY, "enable_thinking": False}
_NO_CLOCK = "{%- macro strftime_now(form) -%}" + _DAY + "{%- endmacro -%}"


def complete_config(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The content of a `config.json` with every key that its family has, in today's spelling.

    UserError, which names `source`, if transformers refuses it.
    """
    known = {key: value for key, value in content.items() if key != "model_type"}
    try:
        return library().AutoConfig.for_model(content["model_type"], **known).to_dict()
    except Exception as error:  # of many kinds
        raise UserError(f"{source}: {one_line(error)}") from error


def read_tokenizer(folder: str, source: str) -> Any:
    """The tokenizer of a folder on the local disk, an object of one of transformers' classes.

    Code that a folder carries is not run. UserError, which names `source`, if transformers cannot
    read it.
    """
    try:
        return library().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # of many kinds
        raise UserError(f"{source}: no tokenizer that can be read: {one_line(error)}") from error


def chat_prompt(backend: tokenizers.Tokenizer, template: str, names: Mapping[str, str]) -> str:
    """What `template` makes of a user's "{question}", up to where the assistant begins.

    names: of the special tokens that it may put in. UserError if it fails, or leaves the question
    out.
    """
    theirs = library().PreTrainedTokenizerFast(tokenizer_object=backend, **names)
    said = [{"role": "user", "content": "{question}"}]
    try:
        text = theirs.apply_chat_template(
            said,
            chat_template=_NO_CLOCK + template,
            add_generation_prompt=True,
            tokenize=False,
            **_CHAT_VALUES,
        )
    except Exception as error:  # of many kinds
        raise UserError(f"the model's chat template fails: {one_line(error)}") from error
    if text.count("{question}") != 1:
        raise UserError("the model's chat template does not put in what the user says as it is")
    return text


def one_line(error: BaseException) -> str:
    """The innermost reason for `error` as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__


def library() -> Any:
    # Otherwise it advises everybody to install PyTorch.
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import transformers

    return transformers
