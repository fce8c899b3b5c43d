"""The end of a train step's graph: from gradients to new parameters, slots, buffers, loss scale and random state.

A step whose loss or gradients are not finite changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from a1400.errors import InputError
from a1400.graph.tensor import Tensor
from a1400.train import random
from a1400.train.finite import all_finite
from a1400.train.layout import FlatLayout
from a1400.train.optimizer import AVERAGE, GATHERED

if TYPE_CHECKING:
    from a1400.train.step import Forward, Steps

#: name of the input that is no data, of the loss scale's state, and of the output that says whether a step counts
HYPER, SCALE, FINITE = "hyper", "loss_scale", "finite"


def parameter_state(layout: FlatLayout) -> str:
    """Name of the state that holds a layout's parameters."""
    return f"parameter:{layout.name}"


def slot_state(layout: FlatLayout, slot: str) -> str:
    """Name of the state of one of the optimizer's slots."""
    return f"slot:{layout.name}:{slot}"


def buffer_state(name: str) -> str:
    """Name of a buffer's state."""
    return f"buffer:{name}"


@dataclass(frozen=True)
class Pieces:
    """Flat tensors of a layout taken apart and put together; single ones have the axes that their author gave them.

    ``slots`` are the layouts of the optimizer's slots; those of shapes of their own are in the author's order already.
    """

    layout: FlatLayout
    slots: Mapping[str, FlatLayout]
    orders: Mapping[str, tuple[int, ...]]

    def split(self, flat: Tensor, slot: str | None = None) -> dict[str, Tensor]:
        """Single tensors by the parameter's name."""
        found = (self.layout if slot is None else self.slots[slot]).views(flat)
        for name, tensor in found.items():
            order = self._order(name, tensor, slot)
            if order is not None:
                found[name] = tensor.transpose([order.index(axis) for axis in range(len(order))])
        return found

    def join(self, parts: Mapping[str, Tensor], slot: str | None = None) -> Tensor:
        """The flat tensor of what :meth:`split` gave."""
        layout = self.layout if slot is None else self.slots[slot]
        laid: dict[str, Tensor | None] = {}
        for name, tensor in parts.items():
            order = self._order(name, tensor, slot)
            laid[name] = tensor if order is None else tensor.transpose(order)
        return layout.concatenate(next(iter(parts.values())).graph, laid)

    def chosen(self, flat: Tensor, names: Collection[str]) -> Tensor:
        """Whether an element of ``flat``, a tensor of all parameters, belongs to one of ``names``; bool."""
        flags = np.zeros(self.layout.size, bool)
        for name in names:
            place = self.layout.places[name]
            flags[place.start : place.start + place.size] = True
        return Tensor(flat.graph, flat.graph.constant(flags))

    def _order(self, name: str, tensor: Tensor, slot: str | None) -> tuple[int, ...] | None:
        own = slot is not None and self.slots[slot].places[name].shape != self.layout.places[name].shape
        order = None if own else self.orders.get(name)
        return None if order is None or order == tuple(range(tensor.rank)) else order


def write_update(
    steps: Steps, made: Forward, loss: Tensor, gradients: Mapping[str, Tensor | None], whole: bool = True
) -> None:
    """Let the graph's states be updated by ``gradients``; ``whole`` False only adds them to those that wait."""
    graph, optimizer = made.graph, steps.optimizer
    assert optimizer is not None
    hyper = Tensor(graph, graph.input(HYPER, (optimizer.hyper_size,), np.dtype(np.float32)))
    gathers = optimizer.gradient_accumulation_steps
    there = {n: t for n, t in gradients.items() if t is not None}
    if not gathers:
        there = dict(zip(there, optimizer.clip_each(list(there.values()))))
    flat = [layout.concatenate(graph, there) for layout in steps.layouts]
    finite = all_finite(loss)
    for gradient in flat:
        finite = finite.op("and", all_finite(gradient))
    graph.output(FINITE, finite.value)
    finite = finite.reshape((1,))
    slots = [
        {
            slot: Tensor(graph, graph.state(slot_state(layout, slot), (own.size,), own.dtype))
            for slot, own in steps.slots(layout).items()
            if whole or slot in (AVERAGE, GATHERED)
        }
        for layout in steps.layouts
    ]  # fmt: skip
    if gathers and whole:
        flat = [(g + mine[GATHERED]) * (1.0 / gathers) for g, mine in zip(flat, slots)]
        if optimizer.clips_each:
            pieces = [layout.views(g) for layout, g in zip(steps.layouts, flat)]
            clipped = [dict(zip(p, optimizer.clip_each(list(p.values())))) for p in pieces]
            flat = [layout.concatenate(graph, p) for layout, p in zip(steps.layouts, clipped)]
    factor = optimizer.global_factor(flat) if whole else None
    for layout, gradient, mine in zip(steps.layouts, flat, slots):
        parameter = Tensor(graph, graph.state(parameter_state(layout), (layout.size,), layout.dtype))
        still = [] if steps.moves_unreached else [name for name in layout.places if name not in there]
        constrain = _constraint(steps, layout, still)
        if whole:
            name, place = next(iter(layout.places.items()))
            new, updated = optimizer.update(
                parameter, gradient, mine, hyper, factor, finite, steps.group(name, place.shape), steps.pieces(layout),
                constrain, still,
            )  # fmt: skip
        else:
            new, updated = optimizer.gather(parameter, gradient, mine, hyper, finite, constrain)
        if new is not parameter:
            graph.update(parameter_state(layout), new.value)
        for slot, value in updated.items():
            graph.update(slot_state(layout, slot), value.value)
    _update_others(steps, made, finite)


def _constraint(
    steps: Steps, layout: FlatLayout, still: Collection[str]
) -> Callable[[Tensor], Tensor] | None:
    """What holds a layout's parameters within their constraints; those that stand still are not looked at."""
    if not any(name in steps.constraints for name in layout.places):
        return None
    pieces = steps.pieces(layout)

    def constrain(flat: Tensor) -> Tensor:
        parts = pieces.split(flat)
        return pieces.join({n: w if n in still else steps.constraints[n](w) for n, w in parts.items()})

    return constrain


def _update_others(steps: Steps, made: Forward, finite: Tensor) -> None:
    graph = made.graph
    for name, update in made.updates.items():
        old = made.buffers[name]
        if (update.shape, update.dtype) != (old.shape, old.dtype):
            raise InputError(f"the update of buffer {name!r} is {update!r}, the buffer is {old!r}")
        kept = finite.reshape((1,) * old.rank).where(update, old)
        graph.update(buffer_state(name), kept.value)
    if steps.scale is not None:
        graph.update(SCALE, steps.scale.next(Tensor(graph, graph.inputs[SCALE]), finite).value)
    advanced = finite.where(made.random.advanced(), made.random.state)
    graph.update(random.STATE, advanced.value)
