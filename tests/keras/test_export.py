"""ONNX Runtime gives Keras's answers for every converted layer, for any batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest

from a1400.export import ExportError, export_onnx
from a1400.export.onnx_file import onnx_model
from a1400.export.onnx_writer import EMITTERS
from a1400.graph.tensor import Tensor
from a1400.keras.network import KerasNetwork
from a1400.ops import OPS
from a1400.train.network import FunctionNetwork
from tests.keras.forward import expected, feeds, shaken
from tests.keras.test_layers import MODELS, SINGLE


def _check(model: Any) -> None:
    shaken(model)
    network = KerasNetwork(model)
    file = onnx_model(network)
    onnx.checker.check_model(file, full_check=True)
    session = ort.InferenceSession(file.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in (2, 7):
        arrays = feeds(model, batch=batch)
        found = session.run(list(network.outputs), dict(zip(network.inputs, arrays)))
        for mine, theirs in zip(found, expected(model, arrays)):
            assert mine.shape == theirs.shape
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape, layer", SINGLE, ids=lambda value: getattr(value, "name", None) or str(value))
def test_one_layer_runs_in_onnxruntime(shape: tuple[int, ...], layer: Any) -> None:
    _check(keras.Sequential([keras.Input(shape), layer]))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_runs_in_onnxruntime(name: str) -> None:
    _check(MODELS[name]())


def test_metadata_travels_in_the_file(tmp_path: Any) -> None:
    network = KerasNetwork(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    export_onnx(network, tmp_path / "net.onnx", metadata={"heard": "in metres", "a": "1"})
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"heard": "in metres", "a": "1"}


def test_a_fixed_batch_and_open_sizes(tmp_path: Any) -> None:
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(2, return_sequences=True)])
    network = KerasNetwork(model)
    with pytest.raises(ExportError, match="give its open sizes"):
        onnx_model(network)
    (name,) = network.inputs
    export_onnx(network, tmp_path / "net.onnx", batch=2, shapes={name: (None, 5, None)})
    session = ort.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 5, 3]
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("f")
    np.testing.assert_allclose(session.run(None, {name: x})[0], expected(model, [x])[0], rtol=1e-5, atol=1e-6)


def test_any_network_is_written_and_what_onnx_lacks_is_named() -> None:
    def function(inputs: Any, parameters: Any, buffers: Any, training: bool, random: Any) -> Tensor:
        graph = inputs["x"].graph
        graph.source = ("the layer",)
        return inputs["x"].op("fmod", parameters["w"]).op("mod", inputs["x"]).op("trunc")

    def network(work: Any) -> FunctionNetwork:
        return FunctionNetwork(work, {"x": ((None, 3), "f4")}, {"w": np.array([1.5, 2.5, -2.0], "f")})

    x = np.array([[3.2, -7.1, 5.5], [0.4, 2.6, -9.9]], "f")
    written = onnx_model(network(function)).SerializeToString()
    session = ort.InferenceSession(written, providers=["CPUExecutionProvider"])
    w = np.array([1.5, 2.5, -2.0], "f")
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.trunc(np.mod(np.fmod(x, w), x)))

    def angle(inputs: Any, parameters: Any, buffers: Any, training: bool, random: Any) -> Tensor:
        inputs["x"].graph.source = ("the layer",)
        return inputs["x"].op("atan2", parameters["w"])

    with pytest.raises(ExportError, match="the layer: ONNX has no operator for 'atan2'"):
        onnx_model(network(angle))


def test_emitters_are_of_ops_that_exist() -> None:
    assert set(EMITTERS) <= set(OPS)
