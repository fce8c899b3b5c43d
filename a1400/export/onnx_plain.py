"""Elementwise ops, moving, reducing, indexing and products as ONNX operators."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from a1400.export.onnx_writer import EMITTERS, Emission, ExportError, emits
from a1400.ops.registry import is_real

#: ops that ONNX has under another name and in the same meaning
_SAME = {
    "abs": "Abs", "acos": "Acos", "acosh": "Acosh", "add": "Add", "and": "And", "asin": "Asin", "asinh": "Asinh",
    "atan": "Atan", "atanh": "Atanh", "bit_and": "BitwiseAnd", "bit_not": "BitwiseNot", "bit_or": "BitwiseOr",
    "bit_xor": "BitwiseXor", "ceil": "Ceil", "cos": "Cos", "cosh": "Cosh", "div": "Div", "eq": "Equal", "erf": "Erf",
    "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "isinf": "IsInf", "isnan": "IsNaN",
    "le": "LessOrEqual", "log": "Log", "lt": "Less", "matmul": "MatMul", "max": "Max", "min": "Min", "mul": "Mul",
    "neg": "Neg", "not": "Not", "or": "Or", "pow": "Pow", "reciprocal": "Reciprocal", "round": "Round",
    "sigmoid": "Sigmoid", "sign": "Sign", "sin": "Sin", "sinh": "Sinh", "softplus": "Softplus", "sqrt": "Sqrt",
    "sub": "Sub", "tan": "Tan", "tanh": "Tanh", "where": "Where", "xor": "Xor",
}  # fmt: skip


def _direct(name: str) -> Any:
    return lambda e: e.writer.add(name, *e.inputs)


for _op, _name in _SAME.items():
    EMITTERS[_op] = _direct(_name)


@emits("rsqrt")
def _rsqrt(e: Emission) -> str:
    return e.writer.add("Reciprocal", e.writer.add("Sqrt", e.input(0)))


@emits("ne")
def _ne(e: Emission) -> str:
    return e.writer.add("Not", e.writer.add("Equal", *e.inputs))


@emits("trunc")
def _trunc(e: Emission) -> str:
    w = e.writer
    return w.add("Mul", w.add("Sign", e.input(0)), w.add("Floor", w.add("Abs", e.input(0))))


@emits("fmod")
def _fmod(e: Emission) -> str:
    return e.writer.add("Mod", *e.inputs, fmod=1)


@emits("mod")
def _mod(e: Emission) -> str:
    """Integers as ONNX has it; of floats it has the remainder with the other sign only."""
    w = e.writer
    if not is_real(e.there(0).dtype):
        return w.add("Mod", *e.inputs)
    whole = w.add("Mul", w.add("Floor", w.add("Div", *e.inputs)), e.input(1))
    return w.add("Sub", e.input(0), whole)


@emits("normalize")
def _normalize(e: Emission) -> str:
    w = e.writer
    return w.add("Add", w.add("Mul", w.add("Sub", e.input(0), e.input(1)), e.input(2)), e.input(3))


@emits("cast")
def _cast(e: Emission) -> str:
    return e.writer.add("Cast", e.input(0), to=helper.np_dtype_to_tensor_dtype(np.dtype(e.attr("to"))))


# ---- moving ------------------------------------------------------------------------------------------
@emits("reshape")
def _reshape(e: Emission) -> str:
    return e.writer.add("Reshape", e.input(0), e.sizes("shape"))


@emits("transpose")
def _transpose(e: Emission) -> str:
    return e.writer.add("Transpose", e.input(0), perm=list(e.attr("perm")))


@emits("expand")
def _expand(e: Emission) -> str:
    return e.writer.add("Expand", e.input(0), e.sizes("shape"))


@emits("slice")
def _slice(e: Emission) -> str:
    w, axes = e.writer, range(e.there(0).rank)
    starts, shape, steps = e.same("starts"), e.attr("shape"), e.same("steps")
    twin = e.twin.attrs["shape"]
    forward = [axis for axis in axes if steps[axis] > 0]
    backward = [axis for axis in axes if steps[axis] < 0]
    y = e.input(0)
    for chosen in (forward, backward):
        if not chosen:
            continue
        ends = [[_end(starts[a], s[a], steps[a]) for a in chosen] for s in (shape, twin)]
        y = w.add(
            "Slice", y, w.integers([starts[a] for a in chosen]), w.sizes(ends[0], ends[1]), w.integers(chosen),
            w.integers([steps[a] for a in chosen]),
        )  # fmt: skip
    return y


def _end(start: int, count: int, step: int) -> int:
    if count == 0:
        return start
    end = start + (count - 1) * step + (1 if step > 0 else -1)
    return end if end >= 0 else -(2**31)  # before the first element; -1 would be the last


@emits("pad")
def _pad(e: Emission) -> str:
    pads = e.writer.integers([*e.same("low"), *e.same("high")])
    fill = [e.input(1)] if e.value(1) is not None else []
    return e.writer.add("Pad", e.input(0), pads, *fill, mode=e.attr("mode"))


@emits("concat")
def _concat(e: Emission) -> str:
    return e.writer.add("Concat", *e.inputs, axis=e.attr("axis"))


# ---- indexing ----------------------------------------------------------------------------------------
@emits("gather", "gather_elements")
def _gather(e: Emission) -> str:
    return e.writer.add("Gather" if e.node.op == "gather" else "GatherElements", *e.inputs, axis=e.attr("axis"))


@emits("gather_nd")
def _gather_nd(e: Emission) -> str:
    index = e.writer.add("Cast", e.input(1), to=7)  # int64, the only type that ONNX takes there
    return e.writer.add("GatherND", e.input(0), index, batch_dims=int(e.attr("batch_dims")))


@emits("scatter_elements")
def _scatter_elements(e: Emission) -> str:
    return e.writer.add("ScatterElements", *e.inputs, axis=e.attr("axis"), reduction=e.attr("reduction"))


@emits("scatter_nd")
def _scatter_nd(e: Emission) -> str:
    index = e.writer.add("Cast", e.input(1), to=7)
    return e.writer.add("ScatterND", e.input(0), index, e.input(2), reduction=e.attr("reduction"))


# ---- reducing ----------------------------------------------------------------------------------------
_REDUCTIONS = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin", "prod": "ReduceProd",
    "l1": "ReduceL1", "l2": "ReduceL2", "sum_square": "ReduceSumSquare", "log_sum": "ReduceLogSum",
    "logsumexp": "ReduceLogSumExp", "any": "ReduceMax", "all": "ReduceMin",
}  # fmt: skip


@emits("reduce")
def _reduce(e: Emission) -> str:
    w, kind = e.writer, e.attr("kind")
    if not e.attr("axes"):
        raise ExportError(f"{e.where}: a reduction over no axis is not written")
    boolean = kind in ("any", "all")
    x = w.add("Cast", e.input(0), to=6) if boolean else e.input(0)
    y = w.add(_REDUCTIONS[kind], x, w.integers(e.attr("axes")), keepdims=int(e.attr("keepdims")))
    return w.add("Cast", y, to=9) if boolean else y


@emits("arg_reduce")
def _arg_reduce(e: Emission) -> str:
    return e.writer.add(
        "ArgMax" if e.attr("kind") == "argmax" else "ArgMin", e.input(0), axis=e.attr("axis"),
        keepdims=int(e.attr("keepdims")), select_last_index=int(bool(e.attr("select_last"))),
    )  # fmt: skip


@emits("softmax", "log_softmax")
def _softmax(e: Emission) -> str:
    return e.writer.add("Softmax" if e.node.op == "softmax" else "LogSoftmax", e.input(0), axis=e.attr("axis"))


@emits("cumulate")
def _cumulate(e: Emission) -> str:
    if e.attr("kind") != "sum":
        raise ExportError(f"{e.where}: ONNX has no running product")
    axis = e.writer.constant(np.asarray(e.attr("axis"), np.int64))
    return e.writer.add(
        "CumSum", e.input(0), axis, exclusive=int(bool(e.attr("exclusive"))), reverse=int(bool(e.attr("reverse")))
    )


@emits("topk")
def _topk(e: Emission) -> list[str]:
    return e.writer.several(
        "TopK", 2, e.input(0), e.writer.integers([e.attr("k")]), axis=e.attr("axis"),
        largest=int(e.attr("largest")), sorted=1,
    )  # fmt: skip
