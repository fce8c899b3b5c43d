"""What can be trained: a network names its inputs, outputs and parameters, and writes itself into a graph.

A network is traced once for each batch shape and purpose (training, evaluation, prediction); its parameters come in as
tensors of that graph, so that the same trace serves whatever memory they lie in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from a1400.errors import InputError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor

if TYPE_CHECKING:
    from a1400.train.random import RandomSource

#: an input's shape, None where a size is the batch's (axis 0) or the data's matter, and its dtype
InputShape = tuple[tuple[int | None, ...], np.dtype]


@dataclass
class Traced:
    """What a network made of its inputs.

    ``outputs`` by name; ``updates``: new values of buffers (running statistics), of the buffers' shapes and dtypes;
    ``penalties``: scalars that are added to the loss (regularizers); ``masks``: which samples (and positions) of an
    output count in its loss and metrics (bool), where not all of them do.
    """

    outputs: dict[str, Tensor]
    updates: dict[str, Tensor] = field(default_factory=dict)
    penalties: list[Tensor] = field(default_factory=list)
    masks: dict[str, Tensor] = field(default_factory=dict)


class Network(Protocol):
    """The face that the trainer sees.

    ``parameters`` are trained, ``buffers`` are not, but a training step may update them; both are by name, with their
    current values on the host.  ``trace`` appends the network to ``graph`` and may be called many times; it sets
    ``graph.source`` to the layer it is writing (:func:`layer`), which is how errors name it.
    """

    @property
    def inputs(self) -> Mapping[str, InputShape]:
        """Inputs by name, in order."""
        ...

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the outputs, in order."""
        ...

    @property
    def parameters(self) -> MutableMapping[str, np.ndarray]:
        """What is trained."""
        ...

    @property
    def buffers(self) -> MutableMapping[str, np.ndarray]:
        """What is not."""
        ...

    def trace(
        self, graph: Graph, inputs: dict[str, Tensor], parameters: dict[str, Tensor], buffers: dict[str, Tensor],
        training: bool, random: RandomSource,
    ) -> Traced:  # fmt: skip
        """Write the network for these inputs into ``graph``."""
        ...


@contextmanager
def layer(graph: Graph, name: str) -> Iterator[None]:
    """Nodes appended inside belong to the layer called ``name``."""
    before, graph.source = graph.source, (name,)
    try:
        yield
    finally:
        graph.source = before


class FunctionNetwork:
    """A network written as a function of tensors.

    ``function(inputs, parameters, buffers, training, random)`` gets dicts of tensors and gives the output's tensor, a
    dict of them, or a :class:`Traced`.  ``inputs`` maps a name to (shape, dtype), None for the batch axis.

    >>> def dense(inputs, parameters, buffers, training, random):
    ...     return inputs["x"] @ parameters["w"] + parameters["b"]
    """

    def __init__(
        self, function: Callable[..., Tensor | Mapping[str, Tensor] | Traced],
        inputs: Mapping[str, tuple[Sequence[int | None], Any]], parameters: Mapping[str, Any],
        buffers: Mapping[str, Any] | None = None, outputs: Sequence[str] = ("output",),
    ) -> None:  # fmt: skip
        self._function = function
        self.inputs: dict[str, InputShape] = {n: (tuple(s), np.dtype(d)) for n, (s, d) in inputs.items()}
        self.outputs = tuple(outputs)
        self.parameters = {n: np.ascontiguousarray(a) for n, a in parameters.items()}
        self.buffers = {n: np.ascontiguousarray(a) for n, a in (buffers or {}).items()}

    def trace(
        self, graph: Graph, inputs: dict[str, Tensor], parameters: dict[str, Tensor], buffers: dict[str, Tensor],
        training: bool, random: RandomSource,
    ) -> Traced:  # fmt: skip
        """Call the function."""
        made = self._function(inputs, parameters, buffers, training, random)
        if isinstance(made, Traced):
            return made
        outputs = {self.outputs[0]: made} if isinstance(made, Tensor) else dict(made)
        if tuple(outputs) != self.outputs:
            raise InputError(f"the function gives {', '.join(outputs)} where {', '.join(self.outputs)} were declared")
        return Traced(outputs)
