"""Other operators inside a translator: a fused operator is translated as the ONNX operators that it stands for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from onnx import helper

from a1400.errors import UnsupportedOpError
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.definitions import Attr, NodeDef
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.ops.registry import find


def onnx_op(
    c: Ctx, op: str, *inputs: Item, opset: int, keep: bool = False, outputs: Sequence[str] | None = None, **attrs: Any
) -> tuple[Item, ...]:
    """The outputs of ONNX's operator ``op`` of ``inputs`` at ``opset``.

    Its attributes are ``attrs``, and with ``keep`` those of the node being translated too; ``outputs`` are the names of
    its outputs, empty where nobody reads them (those of the node being translated, unless they are given).
    """
    where = f"node {c.node.label!r}"
    made = {n: Attr(helper.make_attribute(n, v), ExternalData(None), where) for n, v in attrs.items()}
    names = (*c.node.inputs, *[""] * len(inputs))[: len(inputs)]
    results = c.node.outputs if outputs is None else tuple(outputs)
    node = NodeDef(c.node.label, op, "", "", names, results, {**(c.node.attrs if keep else {}), **made})
    bindings = c.frame.bindings if keep else {}
    frame = dataclasses.replace(c.frame, opsets={**c.frame.opsets, "": opset}, bindings=bindings)
    translator, inner = find("", op, opset), Ctx(c.tracer, node, list(inputs), frame, folding=False)
    result = NotImplemented if translator is None else translator(inner)
    if result is NotImplemented:
        raise UnsupportedOpError(f"this use of {op} inside {c.node.op} is not supported")
    return tuple(result) if isinstance(result, tuple) else (result,)
