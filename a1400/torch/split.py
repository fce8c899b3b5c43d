"""Graphs of which some operators are left to PyTorch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.passes.split_module import split_module

from a1400.frontends.torch import unsupported
from a1400.frontends.torch.translate import UnsupportedNodesError

_warned: set[str] = set()


def with_fallback(module: GraphModule, compile_part: Callable[[GraphModule], Any]) -> Callable[[list[Any]], Any]:
    """``module`` with every part that can be compiled so, and PyTorch for the rest, each operator warned of once."""
    left = set(unsupported(module))
    while True:
        try:
            return _split(module, left, compile_part)
        except _PartError as error:
            left |= error.nodes


class _PartError(Exception):
    def __init__(self, nodes: set[Node]) -> None:
        super().__init__()
        self.nodes = nodes


def _split(module: GraphModule, left: set[Node], compile_part: Callable[[GraphModule], Any]) -> Callable[..., Any]:
    parts, ours = _parts(module, left)
    if not left:
        return _compiled(module, compile_part, {n.name: n for n in module.graph.nodes})
    for node in left:
        _warn(node)
    whole = split_module(module, None, lambda node: parts[node])  # type: ignore[arg-type]
    by_name = {n.name: n for n in module.graph.nodes}
    for name, part in list(whole.named_children()):
        assert isinstance(part, GraphModule)
        number = int(name.rpartition("_")[2])
        if number in ours:
            setattr(whole, name, _Part(_compiled(part, compile_part, by_name), _is_single(part)))
    interpreter = torch.fx.Interpreter(whole)

    def run(arguments: list[Any]) -> Any:
        given = list(arguments)
        arguments.clear()
        return interpreter.run(*given)

    run._boxed_call = True  # type: ignore[attr-defined]
    return run


class _Part(torch.nn.Module):
    def __init__(self, function: Any, single: bool) -> None:
        super().__init__()
        self._function, self._single = function, single

    def forward(self, *arguments: Any) -> Any:
        made = self._function(list(arguments))
        return made[0] if self._single else tuple(made)


def _is_single(part: GraphModule) -> bool:
    (output,) = (n for n in part.graph.nodes if n.op == "output")
    return not isinstance(output.args[0], (tuple, list))


def _compiled(part: GraphModule, compile_part: Callable[[GraphModule], Any], by_name: dict[str, Node]) -> Any:
    try:
        return compile_part(part)
    except UnsupportedNodesError as error:
        found = {by_name[n.name] for n in error.nodes if n.name in by_name}
        if not found:
            raise
        raise _PartError(found) from None


def _parts(module: GraphModule, left: set[Node]) -> tuple[dict[Node, int], set[int]]:
    """The number of each node's part - even ones are ours -, so that no part needs a later one."""
    parts: dict[Node, int] = {}
    for node in module.graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        theirs = node in left
        first = max((parts[n] for n in node.all_input_nodes if n in parts), default=0)
        parts[node] = first if first % 2 == theirs else first + 1
    return parts, {p for p in parts.values() if p % 2 == 0}


def _warn(node: Node) -> None:
    name = str(node.target)
    if name not in _warned:
        _warned.add(name)
        warnings.warn(f"a1400 leaves {name} to PyTorch", stacklevel=2)
