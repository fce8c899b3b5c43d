"""Matrix products."""

from __future__ import annotations

from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.einsum import einsum
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

translates("MatMul")(lambda c: c.op("matmul", c[0], c[1]))


@translates("Gemm")
def gemm(c: Ctx) -> Value:
    """alpha A' B' + beta C."""
    a, b, bias = c[0], c[1], c.opt(2)
    if c.flag("transA"):
        a = c.transpose(a, (1, 0))
    if c.flag("transB"):
        b = c.transpose(b, (1, 0))
    y = c.op("matmul", a, b)
    alpha, beta = c.number("alpha", 1.0), c.number("beta", 1.0)
    if alpha != 1:
        y = c.op("mul", y, c.scalar(alpha, y))
    if bias is None or beta == 0:
        return y
    return c.op("add", y, bias if beta == 1 else c.op("mul", bias, c.scalar(beta, bias)))


@translates("Einsum")
def einsum_node(c: Ctx) -> Value:
    """Einstein summation, as transposes, products and sums."""
    return einsum(c, c.text("equation"), c.tensors())
