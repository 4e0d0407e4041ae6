"""The compiler's text as objects: types, layouts, operands, calls."""

import pytest

from glore_jax.planning import hlo
from glore_jax.planning.hlo import Array

TEXT = """
HloModule m, is_scheduled=true
%inner (a: bf16[8,128], n: s32[]) -> bf16[8,128] {
  %a = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} parameter(0)
  %n = s32[]{:T(128)} parameter(1)
  ROOT %twice = bf16[8,128]{1,0:T(8,128)(2,1)S(1)} add(%a, %a)
}

ENTRY %main (x: bf16[8,128]) -> (bf16[8,128], s32[]) {
  %x = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %seven = s32[]{:T(128)} constant(7)
  %made.1 = bf16[8,128]{1,0:T(8,128)(2,1)} fusion(%x, /*index=1*/%seven), \
kind=kLoop, calls=%inner, metadata={op_name="jit(f)/mul(x)"}
  ROOT %both = (bf16[8,128]{1,0:T(8,128)(2,1)}, s32[]{:T(128)}) tuple(%made.1, %seven)
}
"""


def test_a_module_as_objects():
    module = hlo.parse(TEXT)
    main = module[module.entry]
    fusion = main["made.1"]
    assert (fusion.opcode, fusion.operands) == ("fusion", ("x", "seven"))
    assert main.root.opcode == "tuple" and len(main.root.arrays) == 2
    assert main["seven"].attributes == "7"
    assert [i.name for i in main.users(main["seven"])] == ["made.1", "both"]
    inner = module.called_by(fusion)
    assert inner.root.name == "twice" and inner.parameter(1).name == "n"
    assert inner.parameter(2) is None
    assert [i.name for i in inner.users(inner["a"])] == ["twice"]


def test_what_lies_on_the_chip_is_no_memory():
    inner = hlo.parse(TEXT)["inner"]
    assert inner.root.bytes == 2 * 8 * 128 and inner.root.memory == 0
    assert inner["n"].memory == 4


@pytest.mark.parametrize(
    "text, arrays",
    [
        ("pred[3,5]{1,0}", [Array((3, 5), 15, True)]),
        ("s4[16]{0:S(0)}", [Array((16,), 8, True)]),
        ("f8e4m3fn[<=4,2]{1,0:S(5)}", [Array((4, 2), 8, False)]),
        ("(f32[]{:T(128)}, token[])", [Array((), 4, True), Array((), 0, True)]),
    ],
)
def test_types(text, arrays):
    assert hlo.arrays(text) == tuple(arrays)


def test_an_attribute_that_is_not_there():
    fusion = hlo.parse(TEXT)["main"]["made.1"]
    with pytest.raises(ValueError, match="%made.1 has no"):
        fusion.computation_of("body")


def test_text_that_is_no_module():
    with pytest.raises(ValueError, match="no ENTRY"):
        hlo.parse("nothing")
