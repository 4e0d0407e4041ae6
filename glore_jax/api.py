"""For notebooks: a policy and a reward model from a Hugging Face folder, in two calls; and what a
run chose.

policy = load_policy("runs/tiny/student/hf")
policy.generate(["Ben has 22 pies. ...\\n"], samples=4)
policy.logits([[1, 5, 7]])

rewarder = load_reward_model("runs/tiny/sorm/hf")
scores = rewarder.step_scores("Ben has 22 pies. ...", ["22-3=19", "#### 19"])
scores <= load_choices("runs/tiny").mark["sorm"]  # True: [BAD] stands before the first such step
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jax.typing import ArrayLike

from glore_jax.models import attention, hf_import, sources
from glore_jax.models.model import Model
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.jobs import Completion
from glore_jax.sampling.scoring import score_steps
from glore_jax.sampling.tokens import Sampling
from glore_jax.stages.evaluation import in_force
from glore_jax.stages.evaluation.in_force import InForce
from glore_jax.tasks.prompts import Prompts

_SLOTS = 8  # most samples of a prompt that decode at a time
_FORKS = 64  # most samples of all prompts that decode at a time
_SHORTEST = 64  # tokens of a prompt for which there is room at least


def load_policy(folder: epath.PathLike, dtype: str = "float32") -> "Policy":
    """A policy from the Hugging Face folder of a causal language model.

    Args:
      folder: a local path or gs://...; a run leaves one in `WORKDIR/student/hf`. Or whatever else
        config.model.base may be: hf://ORG/NAME, FILE.gguf, tiny, smollm2-135m.
      dtype: of its weights and its computation, "float32" or "bfloat16".

    Raises:
      UserError: names what is wrong with the folder.
    """
    source = sources.locate(folder)
    return Policy(hf_import.read_policy(source, param_dtype=dtype, dtype=dtype))


def load_reward_model(
    folder: epath.PathLike, dtype: str = "float32", template: str = "{question}\n"
) -> "Rewarder":
    """A reward model from a folder that this package exported.

    Args:
      folder: a model for token classification with one label; a run leaves them in
        `WORKDIR/orm/hf` and `WORKDIR/sorm/hf`.
      dtype: of its weights and its computation, "float32" or "bfloat16".
      template: the prompt that it was trained with (config.task.prompt).

    Raises:
      UserError: names what is wrong with the folder.
    """
    return Rewarder(hf_import.read_reward_model(folder, param_dtype=dtype, dtype=dtype), template)


def load_choices(workdir: epath.PathLike) -> InForce:
    """What a run chose on its dev split, or was given: marks, thresholds, temperature.

    Args:
      workdir: its work directory, with a finished or half-done stage `evaluate`.

    Raises:
      UserError: nothing has been chosen there yet.
    """
    return in_force.read(workdir)


class Policy:
    """A LLaMA that writes.

    Attributes:
      model: the model with all that it takes to use it, as the rest of the package passes it.
      config: its sizes.
      tokenizer: text to tokens and back.
    """

    def __init__(self, model: Model):
        self.model = model
        self.config = model.config
        self.tokenizer = model.tokenizer

    def logits(self, tokens: ArrayLike) -> jax.Array:
        """Next-token logits float32 [B, T, vocab] of whole rows, int [B, T] (no padding)."""
        rows = jnp.asarray(tokens, jnp.int32)
        return _logits(self.model.graphdef, self.model.params, rows)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        samples: int = 1,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        max_new: int = 256,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[list[str]]:
        """Continuations of each prompt, as texts.

        What a continuation says depends on (seed, the prompt's text, its number), not on the other
        prompts.

        Args:
          prompts: texts; the beginning-of-text token is added, where a text does not begin with it.
          samples: how many continuations of each.
          temperature: 0 is greedy.
          top_k, top_p: draw from the k likeliest tokens (0: all), and from the likeliest that
            together have probability p.
          max_new: most tokens of a continuation.
          seed: of the randomness.
          stop: texts before which a continuation ends.

        Returns:
          `samples` texts for each prompt, in order.

        Raises:
          UserError: a prompt and `max_new` together exceed the model's context.
        """
        if not prompts:
            return []
        trunks = [self.tokenizer.begun(prompt) for prompt in prompts]
        slots = min(samples, _SLOTS)
        engine = Engine(self.model, self._capacity(trunks, slots, max_new), seed=seed)
        jobs = []
        for prompt, trunk in zip(prompts, trunks, strict=True):
            forks = [Fork(len(trunk), sample=i) for i in range(samples)]
            jobs.append(Job(prompt, trunk, forks))
        for _ in engine.run(jobs, Sampling(temperature, top_k, top_p, max_new, tuple(stop))):
            pass  # each job keeps what its forks wrote
        return [self._texts_of(job) for job in jobs]

    def _capacity(self, trunks: list[list[int]], slots: int, max_new: int) -> Capacity:
        """Room for these trunks, in few sizes: each new one is another program to compile."""
        longest = max(map(len, trunks))
        room = min(_power_of_two(max(longest, _SHORTEST)), self.config.max_positions - max_new)
        groups = min(_power_of_two(len(trunks)), _FORKS // slots)
        return Capacity(
            groups=groups,
            slots=slots,
            shelves=1,
            max_trunk=max(longest, room),
            max_new=max_new,
        )

    def _texts_of(self, job: Job) -> list[str]:
        """What the forks of a finished job wrote, in the order of their numbers."""
        forks = sorted(job.completions, key=lambda fork: fork.sample)
        return [self._text_of(job.trunk, job.completions[fork]) for fork in forks]

    def _text_of(self, trunk: Sequence[int], written: Completion) -> str:
        """The text of a completion with what stands before it only as it follows on a prompt."""
        alone = self.tokenizer.decode(written.tokens)
        follows = self.tokenizer.continuation(trunk, written.tokens)
        space = follows.removesuffix(alone) if follows.endswith(alone) else ""
        return space + written.text


class Rewarder:
    """A reward model that reads.

    Attributes:
      model, config, tokenizer: as of `Policy`.
      prompts: how a question and its steps become tokens.
    """

    def __init__(self, model: Model, template: str = "{question}\n"):
        self.model = model
        self.config = model.config
        self.tokenizer = model.tokenizer
        self.prompts = Prompts(model.tokenizer, template)

    def step_scores(self, question: str, steps: Sequence[str]) -> np.ndarray:
        """Probability float32 [len(steps)] that the solution is good up to and including each step.

        Raises:
          UserError: the solution exceeds the model's context.
        """
        item = self.prompts.scored(question, list(steps))
        mesh = meshes.single_device_mesh()
        (scores,) = score_steps(self.model, [item], mesh=mesh, rows=1)
        return scores


@functools.partial(jax.jit, static_argnums=0)
def _logits(graphdef: nnx.GraphDef[Any], params: nnx.State, tokens: jax.Array) -> jax.Array:
    model: Any = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    hidden, _ = model(tokens, positions, attention.causal(jnp.ones_like(tokens)))
    return model.logits(hidden)


def _power_of_two(least: int) -> int:
    """The smallest power of two that is at least `least`, a positive number."""
    return 1 << (least - 1).bit_length()
