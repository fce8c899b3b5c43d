"""Reductions and ordered scans."""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import Translator, translates
from a1400.graph.graph import Value

_KINDS = {
    "ReduceSum": "sum", "ReduceMean": "mean", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod",
    "ReduceL1": "l1", "ReduceL2": "l2", "ReduceSumSquare": "sum_square", "ReduceLogSum": "log_sum",
    "ReduceLogSumExp": "logsumexp",
}  # fmt: skip
_ELEMENTWISE_ON_NOTHING = ("l1", "l2", "sum_square", "log_sum")
_ROOTS_AND_LOGS = ("l2", "log_sum", "logsumexp")


def _reduce(c: Ctx, kind: str, axes: tuple[int, ...] | None) -> Value:
    x = c[0]
    if kind in _ROOTS_AND_LOGS and dtypes.is_int(x.dtype):
        # of integers too, rounded towards zero; float64 holds every sum whose root an integer type could tell apart
        return c.cast(_reduced(c, kind, c.cast(x, np.float64), axes), x.dtype)
    return _reduced(c, kind, x, axes)


def _reduced(c: Ctx, kind: str, x: Value, axes: tuple[int, ...] | None) -> Value:
    if not axes:
        if c.flag("noop_with_empty_axes"):
            # reducing nothing still applies the function of the element
            return c.reduce(kind, x, ()) if kind in _ELEMENTWISE_ON_NOTHING else x
        axes = tuple(range(x.rank))
    axes = tuple(c.axis(a, x.rank) for a in axes)
    if x.dtype == np.bool_ and kind in ("max", "min"):
        kind = "any" if kind == "max" else "all"
    return c.op("reduce", x, kind=kind, axes=axes, keepdims=c.flag("keepdims", True))


def _by_attribute(kind: str) -> Translator:
    return lambda c: _reduce(c, kind, c.ints("axes"))


def _by_input(kind: str) -> Translator:
    return lambda c: _reduce(c, kind, None if c.opt(1) is None else c.need_ints(1, "the axes to reduce"))


for _onnx, _kind in _KINDS.items():
    translates(_onnx)(_by_attribute(_kind))
    translates(_onnx, since=13 if _onnx == "ReduceSum" else 18)(_by_input(_kind))


@translates("ArgMax", "ArgMin")
def arg_reduce(c: Ctx) -> Value:
    """Index of the extreme along an axis."""
    return c.op(
        "arg_reduce", c[0], kind=c.node.op.lower(), axis=c.integer("axis", 0), keepdims=c.flag("keepdims", True),
        select_last=c.flag("select_last_index"),
    )  # fmt: skip


@translates("TopK")
def top_k_attribute(c: Ctx) -> object:
    """Opset 1: k as an attribute."""
    return tuple(c.multi("topk", c[0], k=c.integer("k"), axis=c.integer("axis", -1), largest=True, sorted=True))


@translates("TopK", since=10)
def top_k(c: Ctx) -> object:
    """The k largest or smallest along an axis, with their indices."""
    return tuple(
        c.multi(
            "topk", c[0], k=int(c.need_scalar(1, "the number of elements k")), axis=c.integer("axis", -1),
            largest=c.flag("largest", True), sorted=c.flag("sorted", True),
        )
    )  # fmt: skip


@translates("CumSum", "CumProd")
def cumulate(c: Ctx) -> Value:
    """Running sum or product."""
    return c.op(
        "cumulate", c[0], kind="sum" if c.node.op == "CumSum" else "prod",
        axis=int(c.need_scalar(1, "the axis")), exclusive=c.flag("exclusive"), reverse=c.flag("reverse"),
    )  # fmt: skip
