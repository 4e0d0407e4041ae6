"""Multiply-adds of the matrix products of a compiled program, from the shapes and attributes alone.

XLA:TPU rewrites a `dot` as a `convolution`: contracted axes become features (`f` on the left, `i`
on the right), the axis of the rows the batch `b`, the axis of the columns the output features `o`.

    dot          [m, k] x [k, n]                          2 m k n
    convolution  dim_labels=bf_io->bf, the same product   2 b f o
                 with spatial axes 0, 1, ...              times the pairs of output and kernel
                                                          position that meet an input, for each
"""

from __future__ import annotations

import functools
import math
import re

from glore_jax.planning.hlo import Computation, Instruction

OPCODES = ("dot", "convolution")


def flops(scope: Computation, product: Instruction) -> float:
    """FLOPs of a `dot` or `convolution`, an addition and a multiplication counted as two."""
    left, right = (operand.shape for operand in scope.operands(product)[:2])
    if product.opcode == "convolution":
        return 2.0 * _convolved(left, right, product)
    axes = product.matched(r"lhs_contracting_dims=\{([\d,]*)\}")
    contracted = math.prod(left[int(axis)] for axis in axes.split(",") if axis)
    return 2.0 * math.prod(product.shape) * contracted


def _convolved(left: tuple[int, ...], right: tuple[int, ...], product: Instruction) -> float:
    """Multiply-adds of a convolution; padded and dilated positions cost nothing, as XLA counts.

    A dot with batch axes is written as one: the axis becomes a spatial one, of which each output
    position sees a single input.
    """
    # Which axis is what: `bf01_io01->bf01` names the axes of left, right and result in order.
    lhs, rhs, result = re.split(r"_|->", product.matched(r"dim_labels=(\w+->\w+)"))
    groups = re.findall(r"(?:feature|batch)_group_count=(\d+)", product.attributes)
    features = left[lhs.index("f")] * right[rhs.index("o")] * left[lhs.index("b")]
    count = features / math.prod(int(group) for group in groups)
    spatial = len(result) - 2
    for number, axis in enumerate(_window(product, spatial)):
        length = left[lhs.index(str(number))]
        out = product.shape[result.index(str(number))]
        count *= meetings(length, out, **axis)
    return count


def _window(product: Instruction, spatial: int) -> list[dict[str, int]]:
    """For each spatial axis what `window={size=3x1 stride=2x1 pad=1_1x0_0 ...}` says of it."""
    found = re.search(r"window=\{([^}]*)\}", product.attributes)
    fields = dict(field.split("=") for field in found[1].split()) if found else {}

    def per_axis(key: str, default: str) -> list[str]:
        return fields[key].split("x") if key in fields else [default] * spatial

    sizes = per_axis("size", "1")
    strides = per_axis("stride", "1")
    pads = per_axis("pad", "0_0")  # before and behind
    stretches = per_axis("lhs_dilate", "1")
    spreads = per_axis("rhs_dilate", "1")
    return [
        {
            "size": int(sizes[n]),
            "stride": int(strides[n]),
            "pad": int(pads[n].split("_")[0]),
            "stretch": int(stretches[n]),
            "spread": int(spreads[n]),
        }
        for n in range(spatial)
    ]


@functools.cache
def meetings(
    length: int, out: int, *, size: int, stride: int, pad: int, stretch: int, spread: int
) -> int:
    """Pairs of output and kernel position that meet an element of the input, along one axis.

    Args:
      length, out, size: of the input, the output and the kernel.
      stride: input positions from one output to the next.
      pad: zeros before the input.
      stretch, spread: dilation of the input and of the kernel.
    """
    if size == 1 and pad == 0 and stretch == 1 and stride * (out - 1) < length:
        return out
    stretched = (length - 1) * stretch + 1
    found = 0
    for k in range(size):
        for o in range(out):
            position = o * stride - pad + k * spread
            # Between the elements of a stretched input lie zeros.
            found += 0 <= position < stretched and position % stretch == 0
    return found
