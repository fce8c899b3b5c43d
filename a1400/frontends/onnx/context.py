"""What a translator of one ONNX op sees: the node's inputs and attributes, and the graph it adds primitive ops to."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from a1400.errors import GraphError, UnsupportedOpError
from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx.definitions import GraphDef, NodeDef
from a1400.frontends.onnx.fold import freeze
from a1400.graph.graph import FOLD_LIMIT, Value, check_shape, evaluate_node
from a1400.graph.records import Records
from a1400.ops import OPS
from a1400.ops.effort import too_much

if TYPE_CHECKING:
    from a1400.frontends.onnx.trace import Frame, Tracer

@dataclass(frozen=True)
class Spelled:
    """Strings that are only known at run time, each one of ``table``: the device computes ``places`` in it."""

    places: Value
    table: np.ndarray


@dataclass(frozen=True)
class Dictionary:
    """A dict that a run is given: ``keys`` (strings or int64) and ``values``, vectors that are known while tracing."""

    keys: Value
    values: Value


#: what a node's output can be: a tensor, strings, dicts, a sequence (a list), or nothing (an absent optional)
Item = Value | Spelled | Records | Dictionary | list[Any] | None
#: constants computed from shapes are folded up to this many elements; larger ones are left to the device
_BIG_FOLD = 1 << 24
#: graph inputs of at most this many integers (or floats) are worth a plan per value
_STEERING = {"i": 64, "u": 64, "b": 64, "f": 16}
_REQUIRED: Any = object()
#: bytes of arrays that one trace makes on the host, besides eight times what the model itself holds
_HOST_BYTES = 1 << 29


class Ctx:
    """One ONNX node being translated.

    ``c[i]`` is a required tensor input, ``c.opt(i)`` an optional one; ``c.op`` adds a primitive op and folds it when
    its operands are constants; ``c.need*`` give values that must be known while tracing.
    """

    def __init__(self, tracer: Tracer, node: NodeDef, inputs: list[Item], frame: Frame, folding: bool) -> None:
        self.tracer, self.node, self.inputs, self.frame = tracer, node, inputs, frame
        self.graph, self.memo, self.training = tracer.graph, tracer.memo, tracer.training
        self.opset = frame.opsets.get(node.domain, frame.opsets.get("", 1))
        self._folding = folding  # the node's results are remembered as a whole: not its intermediate steps too

    # ---- inputs --------------------------------------------------------------------------------------
    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, i: int) -> Value:
        item = self.inputs[i] if -len(self.inputs) <= i < len(self.inputs) else None
        if item is None:
            raise GraphError(f"input {i} is missing")
        if isinstance(item, Spelled):
            raise UnsupportedOpError(f"input {i} is strings that are only known at run time; they can only be outputs")
        if not isinstance(item, Value):
            raise GraphError(f"input {i} is a sequence where a tensor is needed")
        return item

    def opt(self, i: int) -> Value | None:
        """Input ``i``, or None when it is absent."""
        return self[i] if i < len(self.inputs) and self.inputs[i] is not None else None

    def tensors(self) -> list[Value]:
        """All inputs of a variadic op; at least one."""
        return [self[i] for i in range(max(len(self.inputs), 1))]

    def wants(self, i: int) -> bool:
        """True when the model uses output ``i``."""
        return i < len(self.node.outputs) and bool(self.node.outputs[i])

    # ---- attributes ----------------------------------------------------------------------------------
    def attr(self, name: str, default: Any = None, kind: type | tuple[type, ...] = object) -> Any:
        """The decoded attribute; ``default`` when absent, an error when absent and required or of another kind."""
        value = self.tracer.attribute(self.node, name, self.frame)
        if value is None:
            if default is _REQUIRED:
                raise GraphError(f"attribute {name!r} is missing")
            return default
        if not isinstance(value, kind):
            raise GraphError(f"attribute {name!r} has the wrong type {type(value).__name__}")
        return value

    def integer(self, name: str, default: Any = _REQUIRED) -> int:
        """Integer attribute."""
        return self.attr(name, default, int)

    def flag(self, name: str, default: bool = False) -> bool:
        """Integer attribute used as a truth value."""
        return bool(self.integer(name, int(default)))

    def number(self, name: str, default: Any = _REQUIRED) -> float:
        """Float attribute; ``default`` is as the schema has it, a float32 like what a file holds."""
        value = self.attr(name, default, (float, int))
        return float(np.float32(value)) if isinstance(value, float) else value

    def text(self, name: str, default: Any = _REQUIRED) -> str:
        """String attribute."""
        return self.attr(name, default, str)

    def ints(self, name: str, default: Any = None) -> Any:
        """Integer-list attribute (a tuple), or ``default``."""
        return self.attr(name, default, tuple)

    def floats(self, name: str, default: Any = None) -> Any:
        """Float-list attribute (a tuple), or ``default``."""
        return self.attr(name, default, tuple)

    def subgraph(self, name: str) -> GraphDef:
        """Graph attribute."""
        return self.attr(name, _REQUIRED, GraphDef)

    @property
    def inner(self) -> Frame:
        """The frame of the nodes in the node's subgraphs."""
        return self.frame.inside(self.node)

    # ---- values that must be known now ---------------------------------------------------------------
    def need(self, i: int, what: str) -> np.ndarray:
        """The value of input ``i``: a constant, or what a run of the graph so far gives."""
        return self.need_value(self[i], what, i)

    def need_value(self, value: Value, what: str, i: int = -1, keep: Sequence[Item] = ()) -> np.ndarray:
        """As :meth:`need` for any value; ``keep`` are values made by this translator that it goes on with."""
        if value.data is not None:
            return value.data
        known = self.tracer.steering.value_of(value)
        if known is not None:
            return known
        name = self.node.inputs[i] if 0 <= i < len(self.node.inputs) else value.name
        sources = self.tracer.dependencies(value)
        text = f"{what} (input {name!r}) depends on run-time values of {', '.join(map(repr, sorted(sources)))}"
        given = [self.graph.inputs[s] for s in sources if s not in self.graph.told]
        new = not sources <= set(self.tracer.steering.given)
        if new and all(v.size <= _STEERING.get(_kind(v), 0) for v in given):
            raise NeedsValue(tuple(sorted(sources - set(self.tracer.steering.given))), text)
        return self.tracer.read(value, keep, text)

    def count(self, value: Value, what: str, keep: Sequence[Item]) -> int:
        """The integer that ``value`` holds, which this translator has the device compute; ``keep`` as above."""
        array = value.data
        if array is None:
            sources = ", ".join(map(repr, sorted(self.tracer.dependencies(value))))
            array = self.tracer.read(value, keep, f"{what} depends on run-time values of {sources}")
        return int(array.reshape(()))

    def need_ints(self, i: int, what: str) -> tuple[int, ...]:
        """Input ``i`` as a tuple of integers."""
        return tuple(int(v) for v in self.need(i, what).reshape(-1))

    def need_scalar(self, i: int, what: str) -> Any:
        """Input ``i`` as one Python number."""
        array = self.need(i, what)
        if array.size != 1:
            raise GraphError(f"{what} must be one number, not of shape {list(array.shape)}")
        return array.reshape(()).item()

    def unsupported(self, why: str) -> UnsupportedOpError:
        """The error for a use of the op that is not implemented."""
        return UnsupportedOpError(why)

    # ---- constants -----------------------------------------------------------------------------------
    def const(self, array: Any, dtype: Any = None) -> Value:
        """A constant; small shape-like data (weights come from the model itself)."""
        return self.graph.constant(array, dtype)

    def scalar(self, value: Any, like: Value | np.dtype | type) -> Value:
        """A 0-d constant in the dtype of ``like``; the same array object on every trace."""
        dtype = like.dtype if isinstance(like, Value) else np.dtype(like)
        return self.graph.constant(self.memo.scalar(value, dtype))

    def _left(self) -> int:
        """Bytes that this trace may still make on the host: a few bytes of a file must not ask for any amount."""
        return _HOST_BYTES + 8 * self.memo.given - self.tracer.made

    def claim(self, count: int) -> None:
        """To be called before ``count`` numbers are made on the host; :class:`GraphError` where that is too much."""
        if 8 * count > self._left():
            raise GraphError(f"{count} constants would have to be made while the model is read, which is too many")
        self.tracer.made += 8 * max(count, 0)

    def table(self, key: Hashable, make: Callable[[], np.ndarray]) -> Value:
        """A constant made from numbers in ``key`` alone (a mask, a ramp): made once per model."""
        (array,) = self.memo.results(key, (), lambda: [make()])
        self.tracer.made += array.nbytes
        return self.graph.constant(array)

    def varies(self, *values: Value) -> bool:
        """True where one of ``values`` is known only at run time, or comes of inputs that steer shapes."""
        return any(v.data is None for v in values) or self.tracer.steering.reach(values)

    def ramp(self, count: int, of: Sequence[Value]) -> Value:
        """0, 1, 2 ... ``count - 1`` as u32: a constant, but for the device to count where one of ``of`` varies."""
        if self.varies(*of):
            return self.op("iota", shape=(count,))
        self.claim(count)
        return self.table(("ramp", count), lambda: np.arange(count, dtype=np.uint32))

    # ---- building ------------------------------------------------------------------------------------
    def op(self, op: str, *inputs: Value | None, **attrs: Any) -> Value:
        """Append a one-output primitive op, or fold it."""
        return self.multi(op, *inputs, **attrs)[0]

    def multi(self, op: str, *inputs: Value | None, **attrs: Any) -> list[Value]:
        """Append a primitive op and return all its outputs; constants in give constants out."""
        definition, steering = OPS[op], self.tracer.steering
        arrays = [None if v is None else v.data for v in inputs]
        if steering.reach(inputs):
            twins = self.graph.multi(op, *(None if v is None else steering.twin(v) for v in inputs), **attrs)
            if any(v is not None and v.data is None for v in inputs) or not steering.on_host(twins):
                return twins
            outputs = [_result(a, v.shape, v.dtype) for a, v in zip(evaluate_node(op, arrays, attrs), twins)]
            constants = [self.graph.constant(a) for a in outputs]
            for constant, twin in zip(constants, twins):
                steering.bind(constant, twin)
            return constants
        if definition.lazy or any(v is not None and v.data is None for v in inputs):
            return self.graph.multi(op, *inputs, **attrs)
        results = definition.infer(attrs, *inputs)
        for shape, _ in results:
            check_shape(shape, op)
        size = sum(math.prod(shape) for shape, _ in results)

        def compute() -> list[np.ndarray]:
            outputs = evaluate_node(op, arrays, attrs)
            return [_result(a, shape, dtype) for a, (shape, dtype) in zip(outputs, results)]

        stable = not self._folding and all(a is None or self.memo.is_stable(a) for a in arrays)
        operands = sum(_stored(a) for a in arrays if a is not None)
        if not definition.view:
            nbytes = sum(math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in results)
            big = size > max(FOLD_LIMIT, _BIG_FOLD, 4 * operands if stable else 0)
            if big or nbytes > self._left() or too_much(definition, attrs, inputs, results):
                return self.graph.multi(op, *inputs, **attrs)
            self.tracer.made += nbytes
        if stable:
            try:
                key = (op, freeze(attrs))
            except TypeError:
                return [self.graph.constant(a) for a in compute()]
            return [self.graph.constant(a) for a in self.memo.results(key, arrays, compute)]
        return [self.graph.constant(a) for a in compute()]

    # ---- shorthands ----------------------------------------------------------------------------------
    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """``x`` in another shape; ``x`` itself when it has it already."""
        return x if x.shape == tuple(shape) else self.op("reshape", x, shape=tuple(shape))

    def transpose(self, x: Value, perm: Sequence[int]) -> Value:
        """``x`` with axes permuted; undoes a transpose at once instead of stacking a second one on it."""
        perm = tuple(int(p) for p in perm)
        if perm == tuple(range(x.rank)):
            return x
        before = x.producer
        if before is not None and before.op == "transpose" and before.inputs[0] is not None:
            inner = before.attrs["perm"]
            if len(perm) == x.rank and tuple(inner[p] for p in perm) == tuple(range(x.rank)):
                return before.inputs[0]
        return self.op("transpose", x, perm=perm)

    def cast(self, x: Value, dtype: Any) -> Value:
        """``x`` in another dtype."""
        return x if x.dtype == np.dtype(dtype) else self.op("cast", x, to=np.dtype(dtype))

    def expand(self, x: Value, shape: Sequence[int]) -> Value:
        """``x`` broadcast to ``shape``."""
        return x if x.shape == tuple(shape) else self.op("expand", x, shape=tuple(shape))

    def slice(self, x: Value, axis: int, start: int, count: int, step: int = 1) -> Value:
        """``count`` elements of one axis."""
        if (start, step, count) == (0, 1, x.shape[axis]):
            return x
        starts, steps, shape = [0] * x.rank, [1] * x.rank, list(x.shape)
        starts[axis], steps[axis], shape[axis] = start, step, count
        return self.op("slice", x, starts=tuple(starts), shape=tuple(shape), steps=tuple(steps))

    def concat(self, parts: Sequence[Value], axis: int) -> Value:
        """Concatenation; a single part is returned as it is."""
        return parts[0] if len(parts) == 1 else self.op("concat", *parts, axis=axis)

    def reduce(self, kind: str, x: Value, axes: Sequence[int], keepdims: bool = True) -> Value:
        """A reduction over ``axes``."""
        return self.op("reduce", x, kind=kind, axes=tuple(axes), keepdims=keepdims)

    def channels_last(self, x: Value) -> Value:
        """NC... to N...C (transposes that meet cancel)."""
        return self.transpose(x, (0, *range(2, x.rank), 1))

    def channels_first(self, x: Value) -> Value:
        """N...C to NC..."""
        return self.transpose(x, (0, x.rank - 1, *range(1, x.rank - 1)))

    def is_channels_last_view(self, x: Value) -> bool:
        """True when ``x`` is the channels-first face of a channels-last tensor."""
        node = x.producer
        return (
            node is not None and node.op == "transpose" and node.attrs["perm"] == (0, x.rank - 1, *range(1, x.rank - 1))
        )

    def axis(self, axis: int, rank: int) -> int:
        """``axis`` in [0, rank); :class:`GraphError` outside."""
        if not -rank <= axis < rank:
            raise GraphError(f"axis {axis} is out of range for rank {rank}")
        return axis % rank


def _stored(array: np.ndarray) -> int:
    """Elements that an array has in memory: those that broadcasting repeats count once."""
    return math.prod(n for n, step in zip(array.shape, array.strides) if step)


def _kind(value: Value) -> str:
    return value.dtype.kind


def _result(array: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return np.asarray(array).astype(dtype, copy=False).reshape(shape)
