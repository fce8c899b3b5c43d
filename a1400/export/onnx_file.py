"""Networks as ONNX files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import a1400.export.onnx_layers
import a1400.export.onnx_plain  # noqa: F401 - both enter their emitters
from a1400.export.onnx_writer import EMITTERS, Batch, Emission, ExportError, Writer
from a1400.graph.graph import FOLD_LIMIT, Graph, Value
from a1400.graph.tensor import Tensor
from a1400.train.files import write_atomically
from a1400.train.network import InputShape, Network
from a1400.train.random import STATE_SHAPE, RandomSource

Arrays = Mapping[str, np.ndarray]
#: batches of the two traces; any two that differ would do, but sizes should not meet them by chance
_BATCHES = (3, 5)
#: bytes of weights from which on they lie in a file beside the model: protobuf ends at 2 GiB
_BESIDE = 2**31 - 2**26


def export_onnx(
    network: Network, path: str | os.PathLike[str], *, weights: Arrays | None = None, batch: int | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None, metadata: Mapping[str, str] | None = None,
) -> None:  # fmt: skip
    """Write what ``network`` computes outside training to ``path``.

    ``weights`` (parameters and buffers by name) stand in place of the network's own.  The file takes any batch, or just
    ``batch``; ``shapes`` gives inputs' sizes that the network leaves open besides.  ``metadata`` goes into the file's.
    Raises :class:`ExportError` where ONNX has no operator for something, naming the layer.
    """
    model = onnx_model(network, weights=weights, batch=batch, shapes=shapes)
    onnx.helper.set_model_props(model, dict(metadata or {}))
    target = Path(path)
    if model.ByteSize() > _BESIDE:
        onnx.save(model, target, save_as_external_data=True, location=f"{target.name}.data")
    else:
        write_atomically(target, model.SerializeToString())


def onnx_model(
    network: Network, *, weights: Arrays | None = None, batch: int | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """The same as a ``ModelProto``."""
    inputs = {name: (_merged(name, shape, shapes), dtype) for name, (shape, dtype) in network.inputs.items()}
    open_inputs = [name for name, (shape, _) in inputs.items() if shape[:1] == (None,)]
    first, second = _BATCHES if batch is None and open_inputs else (batch or 1,) * 2
    graphs = [_traced(network, inputs, weights or {}, size) for size in (first, second)]
    graph, twin = graphs
    batches = Batch(first, second, open_inputs[0]) if first != second else None
    writer = Writer(batches, {*graph.inputs, *graph.outputs}, {*network.parameters, *network.buffers})
    if [n.op for n in graph.nodes] != [n.op for n in twin.nodes]:
        raise ExportError("the network is another one for another batch; export with a fixed batch")
    writer.names.update((id(value), name) for name, value in graph.inputs.items())
    for node, other in zip(graph.nodes, twin.nodes):
        emission = Emission(writer, node, other)
        if node.op not in EMITTERS:
            raise ExportError(f"{emission.where}: ONNX has no operator for {node.op!r}")
        for value, again in zip(node.inputs, other.inputs):
            if value is not None and again is not None and value.is_constant and id(value) not in writer.names:
                _check_constant(writer, emission, value, again)
        names = EMITTERS[node.op](emission)
        names = [names] if isinstance(names, str) else names
        writer.names.update((id(value), name) for value, name in zip(node.outputs, names))
    return writer.model(graph, twin)


def _check_constant(writer: Writer, emission: Emission, value: Value, again: Value) -> None:
    """Constants are the same in both traces, or broadcast along what the batch changes."""
    assert value.data is not None and again.data is not None
    if value.shape != again.shape:
        writer.spread(value, again)
    elif value.size <= FOLD_LIMIT and not np.array_equal(value.data, again.data):
        raise ExportError(f"{emission.where}: a number hangs on the batch; export with a fixed batch")


def _merged(name: str, shape: tuple[int | None, ...], given: Mapping[str, Any] | None) -> tuple[int | None, ...]:
    """The network's shape with the sizes that are given; only the batch may stay open."""
    wanted = (given or {}).get(name)
    if wanted is not None:
        if len(wanted) != len(shape):
            raise ExportError(f"input {name!r} has {len(shape)} axes, not {len(wanted)}")
        shape = tuple(size if size is not None else other for size, other in zip(shape, wanted))
    if None in shape[1:]:
        raise ExportError(f"input {name!r} has shape {list(shape)}: give its open sizes by shapes={{{name!r}: (...)}}")
    return shape


def _traced(network: Network, inputs: Mapping[str, InputShape], weights: Arrays, batch: int) -> Graph:
    """The network outside training, its weights as constants."""
    graph = Graph("network")
    given = {
        name: Tensor(graph, graph.input(name, [batch if size is None else size for size in shape], dtype))
        for name, (shape, dtype) in inputs.items()
    }

    def constants(arrays: Arrays) -> dict[str, Tensor]:
        return {
            name: Tensor(graph, graph.constant(weights.get(name, array), name=name)) for name, array in arrays.items()
        }

    random = RandomSource(Tensor(graph, graph.constant(np.zeros(STATE_SHAPE, np.uint32))))
    traced = network.trace(graph, given, constants(network.parameters), constants(network.buffers), False, random)
    for name, tensor in traced.outputs.items():
        graph.output(name, tensor.value)
    graph.remove_dead()
    return graph
