"""What a launch costs at least: arithmetic operations and bytes of memory, for the roofline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from a1400 import dtypes
from a1400.kernels.expr import Expr, topological
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.spec import KernelCall


@dataclass(frozen=True)
class Cost:
    """Arithmetic operations, and bytes read and written when every element moves once; ``weights`` of them constant."""

    flops: float
    bytes: float
    weights: float = 0.0


def expression_flops(*exprs: Expr) -> int:
    """Operations of one evaluation; what sub-trees share counts once."""
    return sum(OPS[node.op].flops for node in topological(exprs) if node.op in OPS)


def cost(call: KernelCall, is_weight: Callable[[Any], bool] = lambda buffer: False) -> Cost:
    """The least that a launch costs, its slots included; its buffers have ``nbytes``.  ``is_weight`` knows constants.

    A direct convolution's operations count even where a kernel needs fewer (Winograd), so that speeds compare.
    """
    spec, scalars = call.spec, call.scalars
    flops, nbytes = float(spec.flops(scalars)), _buffer_bytes(call)
    weights = float(sum(buffer.nbytes for buffer in call.buffers.values() if is_weight(buffer)))
    for slot in spec.slots:
        code = call.slots.get(slot.name)
        if code is None:
            continue
        count = float(slot.count(scalars))
        flops += count * expression_flops(*code.exprs)
        for operand, argument in zip(code.operands, call.slot_arguments.get(slot.name, ()), strict=True):
            if operand.position:
                continue
            read = min(float(argument.buffer.nbytes), count * operand.dtype.itemsize)
            nbytes += read
            weights += read if is_weight(argument.buffer) else 0.0
    return Cost(flops, nbytes, min(weights, nbytes))


def _buffer_bytes(call: KernelCall) -> float:
    """Bytes of the kernel's own buffers."""
    whole = elements = 0.0
    for param in call.spec.params:
        if param.kind == "scalar":
            continue
        dtype = call.types[param.type] if param.type in call.types else dtypes.from_short(param.type)
        nbytes = call.buffers[param.name].nbytes * (2 if param.kind == "inout" else 1)
        whole += nbytes
        elements += nbytes / dtype.itemsize
    told = float(call.spec.bytes(call.scalars))
    # the spec counts four bytes an element; what the elements have on average is right for the sum
    return told / 4 * (whole / elements) if told and elements else whole
