"""How problems, steps and drafts become tokens: the one place that knows.

Text is canonical, and a step has the same tokens in training, in a forked rollout and in scoring:
those that it has behind a newline, so that question and steps together have the tokens of the whole
text as any other tool encodes it:

    [bos] question template | step 1 "\\n" | step 2 "\\n" | ... | #### n [eos]
                            ^ cut 0        ^ cut 1       ^ cut 2          ^ end of the last step

    [bos] question template | step 1 "\\n" | step 2 "\\n" | ... | #### n "\\n"
                                    ^ score 1      ^ score 2          ^ score of the whole

A refiner reads the draft and writes the whole corrected solution after a separator; `[BAD]` is one
token in front of the first step judged wrong (paper section 4.1, step 3):

    [bos] question template | step 1 "\\n" | [BAD] step 2 "\\n" | ... | #### m "\\n" |
          "Correction:\\n" | target steps [eos]
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from glore_jax.config.tasks import CHAT
from glore_jax.errors import UserError

SEPARATOR = "Correction:\n"
BAD = "[BAD]"

_FIRST = "A1#"  # what steps begin with
_CACHED_TEXTS = 200_000  # steps and questions; the same ones come again and again


def stops(template: str) -> tuple[str, ...]:
    """Texts before which a base model ends: it would go on with a question of its own."""
    head = template.split("{question}")[0].strip()
    return tuple(text for text in ("\n\n", head) if text)


class TextTokenizer(Protocol):
    """What is asked of a tokenizer here; `models.tokenizer.Tokenizer` is one."""

    bos_id: int | None  # begins a text, if the model has one
    eos_id: int
    bad_id: int | None  # `[BAD]`, if it was added

    def encode(self, text: str) -> list[int]: ...

    def chat_prompt(self) -> str: ...

    def decode(self, ids: list[int]) -> str: ...


class Prompts:
    """Token forms for one tokenizer and one question template such as "{question}\\n".

    Lists that are returned are the caller's own.
    """

    def __init__(self, tokenizer: TextTokenizer, template: str = "{question}\n"):
        """`template`: or `CHAT`, for that of the tokenizer, whose user asks the question.

        UserError if the template has no place for the question, or the tokenizer has none.
        """
        if template == CHAT:
            template = tokenizer.chat_prompt()
        if "{question}" not in template:
            raise UserError(f"task.prompt is {template!r}: it needs the field {{question}}")
        self.tokenizer = tokenizer
        self.template = template
        self._cache: dict[tuple[str, str], tuple[int, ...]] = {}

    @property
    def cuts(self) -> bool:
        """Whether some tokens would reach over the end of a step, and texts are cut there."""
        newline = self.tokenizer.encode("\n")
        behind = (self.tokenizer.encode("\n" + first) for first in _FIRST)
        return any(tokens[: len(newline)] != newline for tokens in behind)

    def question(self, question: str) -> list[int]:
        """The question in its template, with one beginning-of-text token if the model has one.

        The template may name it itself.
        """
        # Not `format`: a question may hold braces of its own.
        tokens = list(self._encode(self.template.replace("{question}", question), after=""))
        bos = self.tokenizer.bos_id
        return tokens if bos is None or tokens[:1] == [bos] else [bos, *tokens]

    def step(self, step: str) -> list[int]:
        """A step that is followed by another one."""
        return list(self._encode(step + "\n"))

    def solution(self, steps: Sequence[str], ended: bool = True) -> tuple[list[int], list[int]]:
        """(tokens, ends): `ends[i]` counts the tokens up to and including step i.

        So `tokens[ends[i] - 1]` is the last one of step i, and `tokens[:ends[c - 1]]` the prefix of
        cut c.

        `ended`: the last step closes with end-of-sequence; otherwise with a newline like the others
        (a prefix, or a draft that ran out of length).
        """
        tokens: list[int] = []
        ends: list[int] = []
        for i, step in enumerate(steps):
            is_last = i == len(steps) - 1
            if ended and is_last:
                tokens += [*self._encode(step), self.tokenizer.eos_id]
            else:
                tokens += self._encode(step + "\n")
            ends.append(len(tokens))
        return tokens, ends

    def scored(self, question: str, steps: Sequence[str]) -> tuple[list[int], list[int], int]:
        """(tokens, ends, source) of what a reward model reads: question and steps.

        Every step is closed by its newline, the last one too, so that all are read at the same kind
        of token. `ends[i]` counts the tokens up to and including step i, `source` those of the
        question.
        """
        prompt = self.question(question)
        source = len(prompt)
        tokens, ends = self.solution(steps, ended=False)
        return prompt + tokens, [source + end for end in ends], source

    def refine(
        self, question: str, draft: Sequence[str], bad: int | None, begun: Sequence[str] = ()
    ) -> list[int]:
        """The refiner's source.

        Args:
          question: text of the question.
          draft: its steps.
          bad: index of the first wrong step, in front of which `[BAD]` goes (0 = start of the
            draft); None for no mark.
          begun: steps of the correction that stand already.

        Raises:
          ValueError: the draft has no step `bad`.
          UserError: the tokenizer has no `[BAD]`.
        """
        if bad is not None and not 0 <= bad < len(draft):
            raise ValueError(f"[BAD] at step {bad} of a draft with {len(draft)} steps")
        tokens = self.question(question)
        for i, step in enumerate(draft):
            if i == bad:
                tokens.append(self.bad_id)
            tokens += self._encode(step + "\n", after="\n" + BAD * (i == bad))
        tokens += self._encode(SEPARATOR)
        return tokens + self.solution(begun, ended=False)[0]

    @property
    def bad_id(self) -> int:
        """The token `[BAD]`; UserError if the tokenizer has none."""
        if self.tokenizer.bad_id is None:
            raise UserError(
                "the tokenizer has no [BAD] token: "
                "import the model through the student stage, which adds it"
            )
        return self.tokenizer.bad_id

    def text(self, tokens: Iterable[int]) -> str:
        """Decoded text without special tokens."""
        return self.tokenizer.decode([int(token) for token in tokens])

    def _encode(self, text: str, after: str = "\n") -> tuple[int, ...]:
        """The tokens of `text` where it stands behind `after`."""
        if (text, after) not in self._cache:
            if len(self._cache) > _CACHED_TEXTS:
                self._cache.clear()
            self._cache[text, after] = tuple(self._behind(after, text))
        return self._cache[text, after]

    def _behind(self, before: str, text: str) -> list[int]:
        head = self.tokenizer.encode(before) if before else []
        tokens = self.tokenizer.encode(before + text)
        if tokens[: len(head)] == head:
            return tokens[len(head) :]
        # A token would reach over the end of the step before, where forks begin.
        return self.tokenizer.encode(text)
