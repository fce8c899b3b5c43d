"""What a translator of one ATen operator sees: the node's dtype, and the graph that it appends to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from a1400.autodiff import gradients
from a1400.errors import UnsupportedOpError
from a1400.frontends.torch.dtypes import promoted, to_numpy
from a1400.graph.graph import Graph, Value
from a1400.graph.tensor import Tensor
from a1400.train.random import STATE, STATE_SHAPE, RandomSource


class Ctx:
    """One node being translated.

    Operators receive tensors as :class:`Tensor` and everything else as it stands in the FX graph, sizes being numbers.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.node: Any = None
        self._random: RandomSource | None = None

    # ---- the node ------------------------------------------------------------------------------------
    @property
    def dtype(self) -> np.dtype:
        """Of the (first) result, by PyTorch's own rules."""
        value = self.node.meta.get("val")
        if isinstance(value, (tuple, list)):
            value = value[0]
        return to_numpy(value.dtype)

    def dtype_of(self, index: int) -> np.dtype:
        """Of result number ``index``."""
        return to_numpy(self.node.meta["val"][index].dtype)

    def wants(self, index: int) -> bool:
        """Whether anybody reads result number ``index``."""
        return any(user.args[1] == index for user in self.node.users)

    def refuse(self, why: str) -> UnsupportedOpError:
        """The error for a use of an operator that is not supported."""
        return UnsupportedOpError(why)

    # ---- making tensors ------------------------------------------------------------------------------
    def constant(self, array: Any, dtype: Any = None) -> Tensor:
        """A constant."""
        return Tensor(self.graph, self.graph.constant(array, dtype))

    def full(self, shape: Sequence[int], number: Any, dtype: Any) -> Tensor:
        """``number`` in ``shape``; takes no memory of that size."""
        return self.constant(number, dtype).expand(tuple(shape))

    def multi(self, op: str, *inputs: Tensor | None, **attrs: Any) -> list[Tensor]:
        """Append an op with several results."""
        values = self.graph.multi(op, *(None if x is None else x.value for x in inputs), **attrs)
        return [Tensor(self.graph, v) for v in values]

    def op(self, op: str, *inputs: Tensor | None, **attrs: Any) -> Tensor:
        """Append an op with one result."""
        return self.multi(op, *inputs, **attrs)[0]

    def concat(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenation."""
        return parts[0] if len(parts) == 1 else self.op("concat", *parts, axis=axis)

    # ---- dtypes --------------------------------------------------------------------------------------
    def lift(self, operand: Any, dtype: Any) -> Tensor:
        """A tensor or number as a tensor of ``dtype``."""
        return operand.cast(dtype) if isinstance(operand, Tensor) else self.constant(operand, dtype)

    def together(self, *operands: Any) -> list[Tensor]:
        """Operands in the dtype that they are computed in together."""
        dtype = promoted(*operands)
        return [self.lift(x, dtype) for x in operands]

    # ---- gradients -----------------------------------------------------------------------------------
    def through(
        self, function: Callable[..., Tensor], inputs: Sequence[Tensor], coming: Tensor
    ) -> list[Tensor | None]:
        """What reaches each of ``inputs`` when ``coming`` reaches ``function(*inputs)``, by the ops' own rules.

        The function's nodes that the gradient does not read are dropped with all that nobody reads.
        """
        stand = [self._apart(x, inputs[:i]) for i, x in enumerate(inputs)]
        start = len(self.graph.nodes)
        y = function(*stand)
        found = gradients(
            self.graph, y.value, [x.value for x in stand], coming.cast(y.dtype).value, nodes=self.graph.nodes[start:]
        )
        back = {id(s.value): x.value for s, x in zip(stand, inputs) if s is not x}
        for node in self.graph.nodes[start:]:
            node.inputs = [v if v is None else back.get(id(v), v) for v in node.inputs]
        return [None if v is None else Tensor(self.graph, v) for v in found]

    def _apart(self, x: Tensor, before: Sequence[Tensor]) -> Tensor:
        """``x``, or what stands for it while gradients are taken if it is a constant or there twice."""
        if x.value.is_constant or any(x.value is other.value for other in before):
            return Tensor(self.graph, Value(x.shape, x.dtype))
        return x

    def back(self, function: Callable[[Tensor], Tensor], x: Tensor, coming: Tensor) -> Tensor:
        """As :meth:`through` for one input; zeros where nothing reaches it."""
        (found,) = self.through(function, [x], coming)
        return x.filled(0) if found is None else found

    # ---- random numbers ------------------------------------------------------------------------------
    @property
    def random(self) -> RandomSource:
        """Random numbers; the seed is an input of the graph, which the caller draws from PyTorch's generator."""
        if self._random is None:
            self._random = RandomSource(Tensor(self.graph, self.graph.input(STATE, STATE_SHAPE, np.dtype(np.uint32))))
        return self._random

    # ---- shapes --------------------------------------------------------------------------------------
    @staticmethod
    def axis(axis: int, rank: int) -> int:
        """``axis`` from the front."""
        return axis % max(rank, 1)

    @staticmethod
    def axes(given: Any, rank: int) -> tuple[int, ...]:
        """Axes of a reduction from the front; all of them for None or none."""
        if given is None or (isinstance(given, (list, tuple)) and not given):
            return tuple(range(rank))
        given = [given] if isinstance(given, int) else given
        return tuple(sorted({a % rank for a in given})) if rank else ()

    @staticmethod
    def torch_dtype(dtype: torch.dtype) -> np.dtype:
        """NumPy's dtype of PyTorch's."""
        return to_numpy(dtype)
