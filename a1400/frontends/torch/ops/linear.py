"""Products of matrices and vectors."""

from __future__ import annotations

from typing import Any

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.ops.elementwise import scaled
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


@translates("mm", "bmm", "mv", "dot")
def product(c: Ctx, a: Tensor, b: Tensor) -> Tensor:
    """Products of matrices, batches of them and vectors."""
    return (a @ b).cast(c.dtype)


def _added(c: Ctx, bias: Tensor, a: Tensor, b: Tensor, beta: Any, alpha: Any) -> Tensor:
    made = scaled(c, a @ b, alpha)
    return made if beta == 0 else made + scaled(c, bias, beta)


@translates("addmm", "baddbmm", "addmv")
def addmm(c: Ctx, bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * bias + alpha * a @ b``."""
    return _added(c, bias, a, b, beta, alpha)


@translates("addbmm")
def addbmm(c: Ctx, bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """As :func:`addmm`, products summed over the batch."""
    left = a.swap(0, 1).reshape((a.shape[1], a.shape[0] * a.shape[2]))
    return _added(c, bias, left, b.reshape((b.shape[0] * b.shape[1], b.shape[2])), beta, alpha)
