"""Which tensors make up a model, and what they look like in the files."""

import math

import jax
import pytest

from glore_jax.models import hf_names, llama, reward


def test_kernels_are_stored_out_by_in_layer_by_layer(tiny):
    tensors = hf_names.tensors_of(llama.abstract(tiny())[1])
    gates = [tensors[f"model.layers.{i}.mlp.gate_proj.weight"] for i in range(2)]
    assert [gate.shape for gate in gates] == [(48, 32)] * 2  # [F, D]
    assert [gate.layer for gate in gates] == [0, 1] and gates[0].leaf == gates[1].leaf
    assert all(gate.transposed for gate in gates)


@pytest.mark.parametrize("module, likelihood", [(llama, None), (reward, False), (reward, True)])
@pytest.mark.parametrize("tie", [False, True])
def test_every_number_of_a_model_has_its_tensor(tiny, module, likelihood, tie):
    asked = {} if likelihood is None else {"likelihood": likelihood}
    _, params = module.abstract(tiny(num_layers=3, tie_embeddings=tie), **asked)
    tensors = hf_names.tensors_of(params).values()
    stored = sum(math.prod(tensor.shape) for tensor in tensors)
    assert stored == sum(x.size for x in jax.tree.leaves(params))
    assert {tensor.leaf for tensor in tensors} == set(range(len(jax.tree.leaves(params))))


def test_the_head_of_a_reward_model_is_a_score_with_one_label(tiny):
    tensors = hf_names.tensors_of(reward.abstract(tiny())[1])
    assert tensors["score.weight"].shape == (1, 32) and tensors["score.bias"].shape == (1,)
    assert not any(name.startswith("lm_head") for name in tensors)
