"""Other operators inside a translator: a fused operator is translated as the ONNX operators that it stands for."""

from __future__ import annotations

import dataclasses
from typing import Any

from onnx import helper

from a1400.errors import UnsupportedOpError
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.definitions import Attr, NodeDef
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.ops.registry import find


def onnx_op(
    c: Ctx, op: str, *inputs: Item, opset: int | None = None, keep: bool = False, **attrs: Any
) -> tuple[Item, ...]:
    """The outputs of ONNX's operator ``op`` of ``inputs`` at ``opset`` (that of the model where it is None).

    Its attributes are ``attrs``, and with ``keep`` those of the node being translated too.
    """
    version = opset or c.frame.opsets.get("", 1)
    where = f"node {c.node.label!r}"
    made = {n: Attr(helper.make_attribute(n, v), ExternalData(None), where) for n, v in attrs.items()}
    names = (*c.node.inputs, *[""] * len(inputs))[: len(inputs)]
    node = NodeDef(c.node.label, op, "", "", names, c.node.outputs, {**(c.node.attrs if keep else {}), **made})
    bindings = c.frame.bindings if keep else {}
    frame = dataclasses.replace(c.frame, opsets={**c.frame.opsets, "": version}, bindings=bindings)
    translator, inner = find("", op, version), Ctx(c.tracer, node, list(inputs), frame, folding=False)
    result = NotImplemented if translator is None else translator(inner)
    if result is NotImplemented:
        raise UnsupportedOpError(f"this use of {op} inside {c.node.op} is not supported")
    return tuple(result) if isinstance(result, tuple) else (result,)
