"""PyTorch's element types and NumPy's, and PyTorch's rules of type promotion."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np
import torch

from a1400 import dtypes
from a1400.errors import UnsupportedOpError
from a1400.graph.tensor import Tensor

_PAIRS = (
    (torch.float32, np.float32), (torch.float64, np.float64), (torch.float16, np.float16),
    (torch.bfloat16, dtypes.bfloat16), (torch.int8, np.int8), (torch.int16, np.int16), (torch.int32, np.int32),
    (torch.int64, np.int64), (torch.uint8, np.uint8), (torch.uint16, np.uint16), (torch.uint32, np.uint32),
    (torch.uint64, np.uint64), (torch.bool, np.bool_),
)  # fmt: skip
_TO_NUMPY = {t: np.dtype(n) for t, n in _PAIRS}
_TO_TORCH = {np.dtype(n): t for t, n in _PAIRS}


def to_numpy(dtype: torch.dtype) -> np.dtype:
    """NumPy's dtype of PyTorch's; raises :class:`UnsupportedOpError` for those that kernels do not compute in."""
    try:
        return _TO_NUMPY[dtype]
    except KeyError:
        raise UnsupportedOpError(f"tensors of {dtype} are not supported") from None


def to_torch(dtype: np.dtype) -> torch.dtype:
    """PyTorch's dtype of NumPy's."""
    return _TO_TORCH[np.dtype(dtype)]


def promoted(*operands: Any) -> np.dtype:
    """The dtype that ``operands`` (tensors, numbers) are computed in together, by PyTorch's rules.

    Tensors with axes come before those without, and these before Python's numbers; what comes later counts only where
    it is of a higher kind (bool, integer, floating).
    """
    groups: list[list[torch.dtype]] = [[], [], []]
    for operand in operands:
        if isinstance(operand, Tensor):
            groups[0 if operand.rank else 1].append(to_torch(operand.dtype))
        elif operand is not None:
            groups[2].append(_of_number(operand))
    found = [reduce(torch.promote_types, group) for group in groups if group]
    return to_numpy(reduce(_combined, found))


def _of_number(number: Any) -> torch.dtype:
    if isinstance(number, bool):
        return torch.bool
    if isinstance(number, complex):
        raise UnsupportedOpError("complex numbers are not supported")
    return torch.get_default_dtype() if isinstance(number, float) else torch.int64


def _combined(higher: torch.dtype, lower: torch.dtype) -> torch.dtype:
    if higher.is_floating_point:
        return higher
    if higher == torch.bool or lower.is_floating_point:
        return torch.promote_types(higher, lower) if higher == torch.bool else lower
    return higher
