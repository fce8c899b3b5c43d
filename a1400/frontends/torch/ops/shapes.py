"""Sizes of tensors, which are numbers while a graph is translated."""

from __future__ import annotations

import math

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor


@translates("sym_size.int")
def size(c: Ctx, x: Tensor, axis: int) -> int:
    """Size of an axis."""
    return x.shape[axis]


@translates("sym_numel")
def count(c: Ctx, x: Tensor) -> int:
    """Number of elements."""
    return math.prod(x.shape)


@translates("sym_stride.int")
def stride(c: Ctx, x: Tensor, axis: int) -> int:
    """Stride of an axis; tensors of a graph are dense."""
    return math.prod(x.shape[axis % x.rank + 1 :])


@translates("sym_storage_offset")
def offset(c: Ctx, x: Tensor) -> int:
    """Where a tensor begins in its storage."""
    return 0


@translates("_assert_scalar", "_assert_async", "_assert_async.msg", "_assert_tensor_metadata",
            "sym_constrain_range", "sym_constrain_range_for_size")  # fmt: skip
def nothing(c: Ctx, *args: object, **kwargs: object) -> None:
    """What only checks."""
