"""Typed SSA graph: values with concrete dtype and shape, nodes of primitive ops, constants.

A graph is made for concrete input shapes; shape arithmetic of the source model is folded away while it is built
(:meth:`Graph.op` evaluates small constant sub-expressions on the spot), so that what remains is what runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from a1400.errors import GraphError

#: results up to this many elements are folded at once when all operands are constants
FOLD_LIMIT = 4096
#: no single tensor may have more elements than a 32-bit kernel index can reach, even in the work-items past its end
MAX_ELEMENTS = 2**31 - 2**16
#: axes of one tensor: as many as NumPy takes everywhere
MAX_RANK = 32
#: what is put behind a state's name to name the output that holds its new value
UPDATED = ".next"
#: nodes of one graph, far more than any network has: a file of a few bytes can ask for any number
MAX_NODES = 500_000


class Value:
    """One tensor of a graph.

    ``data`` is the array of a constant, else None.  ``producer`` is the node that computes it (None for inputs
    and constants).  ``name`` is a label for people, not an identity.
    """

    __slots__ = ("data", "dtype", "name", "producer", "shape")

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype, name: str = "", data: np.ndarray | None = None,
        producer: Node | None = None,
    ) -> None:  # fmt: skip
        self.name, self.shape, self.dtype = name, tuple(int(d) for d in shape), np.dtype(dtype)
        self.data, self.producer = data, producer

    @property
    def size(self) -> int:
        """Number of elements."""
        result = 1
        for d in self.shape:
            result *= d
        return result

    @property
    def nbytes(self) -> int:
        """Bytes of a dense copy."""
        return self.size * self.dtype.itemsize

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """True when the data is known."""
        return self.data is not None

    def __repr__(self) -> str:
        kind = "const" if self.is_constant else "value"
        return f"<{kind} {self.name or hex(id(self))} {self.dtype}{list(self.shape)}>"


class Node:
    """One operation: ``op`` is a name in :data:`a1400.ops.OPS`; optional inputs that are absent are None.

    ``sources`` names the nodes of the user's model that this node came from; passes merge them when they fuse,
    so ``explain`` can say where every node of the model went.
    """

    __slots__ = ("attrs", "inputs", "op", "outputs", "sources")

    def __init__(
        self, op: str, inputs: Sequence[Value | None], attrs: dict[str, Any], sources: tuple[str, ...]
    ) -> None:
        self.op, self.inputs, self.attrs, self.sources = op, list(inputs), attrs, sources
        self.outputs: list[Value] = []

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]

    def __repr__(self) -> str:
        return f"<{self.op} {[tuple(o.shape) for o in self.outputs]} {self.attrs}>"


class Graph:
    """A list of nodes in topological order with named inputs and outputs.

    Build with :meth:`input`, :meth:`constant` and :meth:`op`; ``source`` set on the graph labels the nodes made
    while it holds (a front-end sets it to the model node being translated).

    A *state* (:meth:`state`) is an input whose memory stays on the device from run to run; its update
    (:meth:`update`) is an output that shares that memory: ``aliases`` maps the output's name to the state's.

    ``results`` says what a model's outputs are made of where they are more than the graph's outputs: by name, the name
    of a graph output, an array of strings, (the name of a graph output that holds places, the strings at these places),
    None for an optional that holds nothing, or a list of such.  ``on_host`` names the model's nodes that the host
    worked out from what the inputs of one run hold: strings, control flow, arithmetic of shapes.  ``fates`` tells
    what became of nodes that nothing runs for: "folded at load" (constants from constants, once per model), "shapes"
    (known from the shapes of the inputs), "view" (hands on what it got), "unused" (nobody reads it).  ``told`` holds
    what such work on strings gave for inputs of the graph that are no inputs of the model; ``signature`` is equal where
    graphs of one model, for the same shapes, differ in ``told`` and ``results`` only.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.nodes: list[Node] = []
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.states: set[str] = set()
        self.aliases: dict[str, str] = {}
        self.results: dict[str, Any] | None = None
        self.on_host: set[str] = set()
        self.fates: dict[str, str] = {}
        self.told: dict[str, np.ndarray] = {}
        self.signature: tuple[Any, ...] = ()
        self.source: tuple[str, ...] = ()

    # ---- building ------------------------------------------------------------------------------------
    def input(self, name: str, shape: Sequence[int], dtype: np.dtype) -> Value:
        """Declare a run-time input."""
        if name in self.inputs:
            raise GraphError(f"input {name!r} is declared twice")
        value = Value(tuple(shape), dtype, name)
        check_shape(value.shape, name)
        self.inputs[name] = value
        return value

    def constant(self, array: Any, dtype: np.dtype | None = None, name: str = "") -> Value:
        """A constant from an array, list or number."""
        data = np.asarray(array, dtype=dtype)
        return Value(data.shape, data.dtype, name, data)

    def output(self, name: str, value: Value) -> None:
        """Declare ``value`` as the output called ``name``."""
        if name in self.outputs:
            raise GraphError(f"output {name!r} is declared twice")
        self.outputs[name] = value

    def state(self, name: str, shape: Sequence[int], dtype: np.dtype) -> Value:
        """Declare an input whose memory stays on the device between runs; unless updated it keeps its value."""
        value = self.input(name, shape, dtype)
        self.states.add(name)
        return value

    def update(self, name: str, value: Value) -> None:
        """Let ``value`` be what state ``name`` holds after the run; every node sees what it held before.

        Becomes the output ``name + ".next"``.  Raises :class:`GraphError` for what is no state, for a second update,
        and for another shape or dtype.
        """
        if name not in self.states:
            raise GraphError(f"{name!r} is no state of the graph, so it cannot be updated")
        state = self.inputs[name]
        if (value.shape, value.dtype) != (state.shape, state.dtype):
            raise GraphError(
                f"state {name!r} is {state.dtype}{list(state.shape)}; its update is {value.dtype}{list(value.shape)}"
            )
        self.output(name + UPDATED, value)
        self.aliases[name + UPDATED] = name

    def op(self, op: str, *inputs: Value | None, **attrs: Any) -> Value:
        """Append a one-output operation and return its value (a constant if it could be folded at once)."""
        return self.multi(op, *inputs, **attrs)[0]

    def multi(self, op: str, *inputs: Value | None, **attrs: Any) -> list[Value]:
        """Append an operation and return all its outputs."""
        from a1400.ops import OPS
        from a1400.ops.effort import too_much

        definition = OPS[op]
        results = definition.infer(attrs, *inputs)
        for shape, _ in results:
            check_shape(shape, op)
        known = all(v is None or v.is_constant for v in inputs) and not definition.lazy
        small = definition.view or sum(math.prod(shape) for shape, _ in results) <= FOLD_LIMIT
        if known and small and not too_much(definition, attrs, inputs, results):
            arrays = evaluate_node(op, [None if v is None else v.data for v in inputs], attrs)
            return [self.constant(np.asarray(a, dtype=dt)) for a, (_, dt) in zip(arrays, results)]
        if len(self.nodes) >= MAX_NODES:
            raise GraphError(f"the graph needs more than {MAX_NODES} operations; use fewer or shorter loops")
        node = Node(op, inputs, attrs, self.source)
        node.outputs = [Value(shape, dtype, producer=node) for shape, dtype in results]
        self.nodes.append(node)
        return node.outputs

    # ---- looking -------------------------------------------------------------------------------------
    def users(self) -> dict[int, list[Node]]:
        """For each value (by ``id``), the nodes that read it, in order, once per node."""
        table: dict[int, list[Node]] = {}
        for node in self.nodes:
            for key in {id(v) for v in node.inputs if v is not None}:
                table.setdefault(key, []).append(node)
        return table

    def replace(self, mapping: dict[int, Value]) -> None:
        """Redirect every use of the values (by ``id``) in ``mapping``, graph outputs included; follows chains."""

        def resolve(value: Value) -> Value:
            while id(value) in mapping:
                value = mapping[id(value)]
            return value

        for node in self.nodes:
            node.inputs = [None if v is None else resolve(v) for v in node.inputs]
        self.outputs = {name: resolve(v) for name, v in self.outputs.items()}

    def remove_dead(self) -> int:
        """Drop nodes that no output needs; returns how many."""
        needed = {id(v) for v in self.outputs.values()}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(id(o) in needed for o in node.outputs):
                kept.append(node)
                needed.update(id(v) for v in node.inputs if v is not None)
        removed = len(self.nodes) - len(kept)
        self.nodes = kept[::-1]
        return removed

    def sort(self) -> None:
        """Put nodes into topological order again (stable); raises :class:`GraphError` on a cycle."""
        order: list[Node] = []
        state: dict[int, int] = {}
        for root in self.nodes:
            stack = [(root, False)]
            while stack:
                node, done = stack.pop()
                if done:
                    state[id(node)] = 2
                    order.append(node)
                    continue
                if state.get(id(node)) == 2:
                    continue
                if state.get(id(node)) == 1:
                    raise GraphError(f"the graph {self.name!r} has a cycle through {node.op}")
                state[id(node)] = 1
                stack.append((node, True))
                for value in reversed(node.inputs):
                    if value is not None and value.producer is not None:
                        if state.get(id(value.producer)) == 1:
                            raise GraphError(f"the graph {self.name!r} has a cycle through {node.op}")
                        stack.append((value.producer, False))
        self.nodes = order

    def constants(self) -> Iterable[Value]:
        """Every constant that a node or output uses, once."""
        seen: set[int] = set()
        for value in [*(v for n in self.nodes for v in n.inputs if v is not None), *self.outputs.values()]:
            if value.is_constant and id(value) not in seen:
                seen.add(id(value))
                yield value

    def __str__(self) -> str:
        names: dict[int, str] = {id(v): n for n, v in self.inputs.items()}
        lines = [f"graph {self.name}({', '.join(f'{n}: {v.dtype}{list(v.shape)}' for n, v in self.inputs.items())})"]
        for i, node in enumerate(self.nodes):
            for j, value in enumerate(node.outputs):
                names[id(value)] = f"%{i}" if j == 0 else f"%{i}.{j}"
            inputs = ", ".join(
                "-" if v is None else names.get(id(v), f"const{list(v.shape)}" if v.is_constant else "?")
                for v in node.inputs
            )
            shapes = " ".join(f"{v.dtype}{list(v.shape)}" for v in node.outputs)
            lines.append(f"  %{i} = {node.op}({inputs}) {node.attrs or ''} -> {shapes}")
        lines.append("  return " + ", ".join(f"{n}={names.get(id(v), 'const')}" for n, v in self.outputs.items()))
        return "\n".join(lines)


def check_shape(shape: Sequence[int], where: str) -> None:
    """Raise :class:`GraphError` for a shape that no tensor can have."""
    if len(shape) > MAX_RANK or any(d < 0 for d in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise GraphError(
            f"{where}: a tensor of shape {list(shape)[: MAX_RANK + 1]} is not possible; "
            f"tensors have at most {MAX_ELEMENTS} elements and {MAX_RANK} axes"
        )


def evaluate_node(op: str, arrays: Sequence[np.ndarray | None], attrs: dict[str, Any]) -> list[np.ndarray]:
    """Run an op's NumPy reference; always a list of outputs."""
    from a1400.ops import OPS

    with np.errstate(all="ignore"):
        result = OPS[op].reference(attrs, *arrays)
    return list(result) if isinstance(result, (tuple, list)) else [result]


def evaluate_fused(node: Node, arrays: list[np.ndarray | None]) -> list[np.ndarray]:
    """Outputs of a node with the expressions that fusion attached to it.

    Inputs are ``[own..., prologue extras..., epilogue extras...]``; attr ``prologue`` is applied to own input 0, attr
    ``epilogue`` to output 0; their operand 0 is that value, the extras follow.  What an op hands to its epilogue is not
    rounded to a half type, as it is still in a register.
    """
    from a1400.kernels import expr
    from a1400.ops.registry import widen

    prologue, epilogue = node.attrs.get("prologue"), node.attrs.get("epilogue")
    if prologue is None and epilogue is None:
        return evaluate_node(node.op, arrays, node.attrs)
    last = len(arrays) - int(node.attrs.get("epilogue_inputs", 0))
    own = last - int(node.attrs.get("prologue_inputs", 0))
    first, rest = arrays[0], arrays[1:own]
    if prologue is not None:
        assert first is not None
        operands = [first, *(a for a in arrays[own:last] if a is not None)]
        first = np.broadcast_to(expr.evaluate(prologue, operands), first.shape)
    given = [first, *rest]
    if epilogue is not None:
        given = [None if a is None else widen(a) for a in given]
    results = evaluate_node(node.op, given, node.attrs)
    if epilogue is not None:
        operands = [results[0], *(a for a in arrays[last:] if a is not None)]
        results[0] = np.broadcast_to(expr.evaluate(epilogue, operands), results[0].shape)
    return results


def evaluate(graph: Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the whole graph through the NumPy references: the slow, independent answer."""
    values: dict[int, np.ndarray] = {id(v): np.asarray(feeds[n], v.dtype) for n, v in graph.inputs.items()}

    def get(value: Value | None) -> np.ndarray | None:
        if value is None:
            return None
        return value.data if value.data is not None else values[id(value)]

    for node in graph.nodes:
        arrays = evaluate_fused(node, [get(v) for v in node.inputs])
        for value, array in zip(node.outputs, arrays):
            values[id(value)] = np.asarray(array).astype(value.dtype, copy=False).reshape(value.shape)
    return {name: np.asarray(get(v)) for name, v in graph.outputs.items()}
