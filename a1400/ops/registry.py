"""The op table: what an op is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor

Result = tuple[tuple[int, ...], np.dtype]


@dataclass(frozen=True)
class Backward:
    """What an op's gradient rule sees of one node: its tensors, and the gradients that come in at its outputs.

    ``coming[i]`` is None when nothing depends on output ``i``; at least one is not None.  ``wanted[i]`` says whether
    input ``i``'s gradient is needed at all (rules may ignore it: what nobody reads is dropped).
    """

    op: str
    graph: Graph
    attrs: dict[str, Any]
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    coming: list[Tensor | None]
    wanted: tuple[bool, ...]

    def x(self, index: int = 0) -> Tensor:
        """An input that is there."""
        value = self.inputs[index]
        assert value is not None
        return value

    @property
    def y(self) -> Tensor:
        """The first output."""
        return self.outputs[0]

    @property
    def g(self) -> Tensor:
        """The gradient at the first output; zeros when nothing depends on it."""
        first = self.coming[0]
        return self.y.filled(0) if first is None else first


#: gives one gradient for each input, broadcastable from the input's shape (the surplus is summed away), or None
GradientRule = Callable[[Backward], Sequence[Tensor | None]]


@dataclass(frozen=True)
class OpDef:
    """One primitive op.

    ``infer(attrs, *inputs)`` gives (shape, dtype) of each output and raises :class:`GraphError` for inputs that do
    not fit; it may normalise ``attrs`` in place (negative axes).  ``reference(attrs, *arrays)`` computes the outputs
    with NumPy.  ``view`` marks ops that only re-index (free to fold at any size); ``lazy`` ops never fold,
    as they lie nowhere: who reads them makes their elements.
    ``gradient`` is its rule in terms of other ops; an op without one cannot be trained through, but where ``stepwise``
    says that its derivative is zero (or nothing: integers, comparisons) everywhere.
    """

    name: str
    family: str
    infer: Callable[..., list[Result]]
    reference: Callable[..., Any]
    view: bool = False
    lazy: bool = False
    pointwise: bool = False
    stepwise: bool = False
    gradient: GradientRule | None = None


OPS: dict[str, OpDef] = {}


def op(
    name: str, family: str, infer: Callable[..., list[Result]], reference: Callable[..., Any], *, view: bool = False,
    lazy: bool = False, pointwise: bool = False,
) -> None:  # fmt: skip
    """Register an op; names are unique."""
    if name in OPS:
        raise ValueError(f"op {name} is declared twice")
    OPS[name] = OpDef(name, family, infer, reference, view, lazy, pointwise)


def gradient(*names: str) -> Callable[[GradientRule], GradientRule]:
    """Declare the decorated function as the gradient rule of the ops called ``names``."""

    def declare(rule: GradientRule) -> GradientRule:
        for name in names:
            if OPS[name].gradient is not None or OPS[name].stepwise:
                raise ValueError(f"the gradient of {name} is declared twice")
            OPS[name] = replace(OPS[name], gradient=rule)
        return rule

    return declare


def stepwise(*names: str) -> None:
    """Declare that the derivatives of these ops are zero wherever they exist."""
    for name in names:
        if OPS[name].gradient is not None:
            raise ValueError(f"the gradient of {name} is declared twice")
        OPS[name] = replace(OPS[name], stepwise=True)


def is_real(dtype: np.dtype) -> bool:
    """Floating point, bfloat16 included: what has gradients."""
    return dtype.kind == "f" or dtype.name == "bfloat16"


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
    whole = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for d, n in enumerate(shape, len(whole) - len(shape)):
            if n != 1 and whole[d] not in (1, n):
                raise GraphError(f"shapes {[list(s) for s in shapes]} cannot be broadcast together")
            whole[d] = whole[d] if n == 1 else int(n)
    return tuple(whole)


def widen(x: np.ndarray) -> np.ndarray:
    """Half types as float32, everything else unchanged: references compute wide and round once."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 and x.dtype.kind not in "iub" else x


def product_dtype(a: np.dtype, b: np.dtype) -> np.dtype | None:
    """The type of sums of products: int32 for 8-bit integers of either sign, else that of both; None if they differ."""
    if {a, b} <= _BYTES:
        return np.dtype(np.int32)
    return a if a == b else None


_BYTES = {np.dtype(np.int8), np.dtype(np.uint8)}


def wide_dtype(dtype: np.dtype) -> np.dtype:
    """What sums and statistics of a floating tensor are kept in: float32 for half types, else ``dtype`` itself."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else np.dtype(dtype)
