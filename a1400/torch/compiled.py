"""A graph of ATen operators on a device: translated, planned and run, once for each set of shapes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx import GraphModule, Node
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import _disable_current_modes

from a1400.backends.base import Device
from a1400.engine.program import Program, States, Weights
from a1400.errors import InputError
from a1400.frontends.torch import Given, Translation, translate
from a1400.frontends.torch.arrays import array_of, tensor_of
from a1400.frontends.torch.dtypes import to_numpy
from a1400.graph.tensor import Tensor
from a1400.torch.layout import inverse, is_plain, number, order_of
from a1400.torch.options import Options
from a1400.train.random import STATE, initial_state

_ATEN = torch.ops.aten
#: views that are made of a result by PyTorch itself, so that a tensor and its views are one array
_VIEWS = (
    _ATEN.view.default, _ATEN.permute.default, _ATEN.transpose.int, _ATEN.t.default, _ATEN.unsqueeze.default,
    _ATEN.squeeze.dim, _ATEN.squeeze.dims, _ATEN.squeeze.default, _ATEN.expand.default, _ATEN.alias.default,
    _ATEN.detach.default,
)  # fmt: skip
#: views that leave parts out: of inputs only, as a result would be kept whole for a part
_PARTS = (_ATEN.slice.Tensor, _ATEN.select.int)


@dataclass(frozen=True)
class _Feed:
    """Placeholder ``place`` goes to the graph's input ``name``, its axes in ``order``."""

    place: int
    name: str
    order: tuple[int, ...]


@dataclass(frozen=True)
class _Result:
    """One output: a value that is known, an input or an output of the graph, and views of it."""

    known: Any = None
    place: int | None = None
    name: str | None = None
    order: tuple[int, ...] = ()
    views: tuple[tuple[Any, tuple[Any, ...], dict[str, Any]], ...] = ()


@dataclass(frozen=True)
class _Plan:
    program: Program | None
    feeds: tuple[_Feed, ...]
    results: tuple[_Result, ...]
    random: bool


class CompiledGraph:
    """Runs ``module``; tensors in and out lie where PyTorch has them.

    ``static`` are the placeholders whose tensors are the same ones in each call (parameters).  ``constants`` are
    placeholders whose values never change, by number.  Raises
    :class:`~a1400.frontends.torch.translate.UnsupportedNodesError` for operators that are not supported.
    """

    def __init__(
        self, module: GraphModule, device: Device, options: Options, static: Sequence[int] = (),
        constants: dict[int, torch.Tensor] | None = None, name: str = "torch",
    ) -> None:  # fmt: skip
        self._module, self._device, self._options, self._name = module, device, options, name
        self._weights = Weights(device)
        self._placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
        (self._output,) = (n for n in module.graph.nodes if n.op == "output")
        self._constants = constants or {}
        self._static = frozenset(static)
        self._arrays: dict[int, tuple[int, np.ndarray]] = {}
        self._plans: OrderedDict[Any, _Plan] = OrderedDict()
        self._symbolic = [i for i, n in enumerate(self._placeholders) if _is_symbolic(n.meta.get("val"))]
        examples = [n.meta.get("val") for n in self._placeholders]
        self._plans[self._key(examples)] = self._plan(examples)

    @property
    def programs(self) -> list[Program]:
        """What runs, of every plan there is."""
        return [p.program for p in self._plans.values() if p.program is not None]

    def __call__(self, arguments: list[Any]) -> list[Any]:
        """Run; ``arguments`` is emptied."""
        given = list(arguments)
        arguments.clear()
        key = self._key(given)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(given)
            if len(self._plans) > self._options.max_plans:
                self._plans.popitem(last=False)
        elif self._symbolic:
            self._plans.move_to_end(key)
        outputs: dict[str, torch.Tensor] = {}
        if plan.program is not None:
            feeds: dict[str, Any] = {f.name: self._array(f, given[f.place]) for f in plan.feeds}
            if plan.random:
                feeds[STATE] = initial_state(int(torch.empty((), dtype=torch.int64).random_()))
            outputs = {name: tensor_of(array) for name, array in plan.program.run(feeds).items()}
        return [_made(r, given, outputs) for r in plan.results]

    # ---- arguments -----------------------------------------------------------------------------------
    def _key(self, arguments: Sequence[Any]) -> Any:
        """What of the arguments a plan depends on and dynamo does not guard."""
        found: list[Any] = []
        for i in self._symbolic:
            a = arguments[i]
            found.append(tuple(map(number, a.shape)) if isinstance(a, torch.Tensor) else _plain(a))
        return tuple(found)

    def _array(self, feed: _Feed, tensor: torch.Tensor) -> np.ndarray:
        if feed.place in self._static:
            known = self._arrays.get(feed.place)
            if known is not None and known[0] == tensor.data_ptr() and tensor.data_ptr():
                return known[1]
        if tensor.device.type != "cpu":
            raise InputError(f"input {feed.place} lies on {tensor.device}; give tensors of the CPU")
        moved = tensor.detach()
        if not is_plain(feed.order):
            moved = moved.permute(feed.order)
        array = array_of(moved.contiguous())
        if feed.place in self._static and moved.is_contiguous():
            self._arrays[feed.place] = tensor.data_ptr(), array
        return array

    # ---- planning ------------------------------------------------------------------------------------
    def _plan(self, arguments: Sequence[Any]) -> _Plan:
        with _disable_current_modes():  # PyTorch compiles with fake tensors; what is read here is real
            return self._planned(arguments)

    def _planned(self, arguments: Sequence[Any]) -> _Plan:
        wanted = list(self._output.args[0]) if isinstance(self._output.args[0], (list, tuple)) else [
            self._output.args[0]
        ]  # fmt: skip
        roots = [_root(n) if isinstance(n, Node) else (None, ()) for n in wanted]
        given = [self._given(i, self._constants.get(i, a)) for i, a in enumerate(arguments)]
        computed = [r for r, _ in roots if r is not None and r.op != "placeholder"]
        numbers = [a for _, chain in roots for n in chain for a in n.all_input_nodes[1:]]
        translation = translate(self._module, given, [*computed, *numbers, *_sizes(roots)], self._name)
        graph = translation.graph
        names: dict[Node, str] = {}
        results = []
        for item, (root, chain) in zip(wanted, roots):
            if root is None:
                results.append(_Result(known=item))
                continue
            views = tuple(_step(n, translation) for n in reversed(chain))
            if root.op == "placeholder":
                results.append(_Result(place=self._placeholders.index(root), views=views))
                continue
            value = translation.items[root]
            if not isinstance(value, Tensor):
                results.append(_Result(known=value))
                continue
            fake = root.meta.get("val")
            order = order_of(fake.shape, fake.stride()) if isinstance(fake, torch.Tensor) else None
            order = order if order is not None and len(order) == value.rank else tuple(range(value.rank))
            name = names.get(root)
            if name is None:
                name = names[root] = f"output{len(names)}"
                graph.output(name, value.transpose(order).value)
            results.append(_Result(name=name, order=order, views=views))
        program = None
        if graph.outputs:
            program = Program(
                graph, self._device, States(self._device), weights=self._weights, disable=self._options.disable,
                precision=self._options.chosen_precision,
            )  # fmt: skip
        feeds = []
        for i, each in enumerate(given):
            if isinstance(each, Given) and f"input{i}" in graph.inputs:
                feeds.append(_Feed(i, f"input{i}", each.order or tuple(range(len(each.shape)))))
        return _Plan(program, tuple(feeds), tuple(results), translation.random)

    def _given(self, place: int, argument: Any) -> Given | int | float | bool | None:
        if not isinstance(argument, torch.Tensor):
            return _plain(argument)
        shape = tuple(map(number, argument.shape))
        dtype = to_numpy(argument.dtype) if argument.dtype.is_complex is False else np.dtype(np.complex64)
        order = order_of(argument.shape, argument.stride())
        constant = self._constants.get(place)
        if constant is not None:
            order = order or tuple(range(len(shape)))
            return Given(shape, dtype, order, array_of(constant.detach().permute(order).contiguous()))
        return Given(shape, dtype, order)


def _plain(argument: Any) -> Any:
    if argument is None or isinstance(argument, (bool, int, float)):
        return argument
    if isinstance(argument, torch.SymInt):
        return number(argument)
    if isinstance(argument, (torch.SymFloat, torch.SymBool)):
        return argument.node.hint
    return argument


def _is_symbolic(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return any(not isinstance(n, int) for n in value.shape)
    return isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool, int, float))


def _root(node: Node) -> tuple[Node, tuple[Node, ...]]:
    """What ``node`` is a view of, and the views from it back to there."""
    chain: list[Node] = []
    while node.op == "call_function" and (node.target in _VIEWS or node.target in _PARTS):
        chain.append(node)
        node = node.all_input_nodes[0]
    if node.op != "placeholder":
        # parts, and all that is made of them, are computed
        parts = [i for i, n in enumerate(chain) if n.target in _PARTS]
        if parts:
            return chain[parts[0]], tuple(chain[: parts[0]])
    return node, tuple(chain)


def _sizes(roots: Sequence[tuple[Node | None, tuple[Node, ...]]]) -> list[Node]:
    return [r for r, _ in roots if r is not None and r.op == "placeholder" and not _is_tensor(r)]


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _step(node: Node, translation: Translation) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
    rest = map_aggregate(node.args[1:], lambda a: translation.items[a] if isinstance(a, Node) else a)
    keywords = map_aggregate(node.kwargs, lambda a: translation.items[a] if isinstance(a, Node) else a)
    return node.target, tuple(rest), dict(keywords)


def _made(result: _Result, given: Sequence[Any], outputs: dict[str, torch.Tensor]) -> Any:
    if result.name is not None:
        tensor = outputs[result.name]
        if not is_plain(result.order):
            tensor = tensor.permute(inverse(result.order))
    elif result.place is not None:
        tensor = given[result.place]
    else:
        return result.known
    for target, arguments, keywords in result.views:
        tensor = target(tensor, *arguments, **keywords)
    return tensor
