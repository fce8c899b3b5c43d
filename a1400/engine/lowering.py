"""Lowering: each node of the optimised graph becomes views and kernel launches.

A :class:`Lowering` walks the graph once.  Ops that only re-index (reshape, transpose, slice, expand) become views;
every other op has a function in ``a1400/engine/lower/`` that asks for its operands in a form its kernel can read
(:meth:`Lowering.view`, :meth:`Lowering.dense`), allocates its result and appends launches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from a1400 import tuning
from a1400.backends.base import DeviceInfo
from a1400.engine.parts import Part, find_parts
from a1400.engine.updates import VIEW_OPS, Order, behind_reshapes, order_updates
from a1400.engine.weight_store import WeightStore
from a1400.errors import KernelArgumentError, UnsupportedOpError
from a1400.graph.graph import MAX_ELEMENTS, Graph, Node, Value
from a1400.kernels import spec as kernels
from a1400.kernels.expr import Expr
from a1400.kernels.spec import REGISTRY, KernelCall, Operand, SlotArgument, SlotCode
from a1400.memory.storage import Ref, Storage, View, collapse_group, dense_strides
from a1400.optimizer.scalars import is_spread

Handler = Callable[["Lowering", Node], None]
HANDLERS: dict[str, Handler] = {}
#: bytes from which on a constant that is one element spread over a shape is stored as that element
_SPREAD_LIMIT = 1 << 16


def lowers(*ops: str) -> Callable[[Handler], Handler]:
    """Decorator: register a lowering function for ``ops``."""

    def register(handler: Handler) -> Handler:
        for op in ops:
            HANDLERS[op] = handler
        return handler

    return register


@dataclass
class Launch:
    """One launch of the plan: the kernel call over storage references, and which model nodes it serves."""

    call: KernelCall
    op: str
    sources: tuple[str, ...]


class Lowering:
    """State of one lowering: views of values so far, launches so far."""

    def __init__(
        self, graph: Graph, info: DeviceInfo, weights: WeightStore, allow: frozenset[str] = frozenset(),
        launched: Callable[[KernelCall], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.launched = launched  # told of every launch as it comes
        self.graph, self.info, self.weights = graph, info, weights
        self.allow = allow  # roundings that the caller accepts: see Variant.precision
        self.launches: list[Launch] = []
        self.storages: list[Storage] = []
        self.views: dict[int, View] = {}
        self._dense: dict[int, View] = {}
        self._node: Node | None = None
        self._claimed: dict[int, Storage] = {}
        self._parts: dict[int, Part] = {}
        self._states: dict[str, View] = {}
        self._held: dict[str, View] = {}  # output -> copy of what a state held before the run
        self._scalars: dict[tuple[str, bytes], np.ndarray] = {}
        self._derived: dict[tuple[int, str], View] = {}

    # ---- the walk -----------------------------------------------------------------------------------
    def run(self) -> None:
        """Lower the whole graph; afterwards ``launches`` and ``outputs`` are complete."""
        missing = sorted({n.op for n in self.graph.nodes if n.op not in HANDLERS})
        if missing:
            raise UnsupportedOpError(f"no kernel implements the operations {', '.join(missing)} yet")
        for name, value in self.graph.inputs.items():
            kind = "state" if name in self.graph.states else "input"
            view = self.views[id(value)] = self._new(Storage(kind, value.nbytes, name), value)
            if kind == "state":
                self._states[name] = view
        order = order_updates(self.graph)
        self._claim_outputs(order)
        self._parts = find_parts(self.graph, self._claimed)
        self._lower(order.early)
        self._hold_states()
        self._lower(order.late)
        for name, value in self.graph.outputs.items():
            if name not in self.graph.aliases:
                self._finish_output(name, value)
        for name, state in self.graph.aliases.items():
            self._finish_update(name, self._states[state])

    def _lower(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self._node = node
            HANDLERS[node.op](self, node)
        self._node = None

    def _claim_outputs(self, order: Order) -> None:
        """Let the value behind each output write straight into the output's memory where nothing stands between."""
        for node in order.late:
            for value in node.outputs:
                if id(value) in order.in_place:
                    self._claimed[id(value)] = self._states[order.in_place[id(value)]].storage
        for name, output in self.graph.outputs.items():
            value = behind_reshapes(output)
            computed = value.producer is not None and value.producer.op not in VIEW_OPS
            if name not in self.graph.aliases and computed and id(value) not in self._claimed:
                self._claimed[id(value)] = Storage("output", output.nbytes, name)

    def _hold_states(self) -> None:
        """Put aside what outputs want of the states' present contents, as updates come next."""
        for name, value in self.graph.outputs.items():
            view = self.views.get(id(value))
            if view is None or view.storage.kind != "state":
                continue
            own = self.graph.aliases.get(name)
            if own is None or not view.same_place(self._states[own]):
                self._held[name] = self.temporary(view.shape, view.dtype)
                self.copy(view, self._held[name])

    def _finish_output(self, name: str, value: Value) -> None:
        view = self._held.get(name) or self.view(value)
        if view.storage.kind == "output" and view.storage.name == name and view.is_dense and view.offset == 0:
            return
        storage = Storage("output", value.nbytes, name)
        self.storages.append(storage)
        target = View(storage, value.dtype, value.shape, dense_strides(value.shape))
        self.copy(view, target)

    def _finish_update(self, name: str, state: View) -> None:
        view = self._held.get(name) or self.view(self.graph.outputs[name])
        if not view.same_place(state):
            self.copy(view, state)

    # ---- operands -----------------------------------------------------------------------------------
    def _new(self, storage: Storage, value: Value) -> View:
        self.storages.append(storage)
        return View(storage, value.dtype, value.shape, dense_strides(value.shape))

    def view(self, value: Value) -> View:
        """The value as it lies in memory, whatever its strides; constants are uploaded as they are."""
        found = self.operand(value)
        if found.storage.kind == "position":  # written out, once
            found = self.derived(value, "written", lambda: self.dense_view(self.operand(value)))
        return found

    def operand(self, value: Value) -> View:
        """As :meth:`view` for what expressions read: numbers of elements (``iota``) lie in no memory."""
        found = self.views.get(id(value))
        if found is None:
            assert value.data is not None, f"{value} has not been computed"
            if value.nbytes > _SPREAD_LIMIT and is_spread(value.data):
                one = self.constant(np.array(value.data.flat[0], value.dtype))
                found = View(one.storage, value.dtype, value.shape, (0,) * value.rank)
            else:
                found = self.constant(value.data)
            self.views[id(value)] = found
        return found

    def constant(self, array: np.ndarray) -> View:
        """A constant array as a dense view on a weight storage."""
        if array.nbytes <= 64:
            # scalars recur as fresh arrays in every trace: share them by content
            array = self._scalars.setdefault((f"{array.dtype}{array.shape}", array.tobytes()), array)
        storage = self.weights.get((array,), ("plain",), lambda a: a)
        return View(storage, array.dtype, array.shape, dense_strides(array.shape))

    def zero(self, dtype: np.dtype) -> np.ndarray:
        """A constant scalar zero."""
        return np.zeros((), dtype)

    def packed(self, values: Value | Sequence[Value], key: tuple[Any, ...], make: Callable[..., np.ndarray]) -> View:
        """A constant (or several together) in the layout that a kernel wants, packed once per model."""
        arrays = [value.data for value in ([values] if isinstance(values, Value) else values)]
        storage = self.weights.get([array for array in arrays if array is not None], key, make)
        assert storage.array is not None
        return View(storage, storage.array.dtype, storage.array.shape, dense_strides(storage.array.shape))

    def dense(self, value: Value) -> View:
        """The value row-major from the start of a (sub-)buffer; copied once if it is not so already."""
        found = self._dense.get(id(value))
        if found is None:
            found = self._dense[id(value)] = self.dense_view(self.view(value))
        return found

    def contiguous(self, value: Value) -> View:
        """The value row-major, wherever it starts: for kernels with an offset."""
        view = self.view(value)
        return view if view.is_dense else self.dense(value)

    def derived(self, value: Value, key: str, make: Callable[[], View]) -> View:
        """What ``make`` gives, launched once for all nodes that ask for ``key`` of the value."""
        found = self._derived.get((id(value), key))
        if found is None:
            found = self._derived[id(value), key] = make()
        return found

    def dense_view(self, view: View) -> View:
        """Dense form of a view: itself when it is dense and its start can be bound, else a copy."""
        if self.bindable(view):
            return view
        target = self.temporary(view.shape, view.dtype)
        self.copy(view, target)
        return target

    def bind(self, view: View) -> Ref:
        """Buffer argument for a dense view, for kernels without an offset parameter."""
        assert self.bindable(view)
        return Ref(view.storage, view.offset * view.dtype.itemsize, max(view.size * view.dtype.itemsize, 1))

    def temporary(self, shape: Sequence[int], dtype: np.dtype) -> View:
        """Fresh arena memory."""
        count = int(np.prod(tuple(shape), dtype=np.int64))
        if count > MAX_ELEMENTS:
            raise KernelArgumentError(f"an intermediate tensor of shape {list(shape)} is too large for 32-bit indices")
        storage = Storage("arena", max(count * np.dtype(dtype).itemsize, 1))
        self.storages.append(storage)
        return View(storage, np.dtype(dtype), tuple(shape), dense_strides(tuple(shape)))

    def result(self, value: Value, accepts: Callable[[View], bool] | None = None) -> View:
        """Memory for a node's output: the graph output's own when it can be, else the arena.

        A kernel that can write strided results gives ``accepts``; a part of a concatenation is then placed where the
        concatenation wants it, if the kernel accepts that view.
        """
        if id(value) in self.views:  # a concatenation whose parts came first
            return self.views[id(value)]
        view = self._placed(value, accepts) if accepts else None
        if view is None:
            claimed = self._claimed.get(id(value))
            view = self._new(claimed, value) if claimed is not None else self.temporary(value.shape, value.dtype)
        self.views[id(value)] = view
        return view

    def _placed(self, value: Value, accepts: Callable[[View], bool]) -> View | None:
        part = self._parts.get(id(value))
        if part is None:
            return None
        whole = part.whole
        if id(whole) not in self.views:  # nothing is allocated unless the kernel can write there
            dense = View(Storage("arena", 0), value.dtype, whole.shape, dense_strides(whole.shape))
            place = part.place(dense)
            if place is None or not accepts(place):
                return None
        place = part.place(self.result(whole, lambda _: True))
        return place if place is not None and accepts(place) else None

    def bindable(self, view: View) -> bool:
        """Whether :meth:`bind` takes a view: what kernels without an offset and strides can write."""
        aligned = view.offset * view.dtype.itemsize % self.info.alignment == 0
        return view.is_dense and aligned and view.storage.kind != "position"

    def copy(self, source: View, target: View) -> None:
        """Launch a copy between views of one shape."""
        from a1400.engine.lower.pointwise import emit_copy

        emit_copy(self, source, target)

    # ---- launches -----------------------------------------------------------------------------------
    def launch(
        self, name: str, types: Mapping[str, np.dtype], buffers: Mapping[str, Ref], scalars: Mapping[str, int | float],
        *, variant: str | None = None, tunables: Mapping[str, int] | None = None,
        slots: Mapping[str, tuple[SlotCode, Sequence[SlotArgument]]] | None = None,
    ) -> None:  # fmt: skip
        """Append a launch of kernel ``name``.

        The variant is the spec's choice for the device unless named.  ``tunables`` is what the caller thinks best: a
        row of the tuning tables, which was measured, is laid over it, and the variant's defaults are under it.
        """
        spec = REGISTRY[name]
        chosen = spec.variant(variant) if variant else spec.choose(self.info, types, scalars, slots or (), self.allow)
        tunables = tuning.settle(self.info, spec, chosen, types, scalars, tunables or {})
        call = kernels.call(spec, chosen, types, buffers, scalars, tunables, slots)
        fitted = chosen.fit(self.info, types, scalars, tunables)
        if fitted is None:
            raise KernelArgumentError(f"a work-group of kernel {name}/{chosen.name} is too large for {self.info.name}")
        call.tunables = fitted
        call.in_place = _is_in_place(call)
        groups, _ = call.geometry()
        if min(groups) <= 0:
            return
        index = len(self.launches)
        for argument in call.arguments():
            if isinstance(argument, Ref):
                storage = argument.storage
                storage.first = index if storage.first < 0 else storage.first
                storage.last = index
        node = self._node
        self.launches.append(Launch(call, node.op if node else "output", node.sources if node else ()))
        self.launched(call)

    def slot(
        self, expr: Expr, operands: Sequence[Value | View], shape: tuple[int, ...], groups: Sequence[Sequence[int]]
    ) -> tuple[SlotCode, list[SlotArgument]]:
        """Fill a slot whose coordinates are groups of the axes of ``shape``.

        ``expr`` has the kernel's value as operand 0 and ``operands`` after it; each operand broadcasts to ``shape``.
        An operand that needs more than one stride per coordinate is copied to a layout that does not.
        """
        types: list[Operand] = []
        arguments: list[SlotArgument] = []
        for operand in operands:
            view = operand if isinstance(operand, View) else self.operand(operand)
            strides = _group_strides(view, shape, groups)
            if strides is None:
                strides = _group_strides(view := self.dense_view(view), shape, groups)
            if strides is None:
                grouped = [axis for group in groups for axis in group]  # the axes of a group lie next to each other
                order = [*(axis for axis in range(len(shape)) if axis not in grouped), *grouped]
                full = self.temporary([shape[axis] for axis in order], view.dtype)
                full = full.transpose(tuple(order.index(axis) for axis in range(len(shape))))
                self.copy(view.expand(shape), full)
                view, strides = full, _group_strides(full, shape, groups)
            assert strides is not None
            inner = strides[-1] if strides[-1] in (0, 1) else 2
            types.append(Operand(view.dtype, inner, view.storage.kind == "position"))
            arguments.append(SlotArgument(operand_buffer(view), view.offset, strides))
        return SlotCode(expr, tuple(types)), arguments

    def attached(
        self, node: Node, which: str, shape: tuple[int, ...], groups: Sequence[Sequence[int]]
    ) -> tuple[SlotCode, list[SlotArgument]] | None:
        """The node's ``prologue`` or ``epilogue`` (left by the fusion pass) as a filled slot; None when it has none."""
        expr = node.attrs.get(which)
        if expr is None:
            return None
        _, prologue, epilogue = split_inputs(node)
        values = prologue if which == "prologue" else epilogue
        return self.slot(expr, [v for v in values if v is not None], shape, groups)


def operand_buffer(view: View) -> Ref | None:
    """The buffer of an expression's operand; None for positions."""
    return None if view.storage.kind == "position" else view.ref()


def _is_in_place(call: KernelCall) -> bool:
    """Whether an elementwise launch writes the state that it reads."""
    written = [call.buffers[p.name] for p in call.spec.params if p.kind in ("out", "inout")]
    states = {ref.storage for ref in written if isinstance(ref, Ref) and ref.storage.kind == "state"}
    read = (argument.buffer for arguments in call.slot_arguments.values() for argument in arguments)
    return bool(states) and any(isinstance(ref, Ref) and ref.storage in states for ref in read)


def split_inputs(node: Node) -> tuple[list[Value | None], list[Value | None], list[Value | None]]:
    """A node's inputs as (own, prologue extras, epilogue extras)."""
    pro, epi = int(node.attrs.get("prologue_inputs", 0)), int(node.attrs.get("epilogue_inputs", 0))
    own = len(node.inputs) - pro - epi
    return node.inputs[:own], node.inputs[own : own + pro], node.inputs[own + pro :]


def _group_strides(view: View, shape: tuple[int, ...], groups: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    expanded = view.expand(shape)
    result = []
    for axes in groups:
        stride = collapse_group(shape, expanded.strides, list(axes))
        if stride is None:
            return None
        result.append(stride)
    return tuple(result)


@lowers("reshape")  # launches nothing unless it needs a copy; transpose, expand and slice never do
def _reshape(lw: Lowering, node: Node) -> None:
    source = lw.operand(node.inputs[0])  # type: ignore[arg-type]
    view = source.reshape(node.output.shape)
    if view is None:
        view = lw.dense(node.inputs[0]).reshape(node.output.shape)  # type: ignore[arg-type]
    assert view is not None
    lw.views[id(node.output)] = view


@lowers("bitcast", "stop_gradient")
def _bitcast(lw: Lowering, node: Node) -> None:
    lw.views[id(node.output)] = replace(lw.view(node.inputs[0]), dtype=node.output.dtype)  # type: ignore[arg-type]


@lowers("iota")
def _iota(lw: Lowering, node: Node) -> None:
    value = node.output
    storage = Storage("position", 0)
    lw.views[id(value)] = View(storage, value.dtype, value.shape, dense_strides(value.shape), node.attrs["start"])


@lowers("transpose")
def _transpose(lw: Lowering, node: Node) -> None:
    lw.views[id(node.output)] = lw.operand(node.inputs[0]).transpose(node.attrs["perm"])  # type: ignore[arg-type]


@lowers("expand")
def _expand(lw: Lowering, node: Node) -> None:
    lw.views[id(node.output)] = lw.operand(node.inputs[0]).expand(node.attrs["shape"])  # type: ignore[arg-type]


@lowers("slice")
def _slice(lw: Lowering, node: Node) -> None:
    a = node.attrs
    lw.views[id(node.output)] = lw.operand(node.inputs[0]).slice(a["starts"], a["shape"], a["steps"])  # type: ignore[arg-type]
