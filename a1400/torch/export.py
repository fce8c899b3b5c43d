"""``a1400.load(module, example_inputs)``: a PyTorch module through torch.export, its parameters as constants."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from a1400.engine.program import Program
from a1400.errors import InputError
from a1400.frontends.torch.registry import supported
from a1400.torch.compiled import CompiledGraph
from a1400.torch.decompositions import decompositions
from a1400.torch.options import Options


class TorchModel:
    """A module for inference: called as the module was, with tensors or NumPy arrays; gives tensors.

    Its parameters are read when it is loaded: where kernels take them as they are their memory is the module's own.
    """

    def __init__(self, program: Any, options: Options) -> None:
        self._signature = program.graph_signature
        self._spec = program.call_spec
        constants: dict[int, torch.Tensor] = {}
        placeholders = [n for n in program.graph.nodes if n.op == "placeholder"]
        self._places: list[int] = []
        held = {**program.state_dict, **program.constants}
        for place, (node, spec) in enumerate(zip(placeholders, self._signature.input_specs)):
            if spec.kind.name == "USER_INPUT":
                self._places.append(place)
            elif isinstance(held.get(spec.target), torch.Tensor):
                constants[place] = node.meta["val"] = held[spec.target]
        if self._signature.buffers_to_mutate or self._signature.user_inputs_to_mutate:
            raise InputError("the module changes buffers or inputs in place; use torch.compile(..., backend='a1400')")
        self._count = len(placeholders)
        self._compiled = CompiledGraph(program.graph_module, options.open(), options, constants=constants, name="model")

    @property
    def programs(self) -> list[Program]:
        """What runs."""
        return self._compiled.programs

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run once; raises :class:`InputError` for arguments that are not as in the example."""
        flat, spec = pytree.tree_flatten((arguments, keywords))
        if spec != self._spec.in_spec:
            raise InputError(f"the model is called as {self._spec.in_spec}, not as {spec}")
        given: list[Any] = [None] * self._count
        for place, argument in zip(self._places, flat):
            given[place] = argument if isinstance(argument, (torch.Tensor, int, float)) else torch.as_tensor(argument)
        with torch.no_grad():
            return pytree.tree_unflatten(self._compiled(given), self._spec.out_spec)


def load_module(
    module: torch.nn.Module, example_inputs: Sequence[Any], *, keywords: dict[str, Any] | None = None,
    dynamic_shapes: Any = None, backend: str | None = None, device: str | int | None = None,
    precision: str | None = None, disable: Collection[str] = (),
) -> TorchModel:  # fmt: skip
    """A module on a device, for inference: exported with ``example_inputs``, ``dynamic_shapes`` as for torch.export.

    Raises :class:`~a1400.errors.UnsupportedOpError` with the list of what is not supported.
    """
    options = Options(backend=backend, device=device, precision=precision, disable=disable)
    with torch.no_grad():
        exported = torch.export.export(module, tuple(example_inputs), keywords or {}, dynamic_shapes=dynamic_shapes)
        table = torch.export.default_decompositions()
        for op in supported() & set(table):
            table.pop(op)
        table.update(decompositions())
        exported = exported.run_decompositions(table)
    return TorchModel(exported, options)
