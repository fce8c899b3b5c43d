"""What the emitters of single ops write with: names, constants, nodes, and sizes that hang on the batch.

A graph has concrete shapes.  It is written from two traces that differ in nothing but the batch: where a size differs,
it is ``a * batch + b``, and the file computes it from its input's shape at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from a1400.errors import A1400Error
from a1400.graph.graph import Graph, Node, Value

#: version of ONNX's operators that files are written with
OPSET = 20
_IR = 9


class ExportError(A1400Error):
    """The graph holds something that ONNX has no operator for."""


@dataclass(frozen=True)
class Batch:
    """The batches of the two traces, and the name of the input whose axis 0 is the batch."""

    first: int
    second: int
    input: str


class Writer:
    """Collects the file's nodes.  Names of values are by ``id`` of the first trace's values.

    ``ports`` are the names of the file's inputs and outputs, ``weights`` those of constants that keep their names.
    """

    def __init__(self, batch: Batch | None, ports: Iterable[str] = (), weights: Iterable[str] = ()) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names: dict[int, str] = {}
        self._batch, self._ports = batch, set(ports)
        self._taken = self._ports | set(weights)
        self._count = 0
        self._known: dict[tuple[Any, ...], str] = {}
        self._first: dict[str, str] = {}

    # ---- nodes ---------------------------------------------------------------------------------------
    def fresh(self, stem: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        name = f"{stem}_{self._count}"
        return self.fresh(stem) if name in self._taken else name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output and return its name."""
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Append a node with ``count`` outputs; an input that is left out is the empty string."""
        names = [self.fresh(op.lower()) for _ in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=self.fresh(f"node_{op}"), **attributes))
        return names

    # ---- constants -----------------------------------------------------------------------------------
    def constant(self, array: Any, dtype: Any = None, name: str = "") -> str:
        """An initializer; small equal ones are stored once."""
        data = np.array(array, dtype, order="C")
        key = (data.dtype.name, data.shape, data.tobytes()) if data.size <= 64 and not name else None
        if key is not None and key in self._known:
            return self._known[key]
        taken = self._ports | {t.name for t in self.constants}
        made = name if name and name not in taken else self.fresh(name or "constant")
        self.constants.append(numpy_helper.from_array(data, made))
        if key is not None:
            self._known[key] = made
        return made

    def spread(self, value: Value, twin: Value) -> None:
        """Name a constant whose size hangs on the batch: possible where it is the same along those axes."""
        data = value.data
        assert data is not None
        axes = [d for d, (a, b) in enumerate(zip(value.shape, twin.shape)) if a != b]
        small = data[tuple(slice(1) if d in axes else slice(None) for d in range(data.ndim))]
        if value.rank != twin.rank or not np.array_equal(np.broadcast_to(small, data.shape), data):
            raise ExportError("a table of numbers hangs on the batch; export with a fixed batch")
        self.names[id(value)] = self.add("Expand", self.constant(small), self.sizes(value.shape, twin.shape))

    def scalar(self, number: float, like: Value) -> str:
        """A number in the dtype of ``like``."""
        return self.constant(number, like.dtype)

    def integers(self, numbers: Sequence[int]) -> str:
        """A list of int64."""
        return self.constant(np.asarray(list(numbers), np.int64))

    # ---- sizes ---------------------------------------------------------------------------------------
    def sizes(self, first: Sequence[int], second: Sequence[int]) -> str:
        """A shape (int64 list) that has the values ``first`` and ``second`` at the two batches."""
        if list(first) == list(second):
            return self.integers(first)
        parts = [self.size(a, b) for a, b in zip(first, second)]
        return self.add("Concat", *parts, axis=0)

    def size(self, first: int, second: int) -> str:
        """One such number, as a list of one."""
        if first == second:
            return self.integers([first])
        batch = self._batch
        assert batch is not None
        slope, rest = divmod(second - first, batch.second - batch.first)
        if rest:
            raise ExportError(f"a size of {first} for a batch of {batch.first} does not grow evenly with the batch")
        key = ("size", slope, first - slope * batch.first)
        if key not in self._known:
            made = self._batch_size()
            if slope != 1:
                made = self.add("Mul", made, self.integers([slope]))
            if first != slope * batch.first:
                made = self.add("Add", made, self.integers([first - slope * batch.first]))
            self._known[key] = made
        return self._known[key]

    def _batch_size(self) -> str:
        assert self._batch is not None
        key = ("batch",)
        if key not in self._known:
            shape = self.add("Shape", self._batch.input)
            self._known[key] = self.add(
                "Slice", shape, self.integers([0]), self.integers([1]), self.integers([0])
            )
        return self._known[key]

    # ---- images --------------------------------------------------------------------------------------
    def channels_first(self, name: str, rank: int) -> str:
        """[N, *spatial, C] as ONNX has its images."""
        if name not in self._first:
            self._first[name] = self.add("Transpose", name, perm=[0, rank - 1, *range(1, rank - 1)])
        return self._first[name]

    def channels_last(self, name: str, rank: int) -> str:
        """The other way; remembers that ``name`` is what is channels first."""
        made = self.add("Transpose", name, perm=[0, *range(2, rank), 1])
        self._first[made] = name
        return made

    # ---- the whole -----------------------------------------------------------------------------------
    def name(self, value: Value | None) -> str:
        """The name of a value of the first trace; constants become initializers; None is an input left out."""
        if value is None:
            return ""
        if id(value) not in self.names:
            if value.data is None:
                raise ExportError(f"{value!r} is used before it is computed")
            self.names[id(value)] = self.constant(value.data, value.dtype, value.name)
        return self.names[id(value)]

    def model(self, graph: Graph, other: Graph) -> onnx.ModelProto:
        """The file: inputs and outputs are the graph's, sizes that differ between the traces are called ``batch``."""
        outputs = []
        for (name, value), twin in zip(graph.outputs.items(), other.outputs.values()):
            self.nodes.append(helper.make_node("Identity", [self.name(value)], [name], name=f"output {name}"))
            outputs.append(_signature(name, value, twin))
        inputs = [_signature(n, v, t) for (n, v), t in zip(graph.inputs.items(), other.inputs.values())]
        used = _reachable(self.nodes, list(graph.outputs))
        needed = {name for node in used for name in node.input}
        constants = [tensor for tensor in self.constants if tensor.name in needed]
        made = helper.make_graph(used, graph.name or "graph", inputs, outputs, constants)
        model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="a1400")
        model.ir_version = _IR
        return model


def _signature(name: str, value: Value, twin: Value) -> onnx.ValueInfoProto:
    shape = [a if a == b else "batch" for a, b in zip(value.shape, twin.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


def _reachable(nodes: list[onnx.NodeProto], outputs: list[str]) -> list[onnx.NodeProto]:
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    return kept[::-1]


@dataclass
class Emission:
    """One node of the graph, in both traces, with what its emitter writes to."""

    writer: Writer
    node: Node
    twin: Node

    def input(self, index: int) -> str:
        """The name of an input; the empty string where there is none."""
        return self.writer.name(self.value(index))

    def value(self, index: int) -> Value | None:
        """An input of the first trace."""
        return self.node.inputs[index] if index < len(self.node.inputs) else None

    def there(self, index: int) -> Value:
        """An input that must be there."""
        value = self.value(index)
        assert value is not None
        return value

    @property
    def inputs(self) -> list[str]:
        """The names of all inputs."""
        return [self.writer.name(v) for v in self.node.inputs]

    def attr(self, key: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attrs.get(key, default)

    def sizes(self, key: str) -> str:
        """An attribute that is a shape."""
        return self.writer.sizes(self.node.attrs[key], self.twin.attrs[key])

    def shape(self, index: int = 0) -> str:
        """The shape of an output."""
        return self.writer.sizes(self.node.outputs[index].shape, self.twin.outputs[index].shape)

    def same(self, key: str) -> Any:
        """An attribute that must not hang on the batch."""
        if self.node.attrs[key] != self.twin.attrs[key]:
            raise ExportError(f"{self.where}: {key} of {self.node.op} hangs on the batch; export with a fixed batch")
        return self.node.attrs[key]

    @property
    def where(self) -> str:
        """The layer that the node came from."""
        return ", ".join(self.node.sources) or "the graph"


#: writes one node and gives the names of its outputs
Emitter = Callable[[Emission], "str | list[str]"]
EMITTERS: dict[str, Emitter] = {}


def emits(*ops: str) -> Callable[[Emitter], Emitter]:
    """Declare the decorated function as what writes nodes of these ops."""

    def declare(function: Emitter) -> Emitter:
        for op in ops:
            if op in EMITTERS:
                raise ValueError(f"{op} is written twice")
            EMITTERS[op] = function
        return function

    return declare
