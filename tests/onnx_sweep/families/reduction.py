"""Reductions, running sums, and what is found by looking at a whole axis."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, FLOATS, INTS, SUMS, Draw, Node, Tolerance, sweep

ADDED_UP = Tolerance("ONNX Runtime adds positive numbers one after another, each sum rounded", rel=128.0, abs=16.0)
LOGS = Tolerance("sums in another order under a logarithm or a root", rel=32.0, abs=32.0)
#: when ``axes`` became an input
_AXES_INPUT = {"ReduceSum": 13}


@sweep("ReduceSum", "ReduceMean", "ReduceProd", tolerance=SUMS)
@sweep("ReduceL1", tolerance=ADDED_UP)
@sweep("ReduceSumSquare", tolerance=ADDED_UP, types=(*FLOATS, "int32", "int64", "uint64"))
@sweep("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", tolerance=LOGS, types=(*FLOATS, "int32", "int64"))
@sweep("ReduceMax", "ReduceMin", tolerance=EXACT)
def reduce(draw: Draw) -> Node:
    name, whole = draw.operator, draw.dtype.kind in "iu"
    shape = draw.shape((0, 5), 40000)
    low, high = (-9, 9) if whole else (-1, 1)
    if name == "ReduceLogSum":
        low = 1 if whole else 0.1
    if name == "ReduceProd":
        low, high = (-2, 2) if whole else (0.7, 1.3)
        shape = draw.shape((0, 4), 600)
    if name == "ReduceMean" and 0 in shape:  # the mean of nothing is not said
        shape = tuple(max(s, 1) for s in shape)
    exact = name in ("ReduceMax", "ReduceMin")
    x = draw.values(shape, low, high, special=exact and whole)
    if whole and name in ("ReduceMean", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"):
        x = draw.values(shape, 1, 9)
    axes: list[int] | None = draw.axes(len(shape)) if shape and draw.chance(0.8) else None
    attrs: dict[str, object] = {"keepdims": draw.choose([None, 0, 1])}
    if whole and name == "ReduceLogSumExp":  # ONNX Runtime truncates each exponential, the NumPy reference refuses
        return _whole_log_sum_exp(draw, x, axes)
    terms = float(np.prod([max(shape[a], 1) for a in (axes or range(len(shape)))])) if shape else 1.0
    if draw.opset < _AXES_INPUT.get(name, 18):
        if draw.opset < 11 and axes:
            axes = sorted(a % len(shape) for a in axes)
        attrs["axes"] = axes or None
        return Node([x], attrs, scale=terms**0.5)
    if not axes and draw.chance(0.5):
        attrs["noop_with_empty_axes"] = draw.integer(0, 1)
    inputs = [x] if axes is None else [x, np.array(axes, np.int64)]
    constants = draw.fixed(1, probability=0.7) if axes is not None else frozenset()
    return Node(inputs, attrs, constants=constants, scale=terms**0.5)


def _whole_log_sum_exp(draw: Draw, x: np.ndarray, axes: list[int] | None) -> Node:
    def answer() -> list[np.ndarray]:
        total = np.exp(x.astype(np.float64)).sum(axis=tuple(axes or range(x.ndim)), keepdims=True)
        return [np.trunc(np.log(total)).astype(x.dtype)]

    if draw.opset < 18:
        axes = sorted(a % x.ndim for a in axes) if axes else None
        return Node([x], {"axes": axes}, expected=answer)
    return Node([x] if not axes else [x, np.array(axes, np.int64)], expected=answer)


@sweep("ArgMax", "ArgMin", tolerance=EXACT)
def arg(draw: Draw) -> Node:
    shape = draw.shape((1, 5), empty=0.0)
    attrs: dict[str, object] = {"keepdims": draw.choose([None, 0, 1])}
    if draw.chance(0.8):
        attrs["axis"] = draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)
    if draw.opset >= 12 and draw.chance(0.5):
        attrs["select_last_index"] = draw.integer(0, 1)
    return Node([draw.values(shape, -9, 9)], attrs)


@sweep("CumSum", tolerance=SUMS)
@sweep("CumProd", tolerance=Tolerance("products in another order", rel=600.0))
def running(draw: Draw) -> Node:
    whole = draw.dtype.kind in "iu"
    shape = draw.shape((1, 4), empty=0.02)
    low, high = (-9, 9) if whole else (-1, 1)
    if draw.operator == "CumProd":
        low, high = (-2, 3) if whole else (0.95, 1.05)
    x = draw.values(shape, low, high)
    axis = draw.axis(len(shape))
    kind = draw.choose([np.int32, np.int64])
    attrs = {n: draw.choose([None, 0, 1]) for n in ("exclusive", "reverse")}
    return Node(
        [x, np.array(axis, kind)], attrs, constants=draw.fixed(1, probability=0.7), scale=max(shape[axis], 1) ** 0.5
    )


@sweep("TopK", tolerance=EXACT)
def top_k(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    axis = draw.axis(len(shape)) if draw.opset >= 11 else draw.integer(0, len(shape) - 1)
    k = draw.choose([1, shape[axis], draw.integer(0 if draw.opset > 9 else 1, shape[axis]), min(5, shape[axis])])
    x = draw.values(shape, -100, 100)
    if draw.dtype.itemsize <= 2 or draw.chance(0.3):  # ties: the lower index comes first
        x = (
            draw.values(shape, -9, 9).astype(np.int8).astype(draw.dtype)
            if draw.dtype.kind != "u"
            else draw.values(shape, 0, 9)
        )
    attrs: dict[str, object] = {"axis": axis}
    if draw.opset < 10:
        return Node([x], {**attrs, "k": k}, outputs=2)
    if draw.opset >= 11:
        attrs["largest"] = draw.choose([None, 0, 1])
    return Node([x, np.array([k], np.int64)], attrs, outputs=2, constants=draw.fixed(1, probability=0.7))


@sweep("NonZero", tolerance=EXACT)
def non_zero(draw: Draw) -> Node:
    x = draw.values(draw.shape((1, 4), 6000), -2, 2)
    return Node([np.where(draw.rng.random(x.shape) < draw.choose([0, 0.5, 0.9, 1]), np.zeros((), x.dtype), x)])


@sweep("Unique", tolerance=EXACT)
def unique(draw: Draw) -> Node:
    shape = draw.shape((1, 3), 4000, empty=0.0)
    common = draw.type in ("float", "double", "int8", "int64")  # unsorted, the NumPy reference takes vectors alone
    attrs: dict[str, object] = {"sorted": draw.choose([None, 0, 1] if common else [None, 1])}
    if draw.chance(0.5):
        attrs["axis"] = draw.axis(len(shape))
    x = draw.values(shape, -3, 3)
    if draw.dtype.kind not in "iub":
        x = np.round(x.astype(np.float32) * draw.choose([0.5, 1, 8])).astype(x.dtype) + np.array(0, x.dtype)
    return Node([x], attrs, outputs=4)


@sweep("Compress", tolerance=EXACT)
def compress(draw: Draw) -> Node:
    shape = draw.shape((1, 4), empty=0.0)
    axis = draw.axis(len(shape)) if draw.chance(0.7) else None
    if draw.opset < 11 and axis is not None:
        axis %= len(shape)
    size = int(np.prod(shape)) if axis is None else shape[axis]
    taken = draw.rng.random(draw.integer(1, size)) < draw.choose([0.2, 0.8, 1.0])
    return Node([draw.values(shape, special=True), taken], {"axis": axis}, constants=draw.fixed(1))


@sweep("OneHot", tolerance=EXACT, variable=2, types=(*FLOATS, *INTS))
def one_hot(draw: Draw) -> Node:
    shape, depth = draw.shape((0, 3), 600), draw.choose([1, 3, 7, 17, 33])
    kind = draw.choose([np.int64, np.int32, np.float32])
    indices = draw.rng.integers(-depth - 2 if draw.opset >= 11 else 0, depth + 3, shape).astype(kind)
    attrs = {"axis": draw.axis(len(shape) + 1) if draw.opset >= 11 else draw.choose([-1, draw.integer(0, len(shape))])}
    deep = np.array(depth, draw.choose([np.int64, np.int32, np.float32]) if draw.chance(0.5) else np.int64)
    values = draw.rng.integers(0 if draw.dtype.kind == "u" else -5, 6, 2)  # whole: the NumPy reference adds and rounds
    return Node([indices, deep, values.astype(draw.dtype)], attrs if draw.chance(0.8) else {}, constants=frozenset({1}))
