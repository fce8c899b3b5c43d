"""FX graphs of ATen operators, as AOTAutograd and torch.export make them, as graphs for concrete shapes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate

from a1400.errors import A1400Error, UnsupportedOpError
from a1400.frontends.torch import ops  # noqa: F401 - importing the families registers their translators
from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.dtypes import to_numpy
from a1400.frontends.torch.registry import find
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor
from a1400.train.random import STATE

#: functions on Python's numbers that stand in graphs of dynamic shapes
_ON_NUMBERS = (
    operator.add, operator.sub, operator.mul, operator.floordiv, operator.truediv, operator.mod, operator.pow,
    operator.neg, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge, operator.and_,
    operator.or_, torch.sym_max, torch.sym_min, torch.sym_float, torch.sym_int, torch.sym_not, torch.sym_ite,
)  # fmt: skip


@dataclass(frozen=True)
class Given:
    """A tensor that a graph is called with: what of it is in memory, densely, is ``array shape`` in ``dtype``.

    ``order`` says which axis of the tensor each axis of that memory is, outermost first; ``data`` makes it a constant.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    order: tuple[int, ...] | None = None
    data: np.ndarray | None = None


@dataclass
class Translation:
    """The graph, with inputs named by the number of the placeholder, and what each wanted node became."""

    graph: Graph
    items: dict[Node, Any] = field(default_factory=dict)

    @property
    def random(self) -> bool:
        """Whether it needs a seed."""
        return STATE in self.graph.inputs


def unsupported(module: GraphModule) -> list[Node]:
    """The nodes whose operators have no translator at all."""
    return [n for n in module.graph.nodes if n.op in ("call_function", "call_module", "call_method") and not _known(n)]


def _known(node: Node) -> bool:
    if node.op != "call_function":
        return False
    return node.target is operator.getitem or node.target in _ON_NUMBERS or find(node.target) is not None


def translate(
    module: GraphModule, given: Sequence[Given | int | float | bool | None], wanted: Sequence[Node], name: str = "torch"
) -> Translation:
    """Write the nodes that ``wanted`` need into a new graph.

    ``given`` holds for each placeholder what it is called with: tensors, or numbers in the place of symbolic sizes.
    Raises :class:`UnsupportedOpError` with every node that cannot be translated and why; its ``nodes`` are theirs.
    """
    graph = Graph(name)
    result = Translation(graph)
    context, items = Ctx(graph), result.items
    failures: list[tuple[Node, str]] = []
    needed = _needed(wanted)
    placeholders = 0
    for node in module.graph.nodes:
        if node.op == "placeholder":
            if node in needed:
                items[node] = _input(graph, f"input{placeholders}", given[placeholders])
            placeholders += 1
        elif node in needed and node.op == "get_attr":
            items[node] = _attribute(graph, module, node)
        elif node in needed and node.op != "output" and all(n in items for n in node.all_input_nodes):
            try:
                items[node] = _call(context, node, items)
            except A1400Error as error:
                failures.append((node, str(error)))
    if failures:
        raise refusal(failures)
    return result


class UnsupportedNodesError(UnsupportedOpError):
    """Nodes that cannot be translated: ``nodes``."""

    nodes: tuple[Node, ...] = ()


def refusal(failures: Sequence[tuple[Node, str]]) -> UnsupportedNodesError:
    """The error that lists nodes, each with its reason, equal ones once."""
    lines = dict.fromkeys(f"{node.target}: {why}" for node, why in failures)
    error = UnsupportedNodesError(
        "these operators of the model are not supported; options={'fallback': 'torch'} leaves them to PyTorch:\n  "
        + "\n  ".join(lines)
    )
    error.nodes = tuple(node for node, _ in failures)
    return error


def _needed(wanted: Sequence[Node]) -> set[Node]:
    found, stack = set(), list(wanted)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found


def _input(graph: Graph, name: str, given: Any) -> Any:
    if not isinstance(given, Given):
        return given
    order = given.order or tuple(range(len(given.shape)))
    if given.data is not None:
        value = graph.constant(given.data, name=name)
    else:
        value = graph.input(name, tuple(given.shape[d] for d in order), given.dtype)
    return Tensor(graph, value).transpose([order.index(d) for d in range(len(order))])


def _attribute(graph: Graph, module: GraphModule, node: Node) -> Any:
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    if not isinstance(found, torch.Tensor):
        return found
    node.meta.setdefault("val", found)
    from a1400.frontends.torch.arrays import array_of

    return Tensor(graph, graph.constant(array_of(found.detach().contiguous())))


def _call(context: Ctx, node: Node, items: dict[Node, Any]) -> Any:
    arguments = map_aggregate(node.args, lambda a: items[a] if isinstance(a, Node) else a)
    keywords = map_aggregate(node.kwargs, lambda a: items[a] if isinstance(a, Node) else a)
    target: Any = node.target
    if target is operator.getitem or target in _ON_NUMBERS:
        return target(*arguments, **keywords)
    translator = find(target)
    if translator is None:
        raise UnsupportedOpError("there is no translation of it")
    context.node, context.graph.source = node, (node.name,)
    try:
        result = translator(context, *arguments, **keywords)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise UnsupportedOpError(f"called in a way that is not supported ({error})") from None
    expected = node.meta.get("val")
    if isinstance(result, Tensor) and isinstance(expected, torch.Tensor) and result.dtype != to_numpy(expected.dtype):
        result = result.cast(to_numpy(expected.dtype))
    return result
