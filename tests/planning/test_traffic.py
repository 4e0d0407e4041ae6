"""Bytes of HBM: of slices and updates in place their own, of what lies on the chip none."""

from glore_jax.planning import cost

FUSIONS = """
HloModule m
%slice (stack: bf16[32,64,64], at: s32[]) -> bf16[1,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %at = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %s = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} \
      dynamic-slice(%stack, %at, %zero, %zero), dynamic_slice_sizes={1,64,64}
}

%update (stack: bf16[32,64,64], new: bf16[1,64,64], at: s32[]) -> bf16[32,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %new = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  %at = s32[]{:T(128)} parameter(2)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %u = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} \
      dynamic-update-slice(%stack, %new, %at, %zero, %zero)
}

ENTRY %main (stack: bf16[32,64,64], at: s32[]) -> bf16[32,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %at = s32[]{:T(128)S(6)} parameter(1)
  %one = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} fusion(%stack, %at), kind=kLoop, calls=%slice
  ROOT %out = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} \
      fusion(%stack, %one, %at), kind=kLoop, calls=%update
}
"""


def test_slices_and_updates_in_place_count_by_themselves():
    """The slice is read, and the update written.

    In between it lies on the chip: it is neither written nor read again.
    """
    assert cost.analyse(FUSIONS).bytes == 2 * 64 * 64 * 2


COPY = """
HloModule m
%turn (x: f32[16,32]) -> f32[32,16] {
  %x = f32[16,32]{1,0} parameter(0)
  ROOT %t = f32[32,16]{1,0} transpose(%x), dimensions={1,0}
}

ENTRY %main (x: f32[16,32]) -> f32[32,16] {
  %x = f32[16,32]{1,0} parameter(0)
  ROOT %out = f32[32,16]{1,0} fusion(%x), kind=kLoop, calls=%turn
}
"""


def test_a_copy_reads_and_writes_all():
    assert cost.analyse(COPY).bytes == 2 * 4 * 16 * 32
