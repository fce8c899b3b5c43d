"""Many parameters in one array: a step of the optimizer is one launch, and so is a sum over all gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from a1400.errors import GraphError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor

#: bytes to which each parameter's start is aligned at least
ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """Where a parameter lies in its flat array."""

    start: int
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class FlatLayout:
    """The places of parameters of one dtype in a flat array of ``size`` elements; what lies between them is zero."""

    name: str
    dtype: np.dtype
    places: dict[str, Place]
    size: int

    def of_shapes(self, shapes: Mapping[str, tuple[int, ...]], alignment: int = ALIGNMENT) -> FlatLayout:
        """A layout of the same name and dtype for other ``shapes``, by parameter; this one where they are its own."""
        if shapes == {name: place.shape for name, place in self.places.items()}:
            return self
        places, end = _placed({name: (self.dtype, shape) for name, shape in shapes.items()}, alignment)
        return FlatLayout(self.name, self.dtype, places, end)

    def pack(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The flat array of ``arrays``."""
        flat = np.zeros(self.size, self.dtype)
        for name, place in self.places.items():
            array = np.asarray(arrays[name])
            if array.shape != place.shape:
                raise GraphError(f"{name!r} has shape {list(array.shape)}, not {list(place.shape)}")
            flat[place.start : place.start + place.size] = array.reshape(-1)
        return flat

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """The arrays in a flat array, each a copy."""
        return {
            name: flat[place.start : place.start + place.size].reshape(place.shape).copy()
            for name, place in self.places.items()
        }

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The parameters as views on a flat tensor."""
        return {
            name: flat.slice((place.start,), (place.size,)).reshape(place.shape) for name, place in self.places.items()
        }

    def concatenate(self, graph: Graph, parts: Mapping[str, Tensor | None]) -> Tensor:
        """A flat tensor of ``parts`` (None: zeros), zero between them."""
        pieces: list[Tensor] = []
        at = 0

        def zeros(count: int) -> None:
            if count:
                pieces.append(Tensor(graph, graph.constant(np.zeros(count, self.dtype))))

        for name, place in self.places.items():
            zeros(place.start - at)
            part = parts.get(name)
            if part is None:
                zeros(place.size)
            else:
                pieces.append(part.reshape((place.size,)))
            at = place.start + place.size
        zeros(self.size - at)
        return pieces[0] if len(pieces) == 1 else pieces[0].op("concat", *pieces[1:], axis=0)


def lay_out(
    parameters: Mapping[str, np.ndarray], group: Mapping[str, str] | None = None, alignment: int = ALIGNMENT
) -> list[FlatLayout]:
    """One layout for each dtype and ``group`` (parameter name -> a label), in the parameters' order."""
    tables: dict[tuple[str, str], dict[str, tuple[np.dtype, tuple[int, ...]]]] = {}
    for name, array in parameters.items():
        key = (array.dtype.name, (group or {}).get(name, ""))
        tables.setdefault(key, {})[name] = array.dtype, array.shape
    made = []
    for key, table in tables.items():
        places, end = _placed(table, alignment)
        made.append(FlatLayout(":".join(k for k in key if k), next(iter(table.values()))[0], places, end))
    return made


def _placed(
    table: Mapping[str, tuple[np.dtype, tuple[int, ...]]], alignment: int
) -> tuple[dict[str, Place], int]:
    """Places one after the other, aligned, and how many elements that takes in all."""
    places: dict[str, Place] = {}
    end, step = 0, 1
    for name, (dtype, shape) in table.items():
        step = max(alignment // dtype.itemsize, 1)
        places[name] = Place(-(-end // step) * step, shape)
        end = places[name].start + places[name].size
    return places, -(-end // step) * step
