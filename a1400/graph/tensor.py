"""Arithmetic on a graph's values as one writes it: ``(x @ w + b).exp().sum()`` appends nodes.

Numbers become constants of the other operand's dtype; operands broadcast as in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.graph.graph import Graph, Value


class Tensor:
    """A value together with the graph that its arithmetic is appended to.

    ``x + y``, ``-``, ``*``, ``/``, ``**``, ``@``, ``<``, ``<=``, ``>``, ``>=``, ``&``, ``|``, ``~`` (of bools) and the
    methods below give new tensors.
    ``==`` is identity, as tensors are used as keys; :meth:`equal` compares elements.
    """

    __slots__ = ("graph", "value")

    def __init__(self, graph: Graph, value: Value) -> None:
        self.graph, self.value = graph, value

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the axes."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.value.dtype

    @property
    def rank(self) -> int:
        """Number of axes."""
        return self.value.rank

    def __repr__(self) -> str:
        return f"Tensor({self.value!r})"

    # ---- appending -----------------------------------------------------------------------------------
    def lift(self, other: Any) -> Tensor:
        """``other`` as a tensor of this graph; numbers and arrays take this tensor's dtype."""
        if isinstance(other, Tensor):
            if other.graph is not self.graph:
                raise GraphError(f"{other!r} and {self!r} belong to different graphs")
            return other
        if isinstance(other, Value):
            return Tensor(self.graph, other)
        return Tensor(self.graph, self.graph.constant(other, self.dtype))

    def filled(self, number: float, shape: Sequence[int] | None = None) -> Tensor:
        """``number`` in this tensor's dtype, and in ``shape`` or else this tensor's."""
        return self.lift(number).expand(self.shape if shape is None else shape)

    def op(self, name: str, *others: Any, **attrs: Any) -> Tensor:
        """Append op ``name`` of this tensor and ``others`` (None: an optional input left out)."""
        given = [None if o is None else self.lift(o).value for o in others]
        return Tensor(self.graph, self.graph.op(name, self.value, *given, **attrs))

    # ---- elementwise ---------------------------------------------------------------------------------
    def __add__(self, other: Any) -> Tensor:
        return self.op("add", other)

    def __radd__(self, other: Any) -> Tensor:
        return self.lift(other).op("add", self)

    def __sub__(self, other: Any) -> Tensor:
        return self.op("sub", other)

    def __rsub__(self, other: Any) -> Tensor:
        return self.lift(other).op("sub", self)

    def __mul__(self, other: Any) -> Tensor:
        return self.op("mul", other)

    def __rmul__(self, other: Any) -> Tensor:
        return self.lift(other).op("mul", self)

    def __truediv__(self, other: Any) -> Tensor:
        return self.op("div", other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self.lift(other).op("div", self)

    def __pow__(self, other: Any) -> Tensor:
        return self.op("pow", other)

    def __neg__(self) -> Tensor:
        return self.op("neg")

    def __lt__(self, other: Any) -> Tensor:
        return self.op("lt", other)

    def __le__(self, other: Any) -> Tensor:
        return self.op("le", other)

    def __gt__(self, other: Any) -> Tensor:
        return self.op("gt", other)

    def __ge__(self, other: Any) -> Tensor:
        return self.op("ge", other)

    def equal(self, other: Any) -> Tensor:
        """Where elements are equal: bool."""
        return self.op("eq", other)

    def abs(self) -> Tensor:
        """Magnitudes."""
        return self.op("abs")

    def sign(self) -> Tensor:
        """-1, 0 or 1."""
        return self.op("sign")

    def exp(self) -> Tensor:
        """e to the power of each element."""
        return self.op("exp")

    def log(self) -> Tensor:
        """Natural logarithm."""
        return self.op("log")

    def sqrt(self) -> Tensor:
        """Square root."""
        return self.op("sqrt")

    def rsqrt(self) -> Tensor:
        """1 / square root."""
        return self.op("rsqrt")

    def square(self) -> Tensor:
        """Each element times itself."""
        return self.op("mul", self)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent."""
        return self.op("tanh")

    def sigmoid(self) -> Tensor:
        """1 / (1 + e**-x)."""
        return self.op("sigmoid")

    def softplus(self) -> Tensor:
        """log(1 + e**x)."""
        return self.op("softplus")

    def relu(self) -> Tensor:
        """The larger of each element and 0."""
        return self.maximum(0)

    def floor(self) -> Tensor:
        """Rounded down."""
        return self.op("floor")

    def maximum(self, other: Any) -> Tensor:
        """The larger of two; NaN where one of them is."""
        return self.op("max", other)

    def minimum(self, other: Any) -> Tensor:
        """The smaller of two; NaN where one of them is."""
        return self.op("min", other)

    def clip(self, low: Any, high: Any) -> Tensor:
        """Not below ``low``, not above ``high``."""
        return self.maximum(low).minimum(high)

    def not_equal(self, other: Any) -> Tensor:
        """Where elements differ: bool."""
        return self.op("ne", other)

    def is_finite(self) -> Tensor:
        """Where elements are neither NaN nor infinite: bool."""
        return ~(self.op("isnan") | self.op("isinf"))

    def __and__(self, other: Any) -> Tensor:
        return self.op("and", other)

    def __or__(self, other: Any) -> Tensor:
        return self.op("or", other)

    def __invert__(self) -> Tensor:
        return self.op("not")

    def where(self, yes: Any, no: Any) -> Tensor:
        """``yes`` where this (bool) holds, else ``no``; at least one of the two is a tensor."""
        model = yes if isinstance(yes, (Tensor, Value)) else no
        one = self.lift(model) if isinstance(model, (Tensor, Value)) else None
        if one is None:
            raise GraphError("where needs a tensor as one of its two choices")
        return self.op("where", one.lift(yes), one.lift(no))

    def cast(self, dtype: Any) -> Tensor:
        """Converted to ``dtype``; itself when it has that already."""
        return self if self.dtype == np.dtype(dtype) else self.op("cast", to=np.dtype(dtype))

    # ---- moving --------------------------------------------------------------------------------------
    def reshape(self, shape: Sequence[int]) -> Tensor:
        """The same elements in another shape."""
        return self if self.shape == tuple(shape) else self.op("reshape", shape=tuple(shape))

    def transpose(self, perm: Sequence[int]) -> Tensor:
        """Axes in the order ``perm``."""
        return self if tuple(perm) == tuple(range(self.rank)) else self.op("transpose", perm=tuple(perm))

    def swap(self, a: int, b: int) -> Tensor:
        """Two axes exchanged."""
        perm = list(range(self.rank))
        perm[a], perm[b] = perm[b], perm[a]
        return self.transpose(perm)

    def expand(self, shape: Sequence[int]) -> Tensor:
        """Broadcast to ``shape``."""
        return self if self.shape == tuple(shape) else self.op("expand", shape=tuple(shape))

    def expand_dims(self, axis: int) -> Tensor:
        """A new axis of size 1; a negative ``axis`` counts in the result."""
        at = axis % (self.rank + 1)
        return self.reshape((*self.shape[:at], 1, *self.shape[at:]))

    def squeeze(self, axis: int) -> Tensor:
        """Without ``axis``, whose size is 1."""
        at = axis % self.rank
        return self.reshape((*self.shape[:at], *self.shape[at + 1 :]))

    def slice(self, starts: Sequence[int], shape: Sequence[int], steps: Sequence[int] | None = None) -> Tensor:
        """``shape`` elements from ``starts`` on, ``steps`` (1) apart."""
        steps = tuple(steps) if steps is not None else (1,) * self.rank
        whole = tuple(shape) == self.shape and not any(starts) and set(steps) <= {1}
        return self if whole else self.op("slice", starts=tuple(starts), shape=tuple(shape), steps=steps)

    def pad(self, low: Sequence[int], high: Sequence[int]) -> Tensor:
        """Zeros (or nothing, where negative) around."""
        if not any(low) and not any(high):
            return self
        return self.op("pad", low=tuple(low), high=tuple(high), mode="constant")

    # ---- reducing ------------------------------------------------------------------------------------
    def reduce(self, kind: str, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """``kind`` (sum, mean, max ...) over ``axes`` (all of them when None)."""
        axes = tuple(range(self.rank)) if axes is None else tuple(axes)
        return self.op("reduce", kind=kind, axes=axes, keepdims=keepdims) if axes else self

    def sum(self, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Sum over ``axes``."""
        return self.reduce("sum", axes, keepdims)

    def mean(self, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Mean over ``axes``."""
        return self.reduce("mean", axes, keepdims)

    def max(self, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Largest element over ``axes``."""
        return self.reduce("max", axes, keepdims)

    def min(self, axes: Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Smallest element over ``axes``."""
        return self.reduce("min", axes, keepdims)

    def argmax(self, axis: int = -1) -> Tensor:
        """Number of the first largest element along ``axis``: int64."""
        return self.op("arg_reduce", kind="argmax", axis=axis % self.rank, keepdims=False, select_last=False)

    def softmax(self, axis: int = -1) -> Tensor:
        """Exponentials, scaled to a sum of 1 along ``axis``."""
        return self.op("softmax", axis=axis % self.rank)

    def log_softmax(self, axis: int = -1) -> Tensor:
        """Logarithm of :meth:`softmax`."""
        return self.op("log_softmax", axis=axis % self.rank)

    def sum_to(self, shape: Sequence[int]) -> Tensor:
        """Summed over the axes that broadcasting ``shape`` to this shape adds or stretches: what undoes it."""
        shape = tuple(shape)
        if self.shape == shape:
            return self
        extra = self.rank - len(shape)
        stretched = (extra + d for d, n in enumerate(shape) if n == 1 and self.shape[extra + d] != 1)
        return self.sum((*range(extra), *stretched)).reshape(shape)

    def __matmul__(self, other: Any) -> Tensor:
        return self.op("matmul", other)
