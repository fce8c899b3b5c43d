"""Models within models, and layers that wrap others."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from a1400.graph.tensor import Tensor
from a1400.keras.registry import converts, converts_others
from a1400.keras.symbolic import run_layer
from a1400.keras.tracing import Call, Tracing


@converts("Functional", "Model", "Sequential")
def _model(c: Call) -> Any:
    inputs, given = keras.tree.flatten(c.first), keras.tree.flatten(c.given("mask"))
    for x, mask in zip(inputs, given):
        if mask is not None:
            c.tracing.masks.put(x, c.lift(mask))
    return run_model(c.tracing, c.layer, c.first)


@converts_others
def _own(c: Call) -> Any:
    """A layer or model of the user's own: its ``call`` is followed, unless it is Keras's."""
    return _model(c) if is_graph(c.layer) else run_layer(c)


@converts("Lambda")
def _lambda(c: Call) -> Any:
    return run_layer(c)


#: the class behind functional models
_FUNCTIONAL = type(keras.Model(*[keras.Input((1,))] * 2))


def is_graph(model: Any) -> bool:
    """Whether a model is a graph of layers, and no code."""
    inherited = (keras.Model.call, keras.Sequential.call, _FUNCTIONAL.call)
    return isinstance(model, (keras.Sequential, _FUNCTIONAL)) and type(model).call in inherited


def run_model(tracing: Tracing, model: Any, inputs: Any) -> Any:
    """What a Sequential or functional model gives for ``inputs``, which have the structure of the model's own."""
    if isinstance(model, keras.Sequential):
        x = keras.tree.flatten(inputs)[0] if len(keras.tree.flatten(inputs)) == 1 else inputs
        for layer in model.layers:
            x = tracing.apply(layer, x)
        return x
    known = {id(symbol): value for symbol, value in zip(model.inputs, _in_order(model, inputs))}
    nodes = model._nodes_by_depth  # the order in which Keras itself runs them; it has no public name
    for depth in sorted(nodes, reverse=True):
        for node in nodes[depth]:
            if not node.operation or node.is_input or any(id(x) not in known for x in node.input_tensors):
                continue
            args, kwargs = node.arguments.fill_in(known)
            result = keras.tree.flatten(tracing.apply(node.operation, *args, **kwargs))
            known.update((id(symbol), value) for symbol, value in zip(node.outputs, result))
    return keras.tree.pack_sequence_as(model._outputs_struct, [known[id(x)] for x in model.outputs])


def _in_order(model: Any, inputs: Any) -> list[Any]:
    """``inputs`` in the order of ``model.inputs``."""
    if isinstance(inputs, dict) and isinstance(model._inputs_struct, dict):
        return keras.tree.flatten({name: inputs[name] for name in model._inputs_struct})
    return keras.tree.flatten(inputs)


@converts("TimeDistributed")
def _time_distributed(c: Call) -> Any:
    """The steps as samples of one batch: the layer sees each by itself, as long as it keeps samples apart."""
    inner = c.layer.layer
    if c.training and any(type(layer).__name__ == "BatchNormalization" for layer in _all_layers(inner)):
        c.refuse("batch normalisation inside it is not supported while training")
    x, options = c.x, {}
    batch, steps = x.shape[:2]
    mask = c.given("mask")
    if mask is not None and "mask" in inspect.signature(inner.call).parameters:
        mask = c.lift(mask)
        if mask.rank < 3:
            c.refuse("the layer within it takes a mask of its own, for which there is only one of the steps")
        options["mask"] = mask.reshape((batch * steps, *mask.shape[2:]))
    y: Tensor = c.apply(inner, x.reshape((batch * steps, *x.shape[2:])), **options)
    return y.reshape((batch, steps, *y.shape[1:]))


def _all_layers(layer: Any) -> list[Any]:
    found = getattr(layer, "_flatten_layers", None)
    return list(found()) if found is not None else [layer]
