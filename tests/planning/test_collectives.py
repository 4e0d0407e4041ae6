"""Collectives: what is sent, and each counted once, however the compiler spreads it."""

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from glore_jax.parallel import mesh as meshes
from glore_jax.planning import cost
from glore_jax.planning.collectives import GATHERS_AS_ALL_REDUCE, Transfers


def test_collectives_of_a_sharded_product():
    mesh = meshes.make_mesh(1, 8, 1)

    def placed(shape, spec):
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, spec))

    arguments = (
        placed((64, 32), PartitionSpec(None, "fsdp")),
        placed((32, 16), PartitionSpec("fsdp")),
    )
    found = cost.analyse(jax.jit(jnp.matmul).lower(*arguments).compile().as_text())
    assert found.flops == 2 * 64 * 16 * 32 / 8
    assert found.collectives["all-reduce"] == Transfers(1, 4 * 64 * 16)
    assert GATHERS_AS_ALL_REDUCE not in found.collectives


GATHER = """
HloModule m
%start (x: bf16[8,64]) -> (bf16[8,64], bf16[128,64], u32[]) {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} \
      all-gather(%x), channel_id=7, replica_groups={}, dimensions={0}
  ROOT %c = (bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) \
      custom-call(%x, %g), custom_call_target="AsyncCollectiveStart"
}

%during (x: bf16[8,64], g: bf16[128,64], a: f32[16,16]) -> (f32[16,16], bf16[8,64], bf16[128,64]) {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} parameter(1)
  %a = f32[16,16]{1,0:T(8,128)} parameter(2)
  %p = f32[16,16]{1,0:T(8,128)} convolution(%a, %a), dim_labels=bf_io->bf
  %h = bf16[128,64]{1,0:T(8,128)(2,1)} \
      all-gather(%x), channel_id=7, replica_groups={}, dimensions={0}
  ROOT %t = (f32[16,16]{1,0:T(8,128)}, bf16[8,64]{1,0:T(8,128)(2,1)}, \
      bf16[128,64]{1,0:T(8,128)(2,1)}) tuple(%p, %x, %h)
}

ENTRY %main (x: bf16[8,64], a: f32[16,16]) -> f32[16,16] {
  %x = bf16[8,64]{1,0:T(8,128)(2,1)} parameter(0)
  %a = f32[16,16]{1,0:T(8,128)} parameter(1)
  %s = (bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}, u32[]{:S(2)}) \
      fusion(%x), kind=kCustom, calls=%start
  %y = bf16[8,64]{1,0:T(8,128)(2,1)} get-tuple-element(%s), index=0
  %g = bf16[128,64]{1,0:T(8,128)(2,1)} get-tuple-element(%s), index=1
  %d = (f32[16,16]{1,0:T(8,128)}, bf16[8,64]{1,0:T(8,128)(2,1)}, bf16[128,64]{1,0:T(8,128)(2,1)}) \
      fusion(%y, %g, %a), kind=kOutput, calls=%during
  ROOT %out = f32[16,16]{1,0:T(8,128)} get-tuple-element(%d), index=0
}
"""


def test_a_gather_spread_over_fusions_counts_once():
    found = cost.analyse(GATHER)
    assert found.collectives == {"all-gather": Transfers(1, 128 * 64 * 2)}
    assert found.flops == 2 * 16**3
    assert found.bytes == 2 * (8 * 64 + 128 * 64) + 2 * 4 * 16 * 16


SUM_OF_PIECES = """
HloModule m
ENTRY %main (x: bf16[8,64], zeros: bf16[128,64], at: s32[]) -> bf16[128,64] {
  %x = bf16[8,64]{1,0} parameter(0)
  %zeros = bf16[128,64]{1,0} parameter(1)
  %at = s32[] parameter(2)
  %piece = bf16[128,64]{1,0} dynamic-update-slice(%zeros, %x, %at, %at)
  ROOT %out = bf16[128,64]{1,0} all-reduce(%piece), channel_id=1, to_apply=%add
}
"""


def test_a_gather_by_all_reduce_shows():
    found = cost.analyse(SUM_OF_PIECES)
    assert found.collectives[GATHERS_AS_ALL_REDUCE] == Transfers(1, 128 * 64 * 2)
