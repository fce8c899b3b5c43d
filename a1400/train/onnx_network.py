"""A network read from an ONNX model: its weights become parameters, its running statistics buffers."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from a1400.errors import InputError
from a1400.frontends.errors import NeedsValue
from a1400.frontends.onnx import load_onnx
from a1400.frontends.onnx.training import TrainingMode
from a1400.graph.graph import Graph, Value
from a1400.graph.tensor import Tensor
from a1400.ops.registry import is_real
from a1400.train.files import write_atomically
from a1400.train.network import InputShape, Traced

if TYPE_CHECKING:
    from a1400.train.random import RandomSource

#: bytes of weights from which an exported model keeps them in a file beside it: protobuf ends at 2 GiB
_BESIDE = 2**31 - 2**26


class OnnxNetwork:
    """An ONNX model (path, bytes or ``ModelProto``) as a :class:`~a1400.train.network.Network`.

    Trained are its floating initializers of rank >= 1 that stand where an op takes weights
    (:func:`a1400.frontends.onnx.training.find_weights`), or those that ``train`` names; ``freeze`` names some to keep
    as they are.  Names may hold ``*`` and ``?``.  While training, batch normalisation takes the batch's statistics and
    updates the running ones (buffers), unless those are frozen, and dropout drops.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, train: Collection[str] | None = None,
        freeze: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._source = source
        self._model = load_onnx(source)
        known = self._model.initializers
        names = list(self._model.weights()) if train is None else _matching(known, train, "train")
        for name in names:
            if not is_real(known[name].dtype):
                raise InputError(f"initializer {name!r} is {known[name].dtype}: only floating ones can be trained")
        frozen = set(_matching(known, freeze, "freeze"))
        self.parameters = {n: np.array(known[n]) for n in names if n not in frozen}
        if not self.parameters:
            raise InputError("the model has no weights to train: no floating initializer stands where an op takes one")
        statistics = self._model.running_statistics()
        self.buffers = {n: np.array(a) for n, a in statistics.items() if n not in frozen and n not in self.parameters}
        self.inputs: dict[str, InputShape] = {}
        for name, signature in self._model.inputs.items():
            if signature.shape is None or signature.dtype is None:
                raise InputError(f"the model does not say how many axes its input {name!r} has")
            self.inputs[name] = (
                tuple(d if isinstance(d, int) else None for d in signature.shape), np.dtype(signature.dtype),
            )  # fmt: skip
        self.outputs = tuple(self._model.outputs)

    @property
    def name(self) -> str:
        """The model's name."""
        return self._model.name

    def trace(
        self, graph: Graph, inputs: dict[str, Tensor], parameters: dict[str, Tensor], buffers: dict[str, Tensor],
        training: bool, random: RandomSource,
    ) -> Traced:  # fmt: skip
        """Translate the model with its weights as values."""
        given: dict[str, Value] = {n: t.value for n, t in {**inputs, **parameters, **buffers}.items()}

        def dropout(x: Value, ratio: float) -> Value:
            return random.dropout(Tensor(graph, x), ratio).value

        mode = TrainingMode(dropout, {id(t.value): n for n, t in buffers.items()}) if training else None
        try:
            outputs = self._model.append(graph, given, mode)
        except NeedsValue as error:
            raise InputError(f"{error}; a model whose shapes depend on its inputs' values cannot be trained") from None
        updates = {} if mode is None else mode.updates
        return Traced(
            {n: Tensor(graph, v) for n, v in outputs.items()}, {n: Tensor(graph, v) for n, v in updates.items()}
        )

    def export(self, path: str | os.PathLike[str], weights: Mapping[str, np.ndarray]) -> None:
        """Write the model with ``weights`` (initializer name -> array of its shape and dtype) to ``path``, at once."""
        proto = self._proto()
        left = dict(weights)
        for tensor in proto.graph.initializer:
            if tensor.name in left:
                array = np.ascontiguousarray(left.pop(tensor.name))
                tensor.CopyFrom(onnx.numpy_helper.from_array(array.reshape(tuple(tensor.dims)), tensor.name))
        if left:
            raise InputError(f"the model has no initializer {', '.join(sorted(left))}")
        target = Path(path)
        if proto.ByteSize() > _BESIDE:
            beside = f"{target.name}.data"
            onnx.save(proto, target, save_as_external_data=True, location=beside)
        else:
            write_atomically(target, proto.SerializeToString())

    def _proto(self) -> onnx.ModelProto:
        proto = onnx.ModelProto()
        if isinstance(self._source, onnx.ModelProto):
            proto.CopyFrom(self._source)
            return proto
        if isinstance(self._source, (bytes, bytearray, memoryview)):
            return onnx.ModelProto.FromString(bytes(self._source))
        return onnx.load(os.fspath(self._source))


def _matching(known: Mapping[str, np.ndarray], patterns: Collection[str], what: str) -> list[str]:
    """The initializers that ``patterns`` name, in the model's order; each pattern must name one at least."""
    patterns = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in patterns:
        if pattern not in known and not any(fnmatchcase(name, pattern) for name in known):
            raise InputError(f"{what}: the model has no initializer {pattern!r}")
    return [n for n in known if any(n == p or fnmatchcase(n, p) for p in patterns)]
