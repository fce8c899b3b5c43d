"""Deep products with few results, in parts: each sums a range of the depth, and a reduction adds them in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from a1400.engine.lower.product import Product
from a1400.engine.lower.slots import Filled, with_epilogue
from a1400.engine.lowering import Lowering
from a1400.kernels.gemm import accumulator
from a1400.kernels.spec import SlotArgument
from a1400.memory.storage import View


def emit_in_parts(lw: Lowering, p: Product, parts: int, emit: Callable[[Lowering, Product], None]) -> None:
    """Launch a single product ``[M, K] x [K, N]`` (not of a batch) as about ``parts`` of one batch with ``emit``."""
    m, k, n = *p.a.shape, p.b.shape[-1]
    chunk = -(-k // parts)
    whole, rest = divmod(k, chunk)
    acc = accumulator(p.a.dtype)
    sums = lw.temporary((whole + bool(rest), m, n), acc)
    for first, count, depth in ((0, whole, chunk), (whole, 1, rest)):
        if depth:
            a, b = _ranges(p.a, 1, first, count, chunk, depth), _ranges(p.b, 0, first, count, chunk, depth)
            c = sums.slice((first, 0, 0), (count, m, n), (1, 1, 1))
            emit(lw, Product(a, b, c, None, _prologue(p.slots, first * chunk, chunk)))
    _add_up(lw, sums, p)


def _ranges(view: View, axis: int, first: int, count: int, chunk: int, depth: int) -> View:
    """``count`` ranges of a matrix along ``axis``, each ``depth`` long, ``chunk`` apart, as a batch."""
    step, shape = view.strides[axis], list(view.shape)
    shape[axis] = depth
    return replace(
        view, shape=(count, *shape), strides=(chunk * step, *view.strides), offset=view.offset + first * chunk * step
    )


def _prologue(slots: Mapping[str, Filled], start: int, chunk: int) -> dict[str, Filled]:
    """The PROLOGUE for ranges of the depth: the batch coordinate, else without use, counts them."""
    if "PROLOGUE" not in slots:
        return {}
    code, arguments = slots["PROLOGUE"]
    moved = []
    for argument in arguments:
        _, row, step = argument.strides
        moved.append(SlotArgument(argument.buffer, argument.offset + start * step, (chunk * step, row, step)))
    return {"PROLOGUE": (code, moved)}


def _add_up(lw: Lowering, sums: View, p: Product) -> None:
    """C from its parts ``[part, M, N]``, through the product's epilogue."""
    parts, m, n = sums.shape
    slots: dict[str, Filled] = {}
    if "EPILOGUE" in p.slots:
        code, arguments = p.slots["EPILOGUE"]
        slots["EPILOGUE"] = (code, [SlotArgument(x.buffer, x.offset, tuple(x.strides[1:])) for x in arguments])
    slots = with_epilogue(slots, sums.dtype, p.c.dtype)
    rows, columns = (m, n) if slots else (1, m * n)
    out = p.c if lw.bindable(p.c) else lw.temporary((m, n), p.c.dtype)
    lw.launch(
        "reduce_sum", {"T": sums.dtype, "ACC": sums.dtype, "OUT": p.c.dtype},
        {"x": sums.ref(), "y": lw.bind(out)},
        {"O0": 1, "O1": rows, "R0": 1, "R1": parts, "I": columns, "S": 1, "chunk": parts, "count": parts, "x_off": 0,
         "x_o0": 0, "x_o1": columns, "x_r0": 0, "x_r1": m * n, "x_i": 1},
        slots=slots,
    )  # fmt: skip
    if out is not p.c:
        lw.copy(out, p.c)
