"""How often a loop turns, where XLA does not say."""

from glore_jax.planning import cost

LOOP = """
HloModule m
%body (p: (s32[], f32[8,8])) -> (s32[], f32[8,8]) {
  %p = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %two = s32[]{:T(128)} constant(2)
  %next = s32[]{:T(128)} add(%i, %two)
  %x = f32[8,8]{1,0:T(8,128)} get-tuple-element(%p), index=1
  %y = f32[8,8]{1,0:T(8,128)} convolution(%x, %x), dim_labels=bf_io->bf
  ROOT %t = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)}) tuple(%next, %y)
}

%condition (p: (s32[], f32[8,8])) -> pred[] {
  %p = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %limit = s32[]{:T(128)} constant(9)
  ROOT %lt = pred[]{:T(512)} compare(%i, %limit), direction=LT
}

ENTRY %main (x: f32[8,8]) -> f32[8,8] {
  %x = f32[8,8]{1,0:T(8,128)} parameter(0)
  %zero = s32[]{:T(128)} constant(0)
  %start = s32[]{:T(128)} copy(%zero)
  %t = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)}) tuple(%start, %x)
  %w = (s32[]{:T(128)}, f32[8,8]{1,0:T(8,128)}) while(%t), condition=%condition, body=%body
  ROOT %out = f32[8,8]{1,0:T(8,128)} get-tuple-element(%w), index=1
}
"""


def test_turns_are_read_off_a_counter_where_xla_does_not_say():
    assert cost.analyse(LOOP).flops == 5 * 2 * 8 * 8 * 8  # 0, 2, 4, 6, 8
    assert cost.analyse(LOOP.replace("direction=LT", "direction=NE")).open_loops == 1
