"""A Keras model's answers from its own backend, and from the NumPy references of the graph that it becomes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from a1400.graph.graph import Graph, evaluate
from a1400.graph.tensor import Tensor
from a1400.keras.network import KerasNetwork
from a1400.train.random import RandomSource, initial_state


def shaken(model: Any, seed: int = 0) -> None:
    """Give every weight a random value: zeros and ones hide mistakes.  Variances stay positive."""
    numbers = np.random.default_rng(seed)
    for variable in model.weights:
        value = numbers.normal(0, 0.5, tuple(variable.shape))
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.name else value)


def feeds(model: Any, seed: int = 1, batch: int = 3) -> list[np.ndarray]:
    """Random inputs of a model: floats, or small integers."""
    numbers = np.random.default_rng(seed)
    made = []
    for symbol in model.inputs:
        shape = [batch if axis == 0 else size or 6 for axis, size in enumerate(symbol.shape)]
        real = np.dtype(symbol.dtype).kind == "f"
        made.append(numbers.normal(size=shape).astype("f") if real else numbers.integers(0, 4, shape).astype("i4"))
    return made


def traced(network: KerasNetwork, arrays: list[np.ndarray], training: bool = False) -> tuple[Graph, Any, dict]:
    """The network in a graph whose inputs are data, weights and the random state; what it gave; what to feed."""
    graph = Graph()
    given = {}

    def declared(name: str, array: np.ndarray) -> Tensor:
        given[name] = array
        return Tensor(graph, graph.input(name, array.shape, array.dtype))

    inputs = {name: declared(name, a) for name, a in zip(network.inputs, arrays)}
    parameters = {name: declared(f"parameter {name}", a) for name, a in network.parameters.items()}
    buffers = {name: declared(f"buffer {name}", a) for name, a in network.buffers.items()}
    random = RandomSource(declared("random", initial_state(7)))
    made = network.trace(graph, inputs, parameters, buffers, training, random)
    return graph, made, given


def answers(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the references give outside training."""
    network = KerasNetwork(model)
    graph, made, given = traced(network, arrays)
    for name, tensor in made.outputs.items():
        graph.output(name, tensor.value)
    found = evaluate(graph, given)
    return [found[name] for name in network.outputs]


def expected(model: Any, arrays: list[np.ndarray], training: bool = False) -> list[np.ndarray]:
    """What Keras gives."""
    structure = keras.tree.pack_sequence_as(getattr(model, "_inputs_struct", [0] * len(arrays)), arrays)
    if isinstance(model, keras.Sequential):
        structure = arrays[0]
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(structure, training=training))]


def check(model: Any, tolerance: float = 1e-5) -> None:
    """Both give the same, in shape and value."""
    shaken(model)
    arrays = feeds(model)
    for found, wanted in zip(answers(model, arrays), expected(model, arrays)):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
