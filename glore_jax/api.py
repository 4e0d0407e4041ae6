"""For notebooks: a policy and a reward model from a Hugging Face folder, in two calls."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from glore_jax.models import attention, hf, llama, reward
from glore_jax.models.model import Model
from glore_jax.models.tokenizer import Tokenizer
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.budget import Capacity
from glore_jax.sampling.engine import Engine, Fork, Job
from glore_jax.sampling.scoring import score_steps
from glore_jax.sampling.tokens import Sampling
from glore_jax.tasks.prompts import Prompts


@functools.partial(jax.jit, static_argnums=0)
def _logits(graphdef, params, tokens):
    model = nnx.merge(graphdef, params)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.int32), tokens.shape)
    hidden, _ = model(tokens, positions, attention.causal(jnp.ones_like(tokens)))
    return model.logits(hidden)


class Policy:
    """A LLaMA that writes. Attributes: `model`, `config`, `tokenizer`."""

    def __init__(self, folder, dtype: str = "float32"):
        self.config, self.tokenizer = hf.read_config(folder), Tokenizer.load(folder)
        graphdef, _ = llama.abstract(self.config, dtype=dtype)
        params = hf.load_policy_params(folder, self.config, dtype=dtype)
        self.model = Model(graphdef, params, self.config, self.tokenizer)

    def logits(self, tokens) -> jax.Array:
        """Next-token logits float32 [B, T, vocab] of whole rows, int [B, T] (no padding)."""
        return _logits(self.model.graphdef, self.model.params, jnp.asarray(tokens, jnp.int32))

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
        """`samples` continuations of each prompt, as texts. temperature 0 is greedy. What a continuation says depends on
        (seed, the prompt's text, its number), not on the other prompts. UserError if a prompt and max_new exceed the context."""
        if not prompts:
            return []
        bos = [] if self.tokenizer.bos_id is None else [self.tokenizer.bos_id]
        trunks = [bos + self.tokenizer.encode(p) for p in prompts]
        slots = min(samples, 8)
        capacity = Capacity(
            groups=max(1, min(len(trunks), 64 // slots)),
            slots=slots,
            shelves=1,
            max_trunk=max(map(len, trunks)),
            max_new=max_new,
        )
        engine = Engine(self.model, capacity, seed=seed)
        jobs = [
            Job(p, t, [Fork(len(t), sample=i) for i in range(samples)])
            for p, t in zip(prompts, trunks, strict=True)
        ]
        for _ in engine.run(jobs, Sampling(temperature, top_k, top_p, max_new, tuple(stop))):
            pass
        return [
            [j.completions[f].text for f in sorted(j.completions, key=lambda f: f.sample)]
            for j in jobs
        ]


class Rewarder:
    """A reward model that reads. `template` is the prompt that it was trained with (config.task.prompt)."""

    def __init__(self, folder, dtype: str = "float32", template: str = "{question}\n"):
        self.config, self.tokenizer = hf.read_config(folder), Tokenizer.load(folder)
        graphdef, _ = reward.abstract(self.config, dtype=dtype, **hf.read_reward_options(folder))
        params = hf.load_reward_params(folder, self.config, dtype=dtype)
        self.model = Model(graphdef, params, self.config, self.tokenizer)
        self.prompts = Prompts(self.tokenizer, template)

    def step_scores(self, question: str, steps: Sequence[str]) -> np.ndarray:
        """Probability float32 [len(steps)] that the solution is good up to and including each step."""
        items = [self.prompts.scored(question, list(steps))]
        return score_steps(
            self.model,
            items,
            mesh=meshes.single_device_mesh(),
            rows=1,
            name="score",
        )[0]


def load_policy(folder, dtype: str = "float32") -> Policy:
    """A policy from a Hugging Face `LlamaForCausalLM` folder. dtype: "float32" or "bfloat16". UserError names what is wrong with it."""
    return Policy(folder, dtype)


def load_reward_model(folder, dtype: str = "float32", template: str = "{question}\n") -> Rewarder:
    """A reward model from a folder that this package exported (`LlamaForTokenClassification` with one label)."""
    return Rewarder(folder, dtype, template)
