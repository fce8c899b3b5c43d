"""Functions of PyTorch tensors taken apart by AOTAutograd, their graphs run by this package without dynamo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch._functorch.aot_autograd import aot_function
from torch.fx import GraphModule, Node

from a1400.backends.base import Device
from a1400.frontends.torch import Given, translate
from a1400.frontends.torch.arrays import array_of, tensor_of
from a1400.frontends.torch.dtypes import to_numpy
from a1400.graph.graph import evaluate
from a1400.graph.tensor import Tensor
from a1400.torch.backend import boxed, cut
from a1400.torch.compiled import CompiledGraph
from a1400.torch.decompositions import decompositions
from a1400.torch.options import Options


def compiled(
    function: Callable[..., Any], device: Device | None = None, seen: list[GraphModule] | None = None
) -> Callable[..., Any]:
    """``function``, forward and backward, by the ops' NumPy references or on a device; ``seen`` gets the graphs."""

    def compile_graph(module: GraphModule, inputs: Sequence[Any]) -> Any:
        if seen is not None:
            seen.append(module)
        if device is not None:
            return boxed(CompiledGraph(module, device, Options()))
        by_references(module, [n.meta["val"] for n in module.graph.nodes if n.op == "placeholder"], run=False)
        return boxed(lambda arguments: by_references(module, arguments))

    return aot_function(
        function, fw_compiler=compile_graph, bw_compiler=compile_graph, inference_compiler=compile_graph,
        decompositions=dict(decompositions()), partition_fn=cut(Options()),
    )  # fmt: skip


def by_references(module: GraphModule, inputs: Sequence[Any], run: bool = True) -> list[Any]:
    """What the graph's NumPy references make of it."""
    given = [Given(tuple(x.shape), to_numpy(x.dtype)) if isinstance(x, torch.Tensor) else x for x in inputs]
    (output,) = (n for n in module.graph.nodes if n.op == "output")
    wanted = list(output.args[0])
    made = translate(module, given, [n for n in wanted if isinstance(n, Node)])
    if not run:
        return []
    graph = made.graph
    for i, node in enumerate(wanted):
        item = made.items.get(node) if isinstance(node, Node) else None
        if isinstance(item, Tensor):
            graph.output(f"output{i}", item.value)
    feeds = {f"input{i}": array_of(x.detach().contiguous()) for i, x in enumerate(inputs) if hasattr(x, "detach")}
    found = evaluate(graph, {name: feeds.get(name, np.arange(3, dtype=np.uint32)) for name in graph.inputs})
    results = []
    for i, node in enumerate(wanted):
        if f"output{i}" in found:
            array = found[f"output{i}"]
            results.append(tensor_of(np.array(array).reshape(array.shape)))
        else:
            results.append(made.items.get(node) if isinstance(node, Node) else node)
    return results
