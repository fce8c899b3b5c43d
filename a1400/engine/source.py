"""What a front-end hands to the engine: a parsed model, and what it says of its inputs and outputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from a1400.engine.chain import Reader
from a1400.graph.graph import Graph


@dataclass(frozen=True)
class TensorInfo:
    """Name, shape and dtype of a model's input or output; a dimension is an int, a symbol's name, or None.

    ``dtype`` is ``object`` for strings.  ``kind`` is "tensor", "sequence", "optional" or "optional sequence": then
    shape and dtype are those of the tensors in it.  ``encoded`` is true of the bytes of a file, which the host decodes.
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype
    kind: str = "tensor"
    encoded: bool = False

    @property
    def is_plain(self) -> bool:
        """True for a tensor of numbers that the device is given."""
        return self.kind == "tensor" and self.dtype != np.dtype(object) and not self.encoded

    @classmethod
    def of(cls, name: str, info: Any) -> TensorInfo:
        """As a front-end tells it."""
        return cls(name, info.shape, info.dtype, getattr(info, "kind", "tensor"), getattr(info, "encoded", False))


class Source(Protocol):
    """What a front-end hands over: a parsed model that can be traced for concrete shapes."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Input name -> its shape and dtype."""
        ...

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Output name -> its shape and dtype."""
        ...

    @property
    def node_ops(self) -> Mapping[str, str]:
        """Node label -> operator."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the model's author wrote beside the graph, key to text."""
        ...

    def graph(
        self, shapes: Mapping[str, Any], values: Mapping[str, np.ndarray] | None = None, read: Reader | None = None
    ) -> Graph:
        """The graph for these input shapes; ``values`` holds inputs whose contents steer shapes, ``read`` gives what
        other tensors hold that shapes depend on."""
        ...

    def check(self, maps: Collection[Any]) -> None:
        """Raise :class:`ModelFileError` if a file was written to that one of ``maps`` (``mmap`` objects) is of."""
        ...
