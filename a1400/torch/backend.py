"""The backend of ``torch.compile``: AOTAutograd makes forward and backward graphs of ATen operators, which run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch._dynamo.backends.common import aot_autograd
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._guards import TracingContext
from torch.fx import GraphModule

from a1400.backends.base import Device
from a1400.torch.compiled import CompiledGraph
from a1400.torch.decompositions import decompositions
from a1400.torch.joint import drop_unread
from a1400.torch.options import Options
from a1400.torch.split import with_fallback


def boxed(graph: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], list[Any]]:
    """As AOTAutograd wants it: a function of one list of arguments, which it empties."""

    def run(arguments: list[Any]) -> list[Any]:
        return graph(arguments)

    run._boxed_call = True  # type: ignore[attr-defined]
    return run


def compiler(device: Device, options: Options, name: str) -> Callable[[GraphModule, Sequence[Any]], Any]:
    """What compiles one graph of AOTAutograd's."""

    def compile_graph(module: GraphModule, inputs: Sequence[Any]) -> Any:
        static: Sequence[int] = ()
        context = TracingContext.try_get()
        if name == "forward" and context is not None and context.fw_metadata is not None:
            static = context.fw_metadata.static_input_indices
        if options.fallback == "torch":
            return with_fallback(module, lambda part: CompiledGraph(part, device, options, name=name))
        return boxed(CompiledGraph(module, device, options, static, name=name))

    return compile_graph


def cut(options: Options) -> Callable[..., Any]:
    """What cuts a joint graph into forward and backward."""

    def partition(module: GraphModule, inputs: Any, **keywords: Any) -> Any:
        if options.fallback is None:
            drop_unread(module)
        return min_cut_rematerialization_partition(module, inputs, **keywords)

    return partition


def a1400(
    module: GraphModule, inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None, mode: str | None = None
) -> Callable[..., Any]:
    """``torch.compile(model, backend="a1400", options={...})``, see :class:`~a1400.torch.options.Options`."""
    chosen = Options.read(options)
    device = chosen.open()
    return aot_autograd(
        fw_compiler=compiler(device, chosen, "forward"), bw_compiler=compiler(device, chosen, "backward"),
        inference_compiler=compiler(device, chosen, "inference"), decompositions=dict(decompositions()),
        partition_fn=cut(chosen),
    )(module, inputs)  # fmt: skip
