"""A train step as one graph: forward, loss, backward, update; and the smaller graphs of evaluation and prediction.

Parameters lie side by side in flat states (:mod:`a1400.train.layout`).  While gradients are taken they are inputs of
their own, so that no rule has to see through the slices that they are of the flat state; these take their place at the
end.  A step whose loss or gradients are not finite changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from a1400.autodiff import gradients
from a1400.backends.base import DeviceInfo
from a1400.errors import GradientError, InputError
from a1400.graph.graph import Graph
from a1400.graph.tensor import Tensor
from a1400.optimizer import optimize
from a1400.train import random
from a1400.train.compilation import Entry
from a1400.train.constraints import Constraint
from a1400.train.finite import Flags
from a1400.train.layout import ALIGNMENT, FlatLayout, lay_out
from a1400.train.loss_scale import LossScale
from a1400.train.losses import Loss
from a1400.train.network import Network, layer
from a1400.train.optimizer import Optimizer
from a1400.train.update import SCALE, Pieces, buffer_state, parameter_state, write_update

#: (name, shape, dtype) of each array of a batch, under its name in the graph
Signature = tuple[tuple[str, tuple[int, ...], np.dtype], ...]
#: name of the loss among the outputs
LOSS = "loss"


@dataclass
class Forward:
    """The network in a graph: tensors by name, parameters still inputs of their own."""

    graph: Graph
    inputs: dict[str, Tensor]
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor]
    outputs: dict[str, Tensor]
    updates: dict[str, Tensor]
    penalties: list[Tensor]
    random: random.RandomSource
    masks: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Debugging:
    """A step's graph whose only output is a flag per value; ``ends`` are the values (``id``) to follow back from."""

    graph: Graph
    flags: Flags
    ends: tuple[int, ...]


@dataclass
class Steps:
    """Writes the graphs of a network: ``losses`` and ``metrics`` by output, ``loss_weights`` likewise (1).

    ``scale`` multiplies the loss, and the gradients are divided by it again.  ``constraints`` are by parameter.
    """

    network: Network
    layouts: Sequence[FlatLayout]
    losses: Mapping[str, Loss] = field(default_factory=dict)
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Entry]] = field(default_factory=dict)
    optimizer: Optimizer | None = None
    scale: LossScale | None = None
    info: DeviceInfo | None = None
    constraints: Mapping[str, Constraint] = field(default_factory=dict)
    #: whether parameters that no gradient reaches are stepped as if theirs were zero, weight decay included
    moves_unreached: bool = False
    _alignment: int = field(default=ALIGNMENT, init=False)

    # ---- where things lie ----------------------------------------------------------------------------
    def lay_out(self, parameters: Mapping[str, np.ndarray], alignment: int) -> None:
        """Make the layouts: parameters that are treated alike lie side by side."""
        labels = {}
        for name, array in parameters.items():
            label = "" if self.optimizer is None else self.group(name, array.shape)
            labels[name] = f"{label} constrained".strip() if name in self.constraints else label
        self.layouts = lay_out(parameters, labels, alignment)
        self._alignment = alignment

    def group(self, name: str, shape: tuple[int, ...]) -> str:
        """The optimizer's group of a parameter that has ``shape`` on the device."""
        assert self.optimizer is not None
        return self.optimizer.group(name, self._own_shape(name, shape))

    def _own_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        order = self.orders.get(name)
        return shape if order is None else tuple(shape[order.index(axis)] for axis in range(len(order)))

    @property
    def orders(self) -> Mapping[str, tuple[int, ...]]:
        """Parameters that lie with other axes than their author gave them: which of the author's stands where."""
        return getattr(self.network, "orders", {})

    def slots(self, layout: FlatLayout) -> dict[str, FlatLayout]:
        """How the optimizer's slots lie for the parameters of ``layout``, without those that have none."""
        found: dict[str, FlatLayout] = {}
        if self.optimizer is None:
            return found
        for slot in self.optimizer.slots:
            shapes = {}
            for name, place in layout.places.items():
                own = self._own_shape(name, place.shape)
                shape = self.optimizer.slot_shape(slot, name, own)
                if shape is not None:
                    shapes[name] = place.shape if shape == own else shape
            if shapes:
                found[slot] = layout.of_shapes(shapes, self._alignment)
        return found

    def pieces(self, layout: FlatLayout) -> Pieces:
        """Single parameters and slots of a layout in a graph."""
        return Pieces(layout, self.slots(layout), self.orders)

    # ---- graphs --------------------------------------------------------------------------------------
    def train(self, signature: Signature, whole: bool = True) -> Graph:
        """Outputs ``loss``, ``finite`` (bool) and the metrics' sums; updates every state."""
        made = self._forward("train step", signature, training=True)
        graph = made.graph
        loss = self._loss(made)
        found = self._gradients(made, loss)
        self._metrics(made)
        graph.output(LOSS, loss.value)
        assert self.optimizer is not None
        with layer(graph, "optimizer"):
            write_update(self, made, loss, found, whole)
        self._bind(made)
        return graph

    def gather(self, signature: Signature) -> Graph:
        """As :meth:`train`, for a batch whose gradients are only added to those that wait for the next step."""
        return self.train(signature, whole=False)

    def evaluate(self, signature: Signature) -> Graph:
        """Outputs ``loss`` and the metrics' sums."""
        made = self._forward("evaluation", signature, training=False)
        loss = self._loss(made)
        self._metrics(made)
        made.graph.output(LOSS, loss.value)
        self._bind(made)
        return made.graph

    def predict(self, signature: Signature) -> Graph:
        """Outputs ``output:NAME``."""
        made = self._forward("prediction", signature, training=False)
        for name, tensor in made.outputs.items():
            made.graph.output(f"output:{name}", tensor.value)
        self._bind(made)
        return made.graph

    def debugging(self, signature: Signature, backward: bool) -> Debugging:
        """The step without its updates, to see which value on the way to the loss or the gradients is not finite."""
        made = self._forward("search for what is not finite", signature, training=True)
        loss = self._loss(made)
        ends = tuple(id(t.value) for t in self._gradients(made, loss).values() if t is not None) if backward else ()
        flags = Flags()
        flags.declare(made.graph)
        self._bind(made)
        return Debugging(made.graph, flags, ends or (id(loss.value),))

    # ---- parts ---------------------------------------------------------------------------------------
    def _forward(self, title: str, signature: Signature, training: bool) -> Forward:
        graph = Graph(title)
        inputs = {name: Tensor(graph, graph.input(name, shape, dtype)) for name, shape, dtype in signature}
        parameters = {
            name: Tensor(graph, graph.input(f"weight of {name}", place.shape, layout.dtype))
            for layout in self.layouts
            for name, place in layout.places.items()
        }
        buffers = {
            name: Tensor(graph, graph.state(buffer_state(name), array.shape, array.dtype))
            for name, array in self.network.buffers.items()
        }
        state = Tensor(graph, graph.state(random.STATE, random.STATE_SHAPE, np.dtype(np.uint32)))
        source = random.RandomSource(state)
        given = {name.removeprefix("input:"): t for name, t in inputs.items() if name.startswith("input:")}
        traced = self.network.trace(graph, given, dict(parameters), dict(buffers), training, source)
        graph.source = ()
        wrong = sorted({*traced.updates} - {*buffers})
        if wrong:
            raise InputError(f"the network updates {', '.join(wrong)}, which is none of its buffers")
        # patterns are recognised before gradients are taken: their rules are better than those of their parts
        penalties = {f"penalty:{i}": p for i, p in enumerate(traced.penalties)}
        outputs = {f"output:{n}": t for n, t in traced.outputs.items()}
        updates = {f"update:{n}": t for n, t in traced.updates.items()} if training else {}
        masks = {f"mask:{n}": t for n, t in traced.masks.items()}
        for name, tensor in {**outputs, **updates, **penalties, **masks}.items():
            graph.output(name, tensor.value)
        optimize(graph, info=self.info, until="recognition")
        kept = {name: Tensor(graph, value) for name, value in graph.outputs.items()}
        graph.outputs.clear()
        return Forward(
            graph, inputs, parameters, buffers,
            {n: kept[f"output:{n}"] for n in traced.outputs},
            {n: kept[f"update:{n}"] for n in traced.updates} if training else {},
            [kept[name] for name in penalties], source, {n: kept[f"mask:{n}"] for n in traced.masks},
        )  # fmt: skip

    def _loss(self, made: Forward) -> Tensor:
        total: Tensor | None = None
        for name, loss in self.losses.items():
            if name not in made.outputs:
                raise InputError(f"there is a loss for {name!r}; the network's outputs are {', '.join(made.outputs)}")
            with layer(made.graph, f"loss of {name}" if len(self.losses) > 1 else "loss"):
                target = made.inputs.get(f"target:{name}")
                if target is None:
                    raise InputError(f"there are no targets for output {name!r}")
                term = loss(target, made.outputs[name], made.inputs.get(f"weight:{name}"), made.masks.get(name))
                term = term.cast(np.float32).reshape(())
                if len(self.losses) > 1:
                    made.graph.output(f"loss:{name}", term.value)
                factor = float(self.loss_weights.get(name, 1.0))
                term = term if factor == 1 else term * factor
                total = term if total is None else total + term
        if total is None:
            raise InputError("there is no loss; give one when the trainer is made")
        with layer(made.graph, "penalties"):
            for penalty in made.penalties:
                total = total + penalty.cast(np.float32).reshape(())
        return total

    def _gradients(self, made: Forward, loss: Tensor) -> dict[str, Tensor | None]:
        """The gradient of each parameter, of the loss as it is (a scale taken out again)."""
        graph, of, inverse = made.graph, loss, None
        factor = None if self.optimizer is None else self.optimizer.loss_scale_factor
        if factor is not None:
            of = of * factor
        if self.scale is not None:
            scale = Tensor(graph, graph.state(SCALE, (2,), np.dtype(np.float32)))
            of, inverse = self.scale.scaled(of, scale), self.scale.factor(scale)
        names = list(made.parameters)
        found = gradients(graph, of.value, [made.parameters[n].value for n in names])
        if all(g is None for g in found):
            raise GradientError("the loss depends on none of the network's parameters, so there is nothing to train")
        table: dict[str, Tensor | None] = {}
        for name, value in zip(names, found):
            tensor = None if value is None else Tensor(graph, value)
            if tensor is not None and inverse is not None:
                tensor = tensor * inverse.cast(tensor.dtype).reshape((1,) * tensor.rank)
            if tensor is not None and factor is not None:
                tensor = tensor / factor
            table[name] = tensor
        return table

    def _metrics(self, made: Forward) -> None:
        for name, entries in self.metrics.items():
            target = made.inputs.get(f"target:{name}")
            if target is None:
                raise InputError(f"there are no targets for output {name!r}, which has metrics")
            for index, entry in enumerate(entries):
                with layer(made.graph, "metrics"):
                    weight = made.inputs.get(f"weight:{name}")
                    mask = made.masks.get(name)
                    parts = entry.parts(target, made.outputs[name], weight, mask)
                for part, tensor in parts.items():
                    made.graph.output(f"metric:{name}:{index}:{part}", tensor.value)

    def _bind(self, made: Forward) -> None:
        """Let the parameters be slices of the flat states; what only steered the gradients goes."""
        graph = made.graph
        mapping = {id(n.output): v for n in graph.nodes if n.op == "stop_gradient" and (v := n.inputs[0]) is not None}
        for layout in self.layouts:
            name = parameter_state(layout)
            if name not in graph.inputs:
                graph.state(name, (layout.size,), layout.dtype)
            for parameter, view in layout.views(Tensor(graph, graph.inputs[name])).items():
                mapping[id(made.parameters[parameter].value)] = view.value
                del graph.inputs[f"weight of {parameter}"]
        graph.replace(mapping)
        graph.sort()
        graph.remove_dead()
