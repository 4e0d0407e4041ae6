"""How problems, steps and drafts become tokens: the one place that knows.

Text is canonical, and every step is encoded on its own, so that a step has the same tokens in training, in a forked rollout and
in scoring, whatever stands before it:

    [bos] question template | step 1 "\\n" | step 2 "\\n" | ... | #### n [eos]
                            ^ cut 0        ^ cut 1       ^ cut 2          ^ end of the last step

    [bos] question template | step 1 "\\n" | step 2 "\\n" | ... | #### n "\\n"
                                    ^ score 1      ^ score 2          ^ score of the whole

A refiner reads the draft and writes the whole corrected solution after a separator; `[BAD]` is one token in front of the first
step judged wrong (paper section 4.1, step 3):

    [bos] question template | step 1 "\\n" | [BAD] step 2 "\\n" | ... | #### m "\\n" | "Correction:\\n" | target steps [eos]
"""

from glore_jax.errors import UserError

SEPARATOR = "Correction:\n"
BAD = "[BAD]"


class Prompts:
    """Token forms for one tokenizer and one question template such as "{question}\\n"."""

    def __init__(self, tokenizer, template: str = "{question}\n"):
        if "{question}" not in template:
            raise UserError(f"task.prompt is {template!r}: it needs the field {{question}}")
        self.tokenizer, self.template = tokenizer, template
        self._cache: dict[str, tuple[int, ...]] = {}

    def _encode(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            if len(self._cache) > 200_000:
                self._cache.clear()
            self._cache[text] = tuple(self.tokenizer.encode(text))
        return self._cache[text]

    def question(self, question: str) -> list[int]:
        bos = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        return bos + list(self._encode(self.template.replace("{question}", question)))

    def step(self, step: str) -> list[int]:
        """A step that is followed by another one."""
        return list(self._encode(step + "\n"))

    def solution(self, steps, ended: bool = True) -> tuple[list[int], list[int]]:
        """(tokens, ends): `ends[i]` counts the tokens up to and including step i, so `tokens[ends[i] - 1]` is its last.

        `ended`: the last step closes with end-of-sequence; otherwise with a newline like the others (a prefix, or a draft that
        ran out of length).
        """
        tokens, ends = [], []
        for i, step in enumerate(steps):
            closing = ended and i == len(steps) - 1
            tokens += (
                [*self._encode(step), self.tokenizer.eos_id]
                if closing
                else self._encode(step + "\n")
            )
            ends.append(len(tokens))
        return tokens, ends

    def scored(self, question: str, steps) -> tuple[list[int], list[int], int]:
        """(tokens, ends, source) of what a reward model reads: question and steps, every step closed by its newline, the last one too,
        so that all are read at the same kind of token. `ends[i]` counts the tokens up to and including step i, `source` those of
        the question."""
        prompt = self.question(question)
        tokens, ends = self.solution(steps, ended=False)
        return prompt + tokens, [len(prompt) + end for end in ends], len(prompt)

    def refine(self, question: str, draft, bad: int | None, begun=()) -> list[int]:
        """The refiner's source. `bad` is the index of the first wrong step (0 = start of the draft), None for no mark; `begun` are the
        steps of the correction that stand already."""
        if bad is not None and not 0 <= bad < len(draft):
            raise ValueError(f"[BAD] at step {bad} of a draft with {len(draft)} steps")
        tokens = self.question(question)
        for i, step in enumerate(draft):
            if i == bad:
                tokens.append(self.bad_id)
            tokens += self._encode(step + "\n")
        tokens += self._encode(SEPARATOR)
        return tokens + self.solution(begun, ended=False)[0]

    @property
    def bad_id(self) -> int:
        if self.tokenizer.bad_id is None:
            raise UserError(
                "the tokenizer has no [BAD] token: import the model through the student stage, which adds it"
            )
        return self.tokenizer.bad_id

    def text(self, tokens) -> str:
        """Decoded text without special tokens."""
        return self.tokenizer.decode([int(t) for t in tokens])
