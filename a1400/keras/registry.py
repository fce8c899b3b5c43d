"""Which function converts which Keras layer or operation: found by the name of the class, which must be Keras's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from a1400.keras.tracing import Call

#: takes one call of a layer and gives what the layer would: a tensor, or a structure of them
Converter = Callable[["Call"], Any]

_LAYERS: dict[str, Converter] = {}
_OPERATIONS: dict[str, Converter] = {}
_OTHERS: list[Converter] = []


def _enter(table: dict[str, Converter], names: tuple[str, ...]) -> Callable[[Converter], Converter]:
    def declare(function: Converter) -> Converter:
        for name in names:
            if name in table:
                raise ValueError(f"{name} is converted twice")
            table[name] = function
        return function

    return declare


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Declare the decorated function as the converter of the layers ``keras.layers.<name>``."""
    return _enter(_LAYERS, names)


def converts_operation(*names: str) -> Callable[[Converter], Converter]:
    """Likewise for the operations that ``keras.ops`` and arithmetic on symbolic tensors leave in functional models."""
    return _enter(_OPERATIONS, names)


def converts_others(function: Converter) -> Converter:
    """Declare the decorated function as the converter of layers that are not Keras's own."""
    _OTHERS.append(function)
    return function


def converter_of(operation: Any) -> Converter | None:
    """The converter of a layer or operation; None where there is none."""
    kind = type(operation)
    if kind.__module__.partition(".")[0] != "keras":
        return _OTHERS[-1] if isinstance(operation, keras.layers.Layer) else None
    table = _LAYERS if isinstance(operation, keras.layers.Layer) else _OPERATIONS
    return table.get(kind.__name__)


def converted() -> tuple[list[str], list[str]]:
    """Names of the layers and of the operations that are converted, sorted."""
    return sorted(_LAYERS), sorted(_OPERATIONS)
