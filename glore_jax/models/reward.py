"""The reward model: a LLaMA backbone and one scalar logit per token.

Outcome and stepwise reward models are this one model; only their labels differ (paper section 4.1,
step 2). The logit at the last token of a step says whether the prefix that ends there leads to a
right answer.

It can also count how likely the backbone itself finds the solution so far. What a language model
knows while it writes, that a token was a guess, stands in its last layer, where no later token can
attend to it; so a value read from the hidden state alone learns of it hardly anything, least of
all from a small model:

    tokens      q  q  | s1 s1 \\n | s2 s2 \\n      q: question, log p counts for nothing
    log p       .  .  | a  b  c  | d  e  f
    evidence at       |       a+b|       a+b+c+d+e
                                                 at a step's last token: all tokens of the
                                                 solution before it
    logit       =  weight . hidden + bias + scale * evidence

Dimensions as in `llama.py`.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float, Float32, Int, Key

from glore_jax.models import llama
from glore_jax.models.config import LlamaConfig
from glore_jax.models.llama import Attend, Llama, normal, param
from glore_jax.models.model import Model


class RewardModel(nnx.Module):
    """Llama with a value head instead of the vocabulary head.

    The value head starts at zero, so a fresh model says probability 1/2 everywhere. It is float32
    whatever the backbone is: its weights are small, and few.

    Args:
      config, rngs, param_dtype, options: as for `Llama`.
      likelihood: the logit also counts the log-likelihood of the solution (see above); the
        backbone then keeps its vocabulary head, and `scale` starts at 1: a fresh model says that
        its odds are the probability of the text.
      language: the backbone keeps its vocabulary head, so that it can learn to write besides.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        rngs: nnx.Rngs,
        param_dtype: Any = jnp.float32,
        likelihood: bool = False,
        language: bool = False,
        **options: Any,
    ):
        if not (likelihood or language):
            # A tied backbone owns no vocabulary head, for which there is no use.
            config = dataclasses.replace(config, tie_embeddings=True)
        ones, zeros = nnx.initializers.ones, nnx.initializers.zeros
        width = (config.hidden_size,)
        self.backbone = Llama(config, rngs=rngs, param_dtype=param_dtype, **options)
        self.likelihood = likelihood
        self.weight = param(zeros, rngs, width, jnp.float32, ("norm",))
        self.bias = param(zeros, rngs, (1,), jnp.float32, ("norm",))
        if likelihood:
            self.scale = param(ones, rngs, (1,), jnp.float32, ("norm",))

    @property
    def kernel(self) -> Any:
        """As of `Llama`."""
        return self.backbone.kernel

    def __call__(
        self,
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        attend: Attend,
        cache: Any = None,
        solution: Int[Array, "B T"] | Bool[Array, "B T"] | None = None,
    ) -> tuple[Float32[Array, "B T"], Any]:
        """(logits, cache_out): logits float32 [B, T], log-odds of being right.

        Args:
          tokens, positions, attend, cache: as for `Llama`; so is cache_out.
          solution: int or bool [B, T], the tokens whose likelihood counts; only, and always, for
            a model with `likelihood`.

        Raises:
          ValueError: a model with `likelihood` is not told what the solution is.
        """
        hidden, cache_out = self.backbone(tokens, positions, attend, cache)
        return self.judged(hidden, tokens, positions, solution), cache_out

    def judged(
        self,
        hidden: Float[Array, "B T D"],
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        solution: Int[Array, "B T"] | Bool[Array, "B T"] | None,
    ) -> Float32[Array, "B T"]:
        """The model's logits from final hidden states; arguments and errors as for the model."""
        logits = self.value(hidden)
        if not self.likelihood:
            return logits
        if solution is None:
            raise ValueError("a reward model with likelihood must be told where the solution is")
        return logits + self.scale[...] * self.evidence(hidden, tokens, positions, solution)

    def value(self, hidden: Float[Array, "B T D"]) -> Float32[Array, "B T"]:
        """Logits of final hidden states."""
        # The product and its sum in float32: with one output there is nothing to gain from a lower
        # precision.
        product = hidden.astype(jnp.float32) * self.weight[...]
        return jnp.sum(product, axis=-1) + self.bias[...]

    def evidence(
        self,
        hidden: Float[Array, "B T D"],
        tokens: Int[Array, "B T"],
        positions: Int[Array, "B T"],
        solution: Int[Array, "B T"] | Bool[Array, "B T"],
    ) -> Float32[Array, "B T"]:
        """Sum of log p over the tokens of the solution, of the same text, before each token.

        hidden: final hidden states; the others as for the model.
        """
        # The hidden state at t foretells token t + 1, so everything is one shorter here:
        # logp[:, i] belongs to token i + 1.
        logits = self.backbone.logits(hidden[:, :-1])
        logp = jnp.take_along_axis(logits, tokens[:, 1:, None], axis=-1)[..., 0]
        # Before the first token of a text stands another text, if any, which does not foretell it.
        counts = (solution[:, 1:] > 0) & (positions[:, 1:] > 0)
        logp = jnp.where(counts, logp - jax.nn.logsumexp(logits, axis=-1), 0.0)

        # summed[:, i] covers tokens up to i + 1. Two zeros in front and one off the end make that
        # "before token i", the token itself left out.
        summed = jnp.cumsum(logp, axis=1)
        before = jnp.pad(summed, ((0, 0), (2, 0)))[:, :-1]
        # Less what earlier texts of the row have left there. A text starts at its token's place in
        # the row minus its place in the text; padding may have any position, so it is bounded.
        start = jnp.maximum(jnp.arange(tokens.shape[1]) - positions, 0)
        return before - jnp.take_along_axis(before, start, axis=1)


def init(
    config: LlamaConfig, seed: int | Key[Array, ""], **options: Any
) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """(graphdef, params) of a fresh RewardModel; arguments as for `llama.init`."""
    return llama.init(config, seed, RewardModel, **options)


def abstract(config: LlamaConfig, **options: Any) -> tuple[nnx.GraphDef[Any], nnx.State]:
    """Like `init`, with `jax.ShapeDtypeStruct` in place of every array."""
    return llama.abstract(config, RewardModel, **options)


def from_policy(
    policy: Model,
    seed: int | Key[Array, ""] = 0,
    std: float = 0.0,
    likelihood: bool = False,
    language: bool = False,
) -> Model:
    """A reward model that starts from a policy: its backbone, and a value head that is drawn.

    It computes as the policy does (`Llama.options`), the backbone in the dtype of its weights.

    Args:
      policy: its arrays are shared, not copied.
      seed: integer or typed random key; plays no part when `std` is 0.
      std: of the fresh head's logits, about. The D hidden values are of size 1, so the weights are
        drawn with std / sqrt(D). 0 gives the zero head: the backbone's first gradient is then zero
        too, and the head moves first.
      likelihood, language: see `RewardModel`.
    """
    norm: Any = policy.params["norm"]
    options = policy.merge().options
    graphdef, shapes = abstract(
        policy.config,
        param_dtype=norm["scale"][...].dtype,
        likelihood=likelihood,
        language=language,
        **options,
    )
    # The shapes say which of the policy's parameters a reward model has: not always its head.
    params: Any = shapes
    shared: Any = jax.tree.map(lambda x: x, policy.params)  # new containers, the same arrays
    for name in params["backbone"]:
        params["backbone"][name] = shared[name]

    key = jax.random.key(seed) if isinstance(seed, int) else seed
    width = policy.config.hidden_size
    head = jnp.zeros((width,), jnp.float32)
    if std:
        head = normal(std / math.sqrt(width))(key, (width,), jnp.float32)
    params["weight"] = params["weight"].replace(head)
    params["bias"] = params["bias"].replace(jnp.zeros((1,), jnp.float32))
    if likelihood:
        params["scale"] = params["scale"].replace(jnp.ones((1,), jnp.float32))
    return Model(graphdef, params, policy.config, policy.tokenizer)


def without_vocabulary(params: nnx.State) -> nnx.State:
    """Parameters of a reward model as they are read again: a vocabulary head that it kept only to
    learn to write is left out."""
    inner: Any = params["backbone"]
    if "scale" in params or "head" not in inner:
        return params
    kept: Any = jax.tree.map(lambda x: x, params)  # new containers, the same arrays
    del kept["backbone"]["head"]
    return kept
