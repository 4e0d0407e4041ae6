"""What is counted in an HLO module is what its products, loops and slices come to by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.parallel import mesh as meshes
from glore_jax.planning import hlo


def compiled(function, *shapes):
    arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
    return hlo.analyse(jax.jit(function).lower(*arguments).compile().as_text())


def test_one_product():
    cost = compiled(lambda a, b: a @ b, (24, 40), (40, 16))
    assert cost.flops == 2 * 24 * 40 * 16
    assert cost.bytes == 4 * (24 * 40 + 40 * 16 + 24 * 16)
    assert cost.open_loops == 0 and cost.collectives == {}


def test_a_scan_counts_as_often_as_it_turns():
    def layers(x, weights):
        return jax.lax.scan(lambda x, w: (jnp.tanh(x @ w), None), x, weights)[0]

    cost = compiled(layers, (8, 32), (5, 32, 32))
    assert cost.flops == 5 * 2 * 8 * 32 * 32
    weights = 5 * 4 * 32 * 32  # read once; a slice of the stack is no read of the stack
    assert weights < cost.bytes < 5 * weights


def test_loops_in_loops():
    def twice(x, weights):
        def outer(x, w):
            return jax.lax.fori_loop(0, 3, lambda i, x: x @ w, x), None

        return jax.lax.scan(outer, x, weights)[0]

    assert compiled(twice, (4, 16), (5, 16, 16)).flops == 5 * 3 * 2 * 4 * 16 * 16


def test_a_rematerialised_step_counts_its_recomputation():
    def loss(remat):
        layer = lambda x, w: (jnp.sin(jnp.sin(x @ w) @ w.T), None)  # noqa: E731
        return jax.grad(
            lambda w, x: jax.lax.scan(jax.checkpoint(layer) if remat else layer, x, w)[0].sum()
        )

    product = 2 * 8 * 32 * 64
    plain = compiled(loss(False), (4, 32, 64), (8, 32)).flops
    again = compiled(loss(True), (4, 32, 64), (8, 32)).flops
    assert plain == pytest.approx(
        4 * 6 * product, abs=2 * product
    )  # the first layer needs no gradient of its input
    assert again == pytest.approx(plain + 4 * 2 * product, abs=4 * product)


def test_products_with_batch_axes():
    cost = compiled(lambda a, b: jnp.einsum("bhqc,bhkc->bhqk", a, b), (2, 3, 8, 16), (2, 3, 8, 16))
    assert cost.flops == 2 * 2 * 3 * 8 * 8 * 16


def test_a_loop_that_ends_by_its_data():
    def until(x, w):
        return jax.lax.while_loop(lambda x: x.sum() > 0, lambda x: x @ w, x)

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((4, 16), (16, 16))]
    text = jax.jit(until).lower(*shapes).compile().as_text()
    one, seven = hlo.analyse(text), hlo.analyse(text, turns=7)
    assert one.open_loops == 1 and one.flops == 2 * 4 * 16 * 16 and seven.flops == 7 * one.flops


def test_collectives_of_a_sharded_product():
    mesh = meshes.make_mesh(1, 8, 1)

    def placed(shape, spec):
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))

    arguments = (
        placed((64, 32), PartitionSpec(None, "fsdp")),
        placed((32, 16), PartitionSpec("fsdp")),
    )
    cost = hlo.analyse(jax.jit(jnp.matmul).lower(*arguments).compile().as_text())
    assert cost.flops == 2 * 64 * 16 * 32 / 8
    assert cost.collectives["all-reduce"] == [1, 4 * 64 * 16]
    assert "gathers_as_all_reduce" not in cost.collectives


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
    assert hlo.analyse(LOOP).flops == 5 * 2 * 8 * 8 * 8  # 0, 2, 4, 6, 8
    assert hlo.analyse(LOOP.replace("direction=LT", "direction=NE")).open_loops == 1


FUSIONS = """
HloModule m
%slice (stack: bf16[32,64,64], at: s32[]) -> bf16[1,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %at = s32[]{:T(128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %s = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} dynamic-slice(%stack, %at, %zero, %zero), dynamic_slice_sizes={1,64,64}
}

%update (stack: bf16[32,64,64], new: bf16[1,64,64], at: s32[]) -> bf16[32,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %new = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} parameter(1)
  %at = s32[]{:T(128)} parameter(2)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %u = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} dynamic-update-slice(%stack, %new, %at, %zero, %zero)
}

ENTRY %main (stack: bf16[32,64,64], at: s32[]) -> bf16[32,64,64] {
  %stack = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} parameter(0)
  %at = s32[]{:T(128)S(6)} parameter(1)
  %one = bf16[1,64,64]{2,1,0:T(8,128)(2,1)S(1)} fusion(%stack, %at), kind=kLoop, calls=%slice
  ROOT %out = bf16[32,64,64]{2,1,0:T(8,128)(2,1)} fusion(%stack, %one, %at), kind=kLoop, calls=%update
}
"""


def test_slices_and_updates_in_place_count_by_themselves():
    """The slice is read; it lies on the chip, so it is neither written nor read again; the update is written."""
    assert hlo.analyse(FUSIONS).bytes == 2 * 64 * 64 * 2


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
    assert hlo.analyse(COPY).bytes == 2 * 4 * 16 * 32


GATHER = """
HloModule m
%start (x: bf16[8,64]) -> (bf16[8,64], bf16[128,64], u32[]) {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} all-gather(%x), channel_id=7, replica_groups={}, dimensions={0}
  ROOT %c = (bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) custom-call(%x, %g), custom_call_target="AsyncCollectiveStart"
}

%during (x: bf16[8,64], g: bf16[128,64], a: f32[16,16]) -> (f32[16,16], bf16[8,64], bf16[128,64]) {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} parameter(1)
  %a = f32[16,16]{1,0:T(8,128)} parameter(2)
  %p = f32[16,16]{1,0:T(8,128)} convolution(%a, %a), dim_labels=bf_io->bf
  %h = bf16[128,64]{1,0:T(8,128)(2,1)} all-gather(%x), channel_id=7, replica_groups={}, dimensions={0}
  ROOT %t = (f32[16,16]{1,0:T(8,128)}, bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}) tuple(%p, %x, %h)
}

ENTRY %main (x: bf16[8,64], a: f32[16,16]) -> f32[16,16] {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %a = f32[16,16]{1,0:T(8,128)} parameter(1)
  %s = (bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) fusion(%x), kind=kCustom, calls=%start
  %y = bf16[8,64]{1,0:T(8,128)(2,1)} get-tuple-element(%s), index=0
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} get-tuple-element(%s), index=1
  %d = (f32[16,16]{1,0:T(8,128)}, bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}) fusion(%y, %g, %a), kind=kOutput, calls=%during
  ROOT %out = f32[16,16]{1,0:T(8,128)} get-tuple-element(%d), index=0
}
"""


def test_a_gather_spread_over_fusions_counts_once():
    cost = hlo.analyse(GATHER)
    assert cost.collectives == {"all-gather": [1, 128 * 64 * 2]}
    assert cost.flops == 2 * 16**3
    assert cost.bytes == 2 * (8 * 64 + 128 * 64) + 2 * 4 * 16 * 16


def test_a_gather_by_all_reduce_shows():
    text = (
        GATHER[: GATHER.index("%start")]
        + """
ENTRY %main (x: bf16[8,64], zeros: bf16[128,64], at: s32[]) -> bf16[128,64] {
  %x = bf16[8,64]{1,0} parameter(0)
  %zeros = bf16[128,64]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %piece = bf16[128,64]{1,0} dynamic-update-slice(%zeros, %x, %at, %at)
  ROOT %out = bf16[128,64]{1,0} all-reduce(%piece), channel_id=1, to_apply=%add
}
"""
    )
    cost = hlo.analyse(text)
    assert cost.collectives["gathers_as_all_reduce"] == [1, 128 * 64 * 2]


@pytest.mark.parametrize(
    "size, stride, low, stretch",
    [(3, 1, 1, 1), (4, 3, 0, 4), (32, 1, 31, 1), (1, 1, 0, 1), (5, 2, 2, 1)],
)
def test_positions_of_a_convolution(size, stride, low, stretch):
    """Against a convolution of ones, whose sum counts the pairs that meet."""
    length = 4
    out = jax.lax.conv_general_dilated(
        np.ones((1, 1, length), np.float32),
        np.ones((1, 1, size), np.float32),
        (stride,),
        [(low, low)],
        (stretch,),
    )
    assert hlo._positions(length, size, out.shape[-1], stride, low, stretch, 1) == out.sum()


def test_what_the_compiler_says_is_needed():
    said = "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO temporaries (25.46G) exceeds available HBM (15.75G)"
    assert hlo.needed(said) == int(25.46 * 2**30)
    assert hlo.needed("Ran out of memory in memory space hbm. Used 17.29G of 15.75G hbm.") == int(
        17.29 * 2**30
    )
    assert hlo.needed("something else") is None


def test_text_that_is_no_module():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.analyse("nothing")
