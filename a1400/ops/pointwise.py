"""Elementwise ops: every entry of the kernel table, plus ``cast`` and the fused region ``pointwise``.

Operands broadcast as in NumPy and have one dtype (``where``: condition bool).  ``cast`` has attr ``to`` (dtype).
``pointwise`` has attr ``expr`` (:class:`~a1400.kernels.expr.Expr` over its inputs): what the fusion pass leaves.  Where
it has several results, attr ``more`` holds the expressions of all but the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.graph.graph import Value
from a1400.kernels import expr
from a1400.kernels.pointwise_ops import OPS as TABLE
from a1400.ops.registry import Result, broadcast, op, widen


def _infer(name: str) -> Any:
    def infer(attrs: dict[str, Any], *inputs: Value) -> list[Result]:
        try:
            dtype = TABLE[name].result_dtype([v.dtype for v in inputs])
        except TypeError as error:
            raise GraphError(str(error)) from None
        return [(broadcast(*(v.shape for v in inputs)), dtype)]

    return infer


def _reference(name: str) -> Any:
    def reference(attrs: dict[str, Any], *arrays: np.ndarray) -> np.ndarray:
        dtype = TABLE[name].result_dtype([a.dtype for a in arrays])
        return np.asarray(TABLE[name].reference(*(widen(a) for a in arrays))).astype(dtype)

    return reference


for _name in TABLE:
    op(_name, "pointwise", _infer(_name), _reference(_name), pointwise=True)


def _infer_cast(attrs: dict[str, Any], x: Value) -> list[Result]:
    attrs["to"] = np.dtype(attrs["to"])
    return [(x.shape, attrs["to"])]


op("cast", "pointwise", _infer_cast, lambda attrs, x: expr.cast_array(x, attrs["to"]), pointwise=True)


def expressions(attrs: dict[str, Any]) -> tuple[expr.Expr, ...]:
    """The expression of each result of a ``pointwise`` node with these attributes."""
    return (attrs["expr"], *attrs.get("more", ()))


def _infer_fused(attrs: dict[str, Any], *inputs: Value) -> list[Result]:
    shape = broadcast(*(v.shape for v in inputs))
    return [(shape, e.dtype) for e in expressions(attrs)]


def _reference_fused(attrs: dict[str, Any], *arrays: np.ndarray) -> list[np.ndarray]:
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    return [np.broadcast_to(y, shape) for y in expr.evaluate_all(expressions(attrs), arrays)]


op("pointwise", "pointwise", _infer_fused, _reference_fused, pointwise=True)
