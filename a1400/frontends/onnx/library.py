"""Finding what an op means: our translators, the model's own functions, the bodies that ONNX's schemas give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx

from a1400.errors import GraphError, UnsupportedOpError
from a1400.frontends.onnx.definitions import Attr, FunctionDef, GraphDef, NodeDef
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.ops.registry import Translator, find
from a1400.frontends.onnx.parse import parse_function
from a1400.graph.graph import Value

_BLOCKED = (
    "operators of com.microsoft.nchwc keep their weights in an order made for one kind of CPU, which the file does not "
    "tell: write it with graph_optimization_level = ORT_ENABLE_EXTENDED instead of ORT_ENABLE_ALL"
)
#: nodes of one trace, unrolled loops and inlined functions included
MAX_NODES = 500_000


class Library:
    """The functions of one model, and a cache of schema bodies."""

    def __init__(self, model: onnx.ModelProto, opsets: dict[str, int], external: ExternalData) -> None:
        self._functions: dict[tuple[str, str, str], FunctionDef] = {}
        self._bodies: dict[tuple[str, str, int], FunctionDef | None] = {}
        self._external = external
        for proto in model.functions:
            domain = "" if proto.domain == "ai.onnx" else proto.domain
            key = (domain, proto.name, proto.overload)
            if key in self._functions:
                raise GraphError(f"function {domain}::{proto.name} is defined twice")
            self._functions[key] = parse_function(proto, external, opsets)
        self._reject_explosions()

    def _reject_explosions(self) -> None:
        sizes: dict[int, int] = {}

        def visit(function: FunctionDef, path: tuple[int, ...]) -> int:
            """How many nodes the function is when inlined all the way down."""
            if id(function) in path or len(path) > 60:
                raise GraphError(f"function {function.name!r} calls itself, or functions nest too deep")
            if id(function) not in sizes:
                inner = (self.function(node) for node in all_nodes(function.nodes))
                count = sum(1 if f is None else visit(f, (*path, id(function))) for f in inner)
                if count > MAX_NODES:
                    raise GraphError(f"function {function.name!r} expands to more than {MAX_NODES} nodes")
                sizes[id(function)] = count
            return sizes[id(function)]

        for function in self._functions.values():
            visit(function, ())

    def function(self, node: NodeDef) -> FunctionDef | None:
        """The model's own function that ``node`` calls."""
        return self._functions.get(node.key)

    def translator(self, node: NodeDef, opsets: dict[str, int]) -> Translator | None:
        """Our translator for ``node`` at the opset in force."""
        return find(node.domain, node.op, opsets.get(node.domain, 1))

    def schema_body(
        self, node: NodeDef, inputs: Sequence[object], opsets: dict[str, int], attrs: dict[str, Attr]
    ) -> FunctionDef | None:
        """The body that ONNX defines for the op in terms of simpler ops, or None."""
        version = opsets.get(node.domain, 1)
        schema = _schema(node, version)
        if schema is None:
            return None
        if schema.has_function:
            key = (node.domain, node.op, version)
            if key not in self._bodies:
                # the newest body that the opset in force allows
                versions = [v for v in schema.function_opset_versions if v <= version] or [schema.since_version]
                proto = onnx.FunctionProto.FromString(schema.get_function_with_opset_version(max(versions)))
                self._bodies[key] = self._parsed(proto, opsets, schema)
            return self._bodies[key]
        if schema.has_context_dependent_function:
            return self._contextual(schema, node, inputs, opsets, attrs)
        return None

    def _contextual(
        self,
        schema: Any,
        node: NodeDef,
        inputs: Sequence[object],
        opsets: dict[str, int],
        attrs: dict[str, Attr],
    ) -> FunctionDef | None:
        bound = onnx.NodeProto(op_type=node.op, domain=node.domain, name=node.label)
        bound.input.extend(name if value is not None else "" for name, value in zip(node.inputs, inputs))
        bound.output.extend(node.outputs)
        for name, attr in attrs.items():
            bound.attribute.add().CopyFrom(attr.proto)
            bound.attribute[-1].name = name
        types = []
        for value in inputs:
            if isinstance(value, Value):
                kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
                types.append(onnx.helper.make_tensor_type_proto(kind, value.shape).SerializeToString())
            else:
                types.append(onnx.TypeProto().SerializeToString())
        version = opsets.get(node.domain, 1)
        versions = [v for v in schema.context_dependent_function_opset_versions if v <= version] or [
            schema.since_version
        ]
        try:
            body = schema.get_context_dependent_function_with_opset_version(
                max(versions), bound.SerializeToString(), types
            )
        except Exception as error:  # the builder is foreign code: whatever it throws means "no body for this use"
            raise UnsupportedOpError(f"this use of the operator is not supported ({type(error).__name__})") from None
        return self._parsed(onnx.FunctionProto.FromString(body), opsets, schema) if body else None

    def _parsed(self, proto: onnx.FunctionProto, opsets: dict[str, int], schema: Any) -> FunctionDef:
        function = parse_function(proto, self._external, opsets)
        for name, attribute in schema.attributes.items():
            if attribute.default_value is not None and attribute.default_value.name:
                function.defaults.setdefault(
                    name, Attr(attribute.default_value, self._external, f"schema of {schema.name}")
                )
        return function

    # ---- what is not supported -----------------------------------------------------------------------
    def check(self, graph: GraphDef, opsets: dict[str, int]) -> None:
        """Raise :class:`UnsupportedOpError` that lists every op nobody can translate, with its nodes."""
        missing: dict[str, list[str]] = {}
        visited: set[int] = set()

        def visit(nodes: list[NodeDef], opsets: dict[str, int], prefix: str) -> None:
            for node in all_nodes(nodes):
                function = self.function(node)
                if function is not None:
                    if id(function) not in visited:
                        visited.add(id(function))
                        visit(function.nodes, function.opsets, f"{prefix}{node.label}/")
                elif self.translator(node, opsets) is None and not _has_body(node, opsets):
                    missing.setdefault(node.qualified, []).append(prefix + node.label)

        visit(graph.nodes, opsets, "")
        if missing:
            lines = [
                f"  {op}: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}" for op, names in missing.items()
            ]
            hint = f"\n{_BLOCKED}" if any(op.startswith("com.microsoft.nchwc::") for op in missing) else ""
            raise UnsupportedOpError(
                "the model uses operators that are not supported:\n" + "\n".join(sorted(lines)) + hint
            )


def all_nodes(nodes: list[NodeDef]) -> list[NodeDef]:
    """The nodes and those of their subgraphs."""
    found: list[NodeDef] = []
    stack = list(reversed(nodes))
    while stack:
        node = stack.pop()
        found.append(node)
        for attr in node.attrs.values():
            if attr.graph is not None:
                stack.extend(reversed(attr.graph.nodes))
    return found


def _schema(node: NodeDef, version: int) -> Any:
    try:
        return onnx.defs.get_schema(node.op, version, node.domain)
    except onnx.defs.SchemaError:
        return None


#: these have a body, but it needs what the engine does not have (sequences of unknown length)
_UNUSABLE_BODIES = {"SequenceMap"}


def _has_body(node: NodeDef, opsets: dict[str, int]) -> bool:
    schema = _schema(node, opsets.get(node.domain, 1))
    usable = schema is not None and (schema.has_function or schema.has_context_dependent_function)
    return usable and node.op not in _UNUSABLE_BODIES
