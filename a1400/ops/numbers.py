"""``iota``: the numbers of elements, in memory nowhere.

Attrs: ``shape``, and ``start`` (0).  Element number i in row-major order is ``start + i`` as uint32.  Pointwise work
and the slots of other kernels count it from the element's coordinates (:class:`~a1400.kernels.spec.Operand`,
``position``); only a kernel that cannot has it written out first.  Random numbers are made of it, and an ``iota`` of
one element is a number that is no part of the program's text.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.ops.registry import Result, op, require, stepwise


def _infer(attrs: dict[str, Any]) -> list[Result]:
    attrs["shape"] = tuple(int(d) for d in attrs["shape"])
    attrs["start"] = start = int(attrs.get("start", 0))
    require(0 <= start < 2**31, f"iota starts at {start}: not from 0 to 2**31 - 1")
    return [(attrs["shape"], np.dtype(np.uint32))]


def _reference(attrs: dict[str, Any]) -> np.ndarray:
    count = int(np.prod(attrs["shape"], dtype=np.int64))
    return (np.arange(count, dtype=np.int64) + attrs["start"]).astype(np.uint32).reshape(attrs["shape"])


op("iota", "numbers", _infer, _reference, lazy=True)
stepwise("iota")
