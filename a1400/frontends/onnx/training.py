"""What an ONNX model does differently while it is trained, and which of its initializers are weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from a1400.frontends.onnx.definitions import GraphDef
from a1400.graph.graph import Value
from a1400.ops.registry import is_real

#: op -> the inputs that hold weights
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Attention": (0, 1, 2), "BatchNormalization": (1, 2), "Conv": (1, 2), "ConvTranspose": (1, 2), "Gather": (0,),
    "Gemm": (0, 1, 2), "GroupNormalization": (1, 2), "GRU": (1, 2, 3), "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2), "LSTM": (1, 2, 3, 7), "MatMul": (0, 1), "PRelu": (1,), "RMSNormalization": (1,),
    "RNN": (1, 2, 3), "SkipLayerNormalization": (2, 3, 4), "SimplifiedLayerNormalization": (1,), "BiasGelu": (1,),
    "FusedMatMul": (0, 1), "Einsum": (0, 1, 2, 3),
}  # fmt: skip
_ELEMENTWISE = ("Add", "Div", "Mul", "Sub")
#: ops that hand a weight on, changed in form only
_MOVES = (
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
#: elements this large are a mask's, not a weight's
_MASK = 1e4


@dataclass
class TrainingMode:
    """Given to a trace: ``dropout(x, ratio)`` makes dropped values; ``buffers`` are running statistics by ``id``.

    ``updates`` collects their new values by name.
    """

    dropout: Callable[[Value, float], Value]
    buffers: dict[int, str]
    updates: dict[str, Value] = field(default_factory=dict)

    def is_buffer(self, value: Value) -> bool:
        """Whether ``value`` is a running statistic."""
        return id(value) in self.buffers

    def update(self, old: Value, new: Value) -> None:
        """The running statistic ``old`` becomes ``new``."""
        self.updates[self.buffers[id(old)]] = new


def find_weights(graph: GraphDef) -> list[str]:
    """The initializers that are weights: floating, of rank >= 1, read where an op takes weights.

    Constants of elementwise arithmetic count when they have several elements and none of them is a mask's (not finite,
    or of magnitude 1e4 and more).  What reaches an op through changes of form (a transpose, a reshape) counts too.
    """
    carried: dict[str, set[str]] = {n: {n} for n, a in graph.initializers.items() if a.ndim and is_real(a.dtype)}
    found: set[str] = set()
    for node in graph.nodes:
        if node.op in _MOVES:
            handed = set[str]().union(*(carried.get(name, ()) for name in node.inputs[: _data_inputs(node.op)]))
            whole = all(name in carried for name in node.inputs[: _data_inputs(node.op)] if name)
            if handed and whole:
                carried.update((name, handed) for name in node.outputs)
            elif node.op == "Concat":  # a learned token beside the data
                found |= handed
        for index in _WEIGHTS.get(node.op, ()):
            found |= carried.get(node.inputs[index], set()) if index < len(node.inputs) else set()
        if node.op in _ELEMENTWISE:
            for name in node.inputs:
                found |= {n for n in carried.get(name, ()) if _plain(graph.initializers[n])}
    return [name for name in graph.initializers if name in found]


def find_buffers(graph: GraphDef) -> list[str]:
    """The initializers that are running means and variances of batch normalisation."""
    read = (n for node in graph.nodes if node.op == "BatchNormalization" for n in node.inputs[3:5])
    return [n for n in dict.fromkeys(read) if n in graph.initializers]


def _data_inputs(op: str) -> int | None:
    """How many leading inputs of a move carry data; None: all."""
    return None if op == "Concat" else 1


def _plain(array: np.ndarray) -> bool:
    return array.size > 1 and bool((np.abs(array.astype(np.float64, copy=False)) < _MASK).all())
