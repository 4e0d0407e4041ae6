"""Whether transformers reads a folder as the model that it is: what it computes beside ours."""

import importlib.util

import jax.numpy as jnp
import numpy as np
from etils import epath

from glore_jax import api, storage
from glore_jax.errors import UserError
from glore_jax.models import hf_auto, hf_import
from glore_jax.models.hf_names import LIKELIHOOD
from glore_jax.parallel import mesh as meshes
from glore_jax.sampling.scoring import score_steps

_TOKENS = 64
_APART = 1e-3  # of the largest number, both in float32


def compare(folder: epath.Path) -> str:
    """What was found, as a line. UserError if the logits differ."""
    config = storage.read_json(folder / "config.json")
    if importlib.util.find_spec("torch") is None:
        return "not compared with transformers: PyTorch is not installed"
    if storage.is_remote(folder):
        return "not compared with transformers: the folder is not on a disk"
    if config.get(LIKELIHOOD):
        return (
            "not compared with transformers: this reward model also counts the likelihood of a "
            "solution, which only glore_jax reads"
        )
    tokens = np.random.default_rng(0).integers(0, config["vocab_size"], (1, _TOKENS))
    is_policy = config["architectures"][0].endswith("CausalLM")
    theirs = _theirs(folder, tokens, is_policy)
    ours = _policy(folder, tokens) if is_policy else _reward(folder, tokens)
    apart = float(np.abs(theirs - ours).max() / np.abs(theirs).max())
    if not apart < _APART:
        raise UserError(
            f"{folder}: transformers computes something else (apart by {apart:.1e} of the largest)"
        )
    return f"transformers computes the same (apart by {apart:.0e} of the largest)"


def _theirs(folder: epath.Path, tokens: np.ndarray, is_policy: bool) -> np.ndarray:
    import torch

    library = hf_auto.library()
    library.utils.logging.disable_progress_bar()
    kind = "AutoModelForCausalLM" if is_policy else "AutoModelForTokenClassification"
    model = getattr(library, kind).from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens)).logits[0]
        return (logits if is_policy else torch.sigmoid(logits[:, 0])).numpy()


def _policy(folder: epath.Path, tokens: np.ndarray) -> np.ndarray:
    return np.asarray(api.load_policy(folder).logits(jnp.asarray(tokens, jnp.int32))[0])


def _reward(folder: epath.Path, tokens: np.ndarray) -> np.ndarray:
    """Probabilities [T] of the label of a model for token classification."""
    model = hf_import.read_reward_model(folder, param_dtype="float32", dtype="float32")
    item = tokens[0].tolist(), list(range(1, tokens.shape[1] + 1)), 0
    (scores,) = score_steps(model, [item], mesh=meshes.single_device_mesh(), rows=1)
    return scores
