"""The op table: what an op is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400.errors import GraphError

Result = tuple[tuple[int, ...], np.dtype]


@dataclass(frozen=True)
class OpDef:
    """One primitive op.

    ``infer(attrs, *inputs)`` gives (shape, dtype) of each output and raises :class:`GraphError` for inputs that do
    not fit; it may normalise ``attrs`` in place (negative axes).  ``reference(attrs, *arrays)`` computes the outputs
    with NumPy.  ``view`` marks ops that only re-index (free to fold at any size); ``random`` ops never fold.
    """

    name: str
    family: str
    infer: Callable[..., list[Result]]
    reference: Callable[..., Any]
    view: bool = False
    random: bool = False
    pointwise: bool = False


OPS: dict[str, OpDef] = {}


def op(
    name: str, family: str, infer: Callable[..., list[Result]], reference: Callable[..., Any], **flags: bool
) -> None:
    """Register an op; names are unique."""
    if name in OPS:
        raise ValueError(f"op {name} is declared twice")
    OPS[name] = OpDef(name, family, infer, reference, **flags)


def require(condition: bool, message: str) -> None:
    """Raise :class:`GraphError` with ``message`` unless ``condition``."""
    if not condition:
        raise GraphError(message)


def axis_of(attrs: dict[str, Any], rank: int, key: str = "axis") -> int:
    """The attribute ``key`` as an axis in [0, rank); written back normalised."""
    axis = int(attrs[key])
    require(-rank <= axis < max(rank, 1), f"axis {axis} is out of range for a tensor of rank {rank}")
    attrs[key] = axis % rank if rank else 0
    return attrs[key]


def broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy broadcasting of shapes; raises :class:`GraphError` when they do not agree."""
    try:
        return tuple(int(d) for d in np.broadcast_shapes(*shapes))
    except ValueError:
        raise GraphError(f"shapes {[list(s) for s in shapes]} cannot be broadcast together") from None


def widen(x: np.ndarray) -> np.ndarray:
    """Half types as float32, everything else unchanged: references compute wide and round once."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iub" else x
