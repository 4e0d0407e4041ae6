"""Calls of splash attention, as XLA:TPU writes them, cost what their blocks come to by hand."""

import pytest

from glore_jax.planning import cost

# Two rows, 8 heads to 2 of keys and values, 1024 tokens, head_dim 128.
PIECE = 2 * 1024 * 128  # bfloat16 of one head
FWD = """
HloModule m
ENTRY %main (q: bf16[2,8,1024,128]) -> bf16[2,8,1024,128] {
  %next = s8[1,4,4]{2,1,0} parameter(0)
  %run = s8[1,4,4]{2,1,0} parameter(1)
  %q = bf16[2,8,1024,128]{3,2,1,0} parameter(2)
  %k = bf16[2,2,1024,128]{3,2,1,0} parameter(3)
  %v = bf16[2,2,1024,128]{3,2,1,0:S(1)} parameter(4)
  %sq = s32[2,1024,128]{2,1,0} parameter(5)
  %sk = s32[2,8,1024]{2,1,0} parameter(6)
  %places = s32[1024,128]{1,0} parameter(7)
  ROOT %splash_mha_fwd_segmented_no_residuals.1 = bf16[2,8,1024,128]{3,2,1,0} \
      custom-call(%next, %run, %q, %k, %v, /*index=5*/%sq, %sk, %places), \
      custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q\\": 256, \\"block_kv\\": 256, \\"block_q_dkv\\": 512, \
      \\"block_kv_dkv\\": 512}"
}}, metadata={op_name="jit(step)/pallas_call"}
}
"""
DKV = """
HloModule m
ENTRY %main (q: bf16[8,1024,128]) -> bf16[2,1024,128] {
  %q = bf16[8,1024,128]{2,1,0} parameter(0)
  %k = bf16[2,1024,128]{2,1,0} parameter(1)
  %v = bf16[2,1024,128]{2,1,0} parameter(2)
  %sq = s32[8,1024]{1,0} parameter(3)
  %sk = s32[1024,128]{1,0} parameter(4)
  %sum = f32[8,8,1024]{2,1,0} parameter(5)
  %do = bf16[8,1024,128]{2,1,0} parameter(6)
  %di = f32[8,8,1024]{2,1,0} parameter(7)
  ROOT %call.9 = (bf16[2,1024,128]{2,1,0}, bf16[2,1024,128]{2,1,0}) \
      custom-call(%q, %k, %v, %sq, %sk, /*index=5*/%sum, %do, %di), \
      custom_call_target="tpu_custom_call", frontend_attributes={kernel_metadata={
"xprof_metadata":"{\\"block_q_dkv\\": 512, \\"block_kv_dkv\\": 512, \
      \\"block_kv_dkv_compute\\": 512}"
}}, metadata={op_name="jit(step)/splash_mha_dkv_segmented_no_residuals/pallas_call"}
}
"""


def test_forward_under_a_causal_mask():
    """10 of 4 x 4 blocks run; on chip lie the values."""
    found = cost.analyse(FWD)
    assert found.flops == 2 * 2 * (2 * 8) * 10 * 256 * 256 * 128
    queries_and_out = 2 * 2 * 8 * PIECE
    keys = 2 * 8 * PIECE * 10 / 4  # by each of the heads that share them
    # Again for each head.
    segments_of_queries = 8 * (4 * 2 * 1024 * 128)
    places = 2 * 8 * (4 * 1024 * 128)
    segments_of_keys = 8 * (4 * 2 * 8 * 1024) * 10 / 4
    segments = segments_of_queries + segments_of_keys
    assert found.bytes == queries_and_out + keys + segments + places


def test_gradients_of_keys_and_values_without_a_mask():
    """All 2 x 2 blocks run, of one row."""
    found = cost.analyse(DKV)
    assert found.flops == 2 * 4 * 8 * 4 * 512 * 512 * 128
    # Keys, values, their gradients; segments of keys, for all heads.
    held = 4 * 2 * PIECE + 4 * 1024 * 128
    read = 2 * (2 * 8 * PIECE + 2 * (4 * 8 * 8 * 1024) + 8 * (4 * 8 * 1024))
    assert found.bytes == held + read


def test_one_block_stays_on_the_chip():
    """From head to head: everything is read once."""
    text = FWD
    for name in ("block_q", "block_kv"):
        text = text.replace(f'{name}\\": 256', f'{name}\\": 1024')
    found = cost.analyse(text)
    assert found.flops == 2 * 2 * (2 * 8) * 1024 * 1024 * 128
    segments_and_places = 4 * (2 * 1024 * 128 + 2 * 8 * 1024 + 1024 * 128)
    assert found.bytes == 2 * 2 * 8 * PIECE + 2 * 2 * PIECE + segments_and_places


def test_other_kernels_are_bytes_only():
    found = cost.analyse(FWD.replace("splash_mha_fwd_segmented_no_residuals", "ragged"))
    assert found.flops == 0 and found.bytes > 0


def test_a_call_that_hides_its_blocks():
    with pytest.raises(ValueError, match="without its block_q"):
        cost.analyse(FWD.replace("block_q\\", "size_q\\"))
