"""Loading an ONNX model and tracing it."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from a1400 import dtypes
from a1400.errors import GraphError, InputError, ModelFileError, UnsupportedOpError
from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx.context import Dictionary, Item
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.fold import FoldMemo
from a1400.frontends.onnx.host_work import encoded, source_of
from a1400.frontends.onnx.library import Library
from a1400.frontends.onnx.parse import parse_graph, read_opsets
from a1400.frontends.onnx.reader import ReadModel, read_model
from a1400.frontends.onnx.steering import Steering
from a1400.frontends.onnx.trace import Reader, Tracer
from a1400.frontends.onnx.training import TrainingMode, find_buffers, find_weights
from a1400.frontends.signature import ShapeDtype, map_parts
from a1400.graph.graph import MAX_ELEMENTS, Graph, Value

OLDEST_OPSET = 1


class OnnxModel:
    """A parsed and checked ONNX model.

    ``name``; ``inputs`` and ``outputs`` (name to :class:`ShapeDtype`); ``defaults`` (the inputs that need not be given,
    as they are initializers); ``opset``; ``node_ops`` (label to operator); ``nodes`` (how many the file's graph has
    after dropping what no output needs); ``metadata`` (what the file's author
    wrote beside the graph, key to text).  :meth:`graph` may be called from several threads.
    """

    def __init__(self, read: ReadModel) -> None:
        proto = read.proto
        external = self._external = ExternalData(read.folder, read.payloads, read.file)
        self._opsets = read_opsets(proto, OLDEST_OPSET)
        self._library = Library(proto, self._opsets, external)
        self._root = parse_graph(proto.graph, external)
        self._library.check(self._root, self._opsets)
        if not self._root.outputs:
            raise GraphError("the model has no outputs: there is nothing to compute")
        self.name = self._root.name or read.name
        self.opset = self._opsets.get("", 0)
        self.nodes = len(self._root.nodes)
        self.metadata: dict[str, str] = {entry.key: entry.value for entry in proto.metadata_props}
        # up to IR 3 every initializer is listed as an input as well; it stays a default that graph() can override
        self.inputs: dict[str, ShapeDtype] = {
            n: s for n, s in self._root.inputs.items() if n not in self._root.initializers
        }
        self.defaults: dict[str, ShapeDtype] = {
            n: ShapeDtype(s.shape, self._root.initializers[n].dtype)
            for n, s in self._root.inputs.items() if n in self._root.initializers
        }  # fmt: skip
        self.outputs: dict[str, ShapeDtype] = dict(self._root.outputs)
        for input_name, signature in self.inputs.items():
            if signature.dtype is None or (signature.dtype not in dtypes.EVERY and signature.dtype != np.dtype(object)):
                kind = signature.dtype or "not a numeric tensor"
                raise UnsupportedOpError(f"input {input_name!r} is {kind}; this kind of input is not supported")
            if signature.kind == "sequence of maps":
                raise UnsupportedOpError(f"input {input_name!r} is a sequence of maps, which is not supported")
        for input_name in encoded(self._root, self._library.function) & set(self.inputs):
            self.inputs[input_name] = replace(self.inputs[input_name], encoded=True)
        self.node_ops: dict[str, str] = {n.label: n.op for n in self._root.nodes}
        self._memo = FoldMemo()
        self._fixed: frozenset[str] = frozenset()  # nodes over strings whose numbers decide shapes
        self._lock = threading.Lock()

    def graph(
        self, feeds_shapes: Mapping[str, tuple[int, ...] | None], values: Mapping[str, np.ndarray] | None = None,
        read: Reader | None = None,
    ) -> Graph:  # fmt: skip
        """Trace for concrete input shapes.

        A sequence ``s`` has a shape for each item, ``s[0]``, ``s[1]`` ...; None is the shape of an optional that holds
        nothing.  Inputs of strings are always among ``values``; the graph's ``told`` are inputs to feed besides, worked
        out from them.  What outputs that are no plain tensors are made of stands in the graph's ``results``.

        ``values`` fixes inputs to arrays while tracing, for those that steer shapes (the graph keeps the input,
        unused); it is then right for these values only.  ``read`` is called where a shape depends on what a tensor
        holds: with the graph so far, that value, and the values that are read later; it runs them and returns the
        contents, for which the graph is then right (without it: :class:`NeedsRun`).

        Raises :class:`InputError` for names or shapes that do not fit the model, :class:`NeedsValue` when a small
        input's value is needed, :class:`ModelFileError` when the model's file was written to since it was loaded,
        :class:`GraphError` and :class:`UnsupportedOpError` naming the node otherwise.
        """
        self.check()
        while True:
            graph = Graph(self.name)
            try:
                return self._traced(graph, feeds_shapes, values, read)
            except NeedsValue as need:
                told = {source_of(name) for name in need.inputs if name in graph.told}
                if not told:
                    raise
                self._fixed |= told

    def _traced(
        self, graph: Graph, feeds_shapes: Mapping[str, tuple[int, ...] | None],
        values: Mapping[str, np.ndarray] | None, read: Reader | None,
    ) -> Graph:  # fmt: skip
        defaults = self.defaults
        unknown = [n for n in feeds_shapes if n not in defaults and self._owner(n) not in self.inputs]
        missing = [n for n, s in self.inputs.items() if n not in feeds_shapes and s.kind == "tensor"]
        if unknown or missing:
            parts = [f"no input is called {n!r}" for n in unknown] + [f"input {n!r} is not given" for n in missing]
            takes = ", ".join(f"{n}: {s}" for n, s in self.inputs.items())
            raise InputError(f"{'; '.join(parts)}; the model's inputs are {takes or 'none'}")
        with self._lock:
            tracer = Tracer(self._library, self._memo, graph, reader=read)
            bound: dict[str, Value] = {}
            for name, shape in feeds_shapes.items():
                signature = self.inputs.get(self._owner(name)) or defaults[name]
                if shape is None:
                    continue
                if signature.is_text:
                    if values is None or name not in values:
                        what = "is a file" if signature.encoded else "holds strings"
                        raise InputError(f"input {name!r} {what}, whose contents are needed")
                    bound[name] = tracer.graph.constant(values[name], name=name)
                else:
                    bound[name] = self._bind(tracer.graph, name, tuple(int(d) for d in shape), signature)
            steering = Steering(graph, self._values(bound, values or {}))
            for name, data in steering.given.items():
                if data.dtype.kind in "iub":
                    twin, bound[name] = bound[name], tracer.graph.constant(data, name=name)
                    steering.bind(bound[name], twin)
            items: dict[str, Item] = dict(bound)
            for name, signature in self.inputs.items():
                if signature.kind == "map":
                    items[name] = Dictionary(*(bound.pop(part) for part in map_parts(name)))
                elif signature.kind != "tensor" and name not in bound:
                    held = [v for n, v in bound.items() if self._owner(n) == name]
                    items[name] = held if "sequence" in signature.kind and name not in feeds_shapes else None
            return tracer.run(self._root, items, self._opsets, self._fixed, steering)

    def _values(self, bound: Mapping[str, Value], values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Those of ``values`` that are numbers, in the dtypes of the inputs."""
        found = {}
        for name, array in values.items():
            if name not in bound:
                raise InputError(f"a value is given for {name!r}, which is not among the inputs")
            if bound[name].data is not None:
                continue
            found[name] = data = np.asarray(array, bound[name].dtype)
            if data.shape != bound[name].shape:
                raise InputError(
                    f"the value given for {name!r} has shape {list(data.shape)}, not {list(bound[name].shape)}"
                )
        return found

    def _owner(self, name: str) -> str:
        """The input that ``name`` is, or that it is an item of."""
        if name in self.inputs:
            return name
        for opening, closing in ("[]", "{}"):  # an item of a sequence, keys or values of a dict
            whole = name.rpartition(opening)[0]
            if whole in self.inputs and name.endswith(closing):
                return whole
        return name

    def append(
        self, graph: Graph, given: Mapping[str, Value], training: TrainingMode | None = None
    ) -> dict[str, Value]:
        """Trace into ``graph`` and return the outputs by name.

        ``given`` holds a value of the graph for each input, and for each initializer that is to be a value instead of a
        constant.  ``training`` switches dropout and batch normalisation to what they do while a model is trained.
        Raises as :meth:`graph` does.
        """
        self.check()
        for name, value in given.items():
            signature, array = self.inputs.get(name), self._root.initializers.get(name)
            if array is not None:
                signature = ShapeDtype(array.shape, array.dtype)
            if signature is None:
                raise InputError(f"no input or initializer is called {name!r}")
            if not signature.accepts(value.shape) or value.dtype != signature.dtype:
                raise InputError(f"{name!r} is {value.dtype}{list(value.shape)}; the model takes {signature}")
        missing = [n for n in self.inputs if n not in given]
        if missing:
            raise InputError(f"input {missing[0]!r} is not given")
        with self._lock:
            tracer = Tracer(self._library, self._memo, graph, training)
            return tracer.translate(self._root, dict(given), self._opsets)

    def weights(self) -> dict[str, np.ndarray]:
        """The initializers that training would change, by name (:func:`~.training.find_weights`)."""
        return {n: self._root.initializers[n] for n in find_weights(self._root)}

    def running_statistics(self) -> dict[str, np.ndarray]:
        """The initializers that are running means and variances of batch normalisation."""
        return {n: self._root.initializers[n] for n in find_buffers(self._root)}

    @property
    def initializers(self) -> Mapping[str, np.ndarray]:
        """All initializers by name, read-only."""
        return self._root.initializers

    def check(self, maps: Collection[Any] | None = None) -> None:
        """Raise :class:`ModelFileError` when the model's file, or one beside it, was written to since it was loaded.

        ``maps`` are the ``mmap`` objects whose files count; None: all.
        """
        self._external.check(maps)

    def _bind(self, graph: Graph, name: str, shape: tuple[int, ...], signature: ShapeDtype) -> Value:
        if not signature.accepts(shape):
            raise InputError(f"input {name!r} has shape {list(shape)}; the model takes {signature}")
        size = 1
        for d in shape:
            size *= d
        if size > MAX_ELEMENTS or any(d < 0 for d in shape):
            raise InputError(f"input {name!r} cannot have the shape {list(shape)}")
        assert signature.dtype is not None
        return graph.input(name, shape, signature.dtype)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{n}: {s}" for n, s in self.inputs.items())
        return f"<OnnxModel {self.name!r} opset {self.opset}, {self.nodes} nodes, ({inputs})>"


def load_onnx(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> OnnxModel:
    """Read and check an ONNX model from a path, bytes or a ``ModelProto``.

    Nothing is run.  Raises :class:`ModelFileError` (missing, not ONNX, damaged, opset out of range, tensor data that
    does not fit or leaves the folder), :class:`GraphError` (cycles, undefined or doubly defined values) and
    :class:`UnsupportedOpError` (all operators without a translation, with their nodes).
    """
    read = read_model(source)
    name = read.name
    try:
        return OnnxModel(read)
    except UnicodeDecodeError:
        raise ModelFileError(f"{name}: the file is damaged: a name in it is not text") from None
    except RecursionError:
        raise GraphError(f"{name}: the graph is nested too deep") from None
    except MemoryError:
        raise ModelFileError(f"{name}: not enough memory to load the model") from None
