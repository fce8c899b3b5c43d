"""Masks, as Keras hands them on: a mask belongs to a tensor object, and each layer says what becomes of it.

The rules are those of ``keras.layers.Layer.__call__``: a layer whose ``call`` takes a mask is given that of its
tensors, ``compute_mask`` makes the masks of what it gives, and a layer that does not support masking drops them with a
warning.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras
from keras.src.utils import python_utils  # Keras has no public way to tell a method that nobody has overridden

from a1400.graph.tensor import Tensor

if TYPE_CHECKING:
    from a1400.keras.tracing import Call, Tracing


class Masks:
    """The masks (bool) of tensors; a tensor is its object, as two of them may be one value and only one masked."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Tensor, Tensor]] = {}  # the tensor is kept, so that its id is nobody else's

    def get(self, x: Any) -> Tensor | None:
        """The mask of a tensor; None where it has none."""
        held = self._found.get(id(x))
        return None if held is None else held[1]

    def put(self, x: Tensor, mask: Tensor | None) -> None:
        """Give a tensor a mask, or take it away."""
        if mask is None:
            self._found.pop(id(x), None)
        else:
            self._found[id(x)] = (x, mask.cast(bool))

    def of(self, value: Any) -> Any:
        """The masks of a structure of tensors, in that structure."""
        return keras.tree.map_structure(self.get, value)


def fill_in(masks: Masks, layer: Any, arguments: dict[str, Any]) -> None:
    """Give ``layer`` the masks of its tensors where its ``call`` takes them and nobody has given any."""
    takes = inspect.signature(layer.call).parameters
    tensors = {name: value for name, value in arguments.items() if _has_tensors(value)}
    if len(tensors) == 1 and "mask" in takes and arguments.get("mask") is None:
        (value,) = tensors.values()
        found = masks.of(value)
        if any(m is not None for m in keras.tree.flatten(found)):
            arguments["mask"] = found
    elif len(tensors) > 1:
        for name, value in tensors.items():
            wanted = f"{name}_mask"
            if wanted in takes and arguments.get(wanted) is None:
                found = masks.of(value)
                if any(m is not None for m in keras.tree.flatten(found)):
                    arguments[wanted] = found


def _has_tensors(value: Any) -> bool:
    return any(isinstance(x, Tensor) for x in keras.tree.flatten(value))


def hand_on(tracing: Tracing, call: Call, previous: Any, result: Any) -> None:
    """Give ``result`` the masks that follow from those that came in (``previous``)."""
    layer, masks = call.layer, tracing.masks
    present = any(m is not None for m in keras.tree.flatten(previous))
    if not layer.supports_masking:
        if present:
            tracing.warn(
                f"Layer '{layer.name}' (of type {type(layer).__name__}) was passed an input with a mask attached to "
                "it. However, this layer does not support masking and will therefore destroy the mask information. "
                "Downstream layers will not see the mask."
            )
        return
    outputs = [y for y in keras.tree.flatten(result) if isinstance(y, Tensor)]
    if all(masks.get(y) is not None for y in outputs):
        return
    if python_utils.is_default(layer.compute_mask):
        found = previous
    else:
        found = call.symbolically(layer.compute_mask, call.first, previous)
    for y, mask in zip(outputs, keras.tree.flatten(found)):
        if mask is not None and masks.get(y) is None:
            masks.put(y, call.lift(mask))
