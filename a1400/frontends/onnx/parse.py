"""ModelProto to definitions: names resolved, order found, everything that can be wrong with a graph reported."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Set

import numpy as np
import onnx

from a1400.errors import GraphError, ModelFileError
from a1400.frontends.onnx.definitions import Attr, FunctionDef, GraphDef, NodeDef
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.tensors import checked_shape, dtype_of, sparse_array, tensor_array
from a1400.frontends.signature import Dim, ShapeDtype

#: how deep subgraphs may nest: far above any real model, below Python's recursion limit
_MAX_DEPTH = 32


def parse_graph(
    proto: onnx.GraphProto, external: ExternalData, outer: Set[str] = frozenset(), depth: int = 0
) -> GraphDef:
    """Parse a graph and its subgraphs.  ``outer`` are the names that an enclosing graph offers.

    Raises :class:`GraphError` for values that are undefined or defined twice and for cycles,
    :class:`ModelFileError` for broken tensors.
    """
    if depth > _MAX_DEPTH:
        raise GraphError(f"subgraphs are nested more than {_MAX_DEPTH} deep")
    initializers: dict[str, np.ndarray] = {}
    for tensor in proto.initializer:
        _add_initializer(initializers, tensor.name, tensor_array(tensor, external, f"initializer {tensor.name!r}"))
    for sparse in proto.sparse_initializer:
        name = sparse.values.name
        _add_initializer(initializers, name, sparse_array(sparse, external, f"sparse initializer {name!r}"))
    inputs: dict[str, ShapeDtype] = {}
    for info in (*proto.input, *proto.output):
        text(info.name, "the name of an input or output")
    for info in proto.input:
        if not info.name or info.name in inputs:
            raise GraphError(f"graph {proto.name!r} declares the input {info.name!r} twice or without a name")
        inputs[info.name] = signature(info)
    outputs: dict[str, ShapeDtype] = {}
    for info in proto.output:
        if not info.name or info.name in outputs:
            raise GraphError(f"graph {proto.name!r} declares the output {info.name!r} twice or without a name")
        outputs[info.name] = signature(info)
    known = set(inputs) | set(initializers)
    defined = known | {name for node in proto.node for name in node.output if name}
    offered = outer | defined
    nodes = [parse_node(n, i, external, offered, depth) for i, n in enumerate(proto.node)]
    _tell_apart(nodes)
    ordered = order_nodes(nodes, known, outer, outputs, f"graph {proto.name!r}")
    local = known | {o for n in ordered for o in n.outputs}
    used = itertools.chain(*(n.inputs for n in ordered), *(n.captured for n in ordered), outputs)
    captured = frozenset(name for name in used if name and name not in local)
    return GraphDef(proto.name, ordered, inputs, outputs, initializers, captured)


def _tell_apart(nodes: list[NodeDef]) -> None:
    """Number the labels that several nodes share: ONNX asks for no names, let alone for different ones."""
    taken = {node.label for node in nodes}
    counts: dict[str, int] = {}
    for node in nodes:
        name = node.label
        count = counts.get(name, 0) + 1
        while count > 1 and f"{name}#{count}" in taken:
            count += 1
        counts[name] = count
        if count > 1:
            node.label = f"{name}#{count}"
            taken.add(node.label)


def text(value: str, what: str) -> str:
    """``value`` if it is text: protobuf hands out bytes for a string that is not UTF-8."""
    if not isinstance(value, str):
        raise ModelFileError(f"the file is damaged: {what} is not text")
    return value


def _add_initializer(table: dict[str, np.ndarray], name: str, array: np.ndarray) -> None:
    if not text(name, "an initializer's name") or name in table:
        raise GraphError(f"initializer {name!r} is defined twice or has no name")
    table[name] = array


def parse_node(proto: onnx.NodeProto, index: int, external: ExternalData, outer: Set[str], depth: int) -> NodeDef:
    """One node with its attributes; subgraphs are parsed at once, tensors at first use."""
    for word in (proto.name, proto.op_type, proto.domain, proto.overload, *proto.input, *proto.output):
        text(word, f"a name in node number {index}")
    label = proto.name or f"{proto.op_type}_{index}"
    attrs: dict[str, Attr] = {}
    captured: frozenset[str] = frozenset()
    for a in proto.attribute:
        if text(a.name, f"an attribute's name in node {label!r}") in attrs:
            raise GraphError(f"node {label!r} has the attribute {a.name!r} twice")
        attrs[a.name] = attr = Attr(a, external, f"node {label!r}")
        if a.HasField("g"):
            attr.graph = parse_graph(a.g, external, outer, depth + 1)
            captured |= attr.graph.captured
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    if (domain, proto.op_type) == ("ai.onnx.preview.training", "Gradient") and "y" in attrs:
        captured |= {str(attrs["y"].value)}  # the value that it differentiates, which need not be an input of it
    return NodeDef(
        label, proto.op_type, domain, proto.overload, tuple(proto.input), tuple(proto.output), attrs, captured
    )


def order_nodes(
    nodes: list[NodeDef], known: Set[str], outer: Set[str], outputs: Iterable[str], where: str
) -> list[NodeDef]:
    """The nodes that ``outputs`` need, in topological order (file order where it is one)."""
    producer: dict[str, NodeDef] = {}
    for node in nodes:
        for name in node.outputs:
            if name and (name in producer or name in known):
                raise GraphError(f"{where}: value {name!r} is defined more than once (again by node {node.label!r})")
            if name:
                producer[name] = node
    for node in nodes:
        for name in (*node.inputs, *node.captured):
            if name and name not in producer and name not in known and name not in outer:
                raise GraphError(f"{where}: node {node.label!r} ({node.op}) reads {name!r}, which nothing defines")
    missing = [name for name in outputs if name not in producer and name not in known and name not in outer]
    if missing:
        raise GraphError(f"{where}: output {missing[0]!r} is not produced by any node")
    _sort(nodes, producer, where)  # cycles are errors even where no output needs them
    needed = [producer[name] for name in outputs if name in producer]
    return _sort(needed, producer, where, [*nodes])


def _sort(
    roots: list[NodeDef], producer: dict[str, NodeDef], where: str, file_order: list[NodeDef] | None = None
) -> list[NodeDef]:
    order: list[NodeDef] = []
    state: dict[int, int] = {}
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if done:
                state[id(node)] = 2
                order.append(node)
            elif state.get(id(node)) == 1:
                raise GraphError(f"{where} has a cycle through node {node.label!r} ({node.op})")
            elif id(node) not in state:
                state[id(node)] = 1
                stack.append((node, True))
                for name in (*node.inputs, *node.captured):
                    source = producer.get(name)
                    if source is None or state.get(id(source)) == 2:
                        continue
                    if state.get(id(source)) == 1:
                        raise GraphError(f"{where} has a cycle through node {source.label!r} ({source.op})")
                    stack.append((source, False))
    if file_order is not None:
        position = {id(n): i for i, n in enumerate(file_order)}
        by_file = sorted(order, key=lambda n: position[id(n)])
        if _is_ordered(by_file, producer):
            return by_file
    return order


def _is_ordered(nodes: list[NodeDef], producer: dict[str, NodeDef]) -> bool:
    seen: set[int] = set()
    for node in nodes:
        if any(name in producer and id(producer[name]) not in seen for name in (*node.inputs, *node.captured)):
            return False
        seen.add(id(node))
    return True


def parse_function(proto: onnx.FunctionProto, external: ExternalData, opsets: dict[str, int]) -> FunctionDef:
    """A function body; ``opsets`` are the model's, for what the function does not import itself."""
    where = f"function {proto.name!r}"
    for word in (proto.name, proto.domain, proto.overload, *proto.input, *proto.output, *proto.attribute):
        text(word, f"a name in {where}")
    known = set(proto.input)
    defined = known | {name for node in proto.node for name in node.output if name}
    nodes = [parse_node(n, i, external, defined, 0) for i, n in enumerate(proto.node)]
    # a schema's body may leave out outputs that this call does not ask for
    made = [name for name in proto.output if name in defined]
    ordered = order_nodes(nodes, known, frozenset(), made, where)
    own = {("" if o.domain == "ai.onnx" else o.domain): int(o.version) for o in proto.opset_import}
    defaults = {a.name: Attr(a, external, where) for a in proto.attribute_proto}
    return FunctionDef(
        proto.name, tuple(proto.input), tuple(proto.output), ordered, {**opsets, **own},
        (*proto.attribute, *defaults), defaults,
    )  # fmt: skip


def signature(info: onnx.ValueInfoProto) -> ShapeDtype:
    """Shape, dtype and kind that the model declares; sparse tensors and maps have neither."""
    return _typed(info.type, info)


def _typed(proto: onnx.TypeProto, info: onnx.ValueInfoProto, depth: int = 0) -> ShapeDtype:
    kind = proto.WhichOneof("value")
    if kind in ("sequence_type", "optional_type") and depth < 2:
        inner = _typed(getattr(proto, kind).elem_type, info, depth + 1)
        name = kind.removesuffix("_type")
        if (name, inner.kind) == ("sequence", "map"):
            return ShapeDtype(None, inner.dtype, "sequence of maps", encoded=True)
        if inner.kind == "tensor":
            return ShapeDtype(None, inner.dtype, name)
        if (name, inner.kind) == ("optional", "sequence"):
            return ShapeDtype(None, inner.dtype, "optional sequence")
    if kind == "map_type" and depth < 2:
        return ShapeDtype(None, _typed(proto.map_type.value_type, info, 2).dtype, "map", encoded=True)
    if kind != "tensor_type":
        return ShapeDtype(None, None)
    tensor = proto.tensor_type
    if tensor.elem_type == onnx.TensorProto.UNDEFINED:
        dtype = None
    elif tensor.elem_type == onnx.TensorProto.STRING:
        dtype = np.dtype(object)
    else:
        dtype = dtype_of(tensor.elem_type, f"value {info.name!r}")
    if not tensor.HasField("shape"):
        return ShapeDtype(None, dtype)
    dims: list[Dim] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value"):
            dims.append(int(dim.dim_value))
        else:
            dims.append(text(dim.dim_param, f"a dimension of {info.name!r}") or None)
    checked_shape([d for d in dims if isinstance(d, int)], f"value {info.name!r}")
    return ShapeDtype(tuple(dims), dtype)


def read_opsets(model: onnx.ModelProto, oldest: int) -> dict[str, int]:
    """Domain to version; the standard domain must lie between ``oldest`` and what the onnx package knows."""
    if model.ir_version < 3:
        raise ModelFileError(
            f"the model has IR version {model.ir_version}; 3 is the oldest supported: convert the model"
        )
    opsets = {("" if o.domain == "ai.onnx" else o.domain): int(o.version) for o in model.opset_import}
    newest = onnx.defs.onnx_opset_version()
    version = opsets.get("")
    if version is None:
        if any(n.domain in ("", "ai.onnx") for n in model.graph.node):
            raise ModelFileError("the model does not say which opset version it uses")
    elif not oldest <= version <= newest:
        raise ModelFileError(
            f"the model uses opset {version}; {oldest} to {newest} are supported: "
            "export it again, or convert it with onnx.version_converter"
        )
    return opsets
