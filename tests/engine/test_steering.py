"""Inputs whose values decide shapes: the host does arithmetic of shapes with them, the device all other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from a1400.backends.base import Device
from a1400.engine.model import Model
from a1400.frontends.onnx import load_onnx
from tests.frontends.building import f32, runtime

N = helper.make_node


def _model(
    nodes: list[onnx.NodeProto], inputs: dict[str, Any], outputs: list[str], **constants: Any
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "steering", [helper.make_tensor_value_info(n, *given) for n, given in inputs.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs],
        [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_floats_are_the_devices(device: Device) -> None:
    """The scales of a resize are read; what else comes of them is arithmetic like any other."""
    model = _model(
        [
            N("Mul", ["scales", "scales"], ["squares"], name="square"),
            N("Resize", ["x", "", "scales"], ["big"], name="resize"), N("Exp", ["squares"], ["e"], name="exp"),
            N("Sqrt", ["squares"], ["same"], name="root"), N("Resize", ["x", "", "same"], ["again"], name="second"),
            N("Cast", ["same"], ["whole"], name="cast", to=T.INT64), N("Tile", ["x", "whole"], ["tiled"], name="tile"),
        ],
        {"x": (T.FLOAT, [1, 1, 3, 4]), "scales": (T.FLOAT, [4])}, ["big", "e", "again", "tiled"],
    )  # fmt: skip
    ours = Model(load_onnx(model), device)
    x = f32(1, 1, 3, 4)
    for sides in ((1, 1, 2, 3), (1, 1, 4, 1)):
        feeds = {"x": x, "scales": np.array(sides, np.float32)}
        for want, have in zip(runtime(model, feeds), ours.run(feeds).values()):
            np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    where = {n: p["where"].partition(":")[0] for n, p in ours.explain().to_dict()["placement"].items()}
    assert where["exp"] == where["resize"] == where["tile"] == "device"
    assert where["square"] == "device and host" and where["root"] == where["cast"] == "host"


def test_integers_are_shapes_and_numbers(device: Device) -> None:
    """A count says how long a window is; the window is the device's, and so is the count where it is a number."""
    model = _model(
        [
            N("Add", ["n", "two"], ["more"], name="more"), N("HannWindow", ["more"], ["window"], name="window"),
            N("Range", ["zero", "more", "one"], ["places"], name="range"),
            N("Shape", ["x"], ["s"], name="shape"), N("Mul", ["c", "c"], ["cc"], name="constants"),
            N("Identity", ["x"], ["i"], name="identity"), N("Add", ["i", "cc"], ["y"], name="sum"),
            N("Neg", ["y"], ["nobody"], name="nobody"), N("Shape", ["nobody"], ["t"], name="other shape"),
            N("Add", ["s", "t"], ["u"], name="shapes"),
        ],
        {"n": (T.INT64, []), "x": (T.FLOAT, ["k"])}, ["more", "window", "places", "y", "u"],
        two=np.int64(2), zero=np.int64(0), one=np.int64(1), c=f32(3),
    )  # fmt: skip
    ours = Model(load_onnx(model), device)
    for n in (5, 9):
        feeds = {"n": np.array(n, np.int64), "x": f32(3)}
        for want, have in zip(runtime(model, feeds), ours.run(feeds).values()):
            assert have.dtype == want.dtype
            np.testing.assert_allclose(have, want, rtol=1e-5, atol=1e-6)
    where = {n: p["where"].partition(":")[0] for n, p in ours.explain().to_dict()["placement"].items()}
    assert where == {
        "more": "device and host", "window": "device", "range": "device", "shape": "shapes",
        "constants": "folded at load", "identity": "view", "sum": "device", "nobody": "unused",
        "other shape": "shapes", "shapes": "shapes",
    }  # fmt: skip
    assert "folded at load 1" in str(ours.explain()) and ours.explain().to_dict()["host_nodes"] == 1


@pytest.mark.parametrize("turns", [0, 3])
def test_loops_over_what_the_host_knows(device: Device, turns: int) -> None:
    """The loop's condition comes of a steering float; its arithmetic is the device's."""
    body = helper.make_graph(
        [
            N("Sub", ["left", "step"], ["less"]), N("Greater", ["less", "nothing"], ["go"]),
            N("Add", ["a", "less"], ["b"]),
        ],
        "body", [
            helper.make_tensor_value_info("i", T.INT64, []), helper.make_tensor_value_info("c", T.BOOL, []),
            helper.make_tensor_value_info("left", T.FLOAT, []), helper.make_tensor_value_info("a", T.FLOAT, [3]),
        ],
        [
            helper.make_tensor_value_info("go", T.BOOL, []), helper.make_tensor_value_info("less", T.FLOAT, []),
            helper.make_tensor_value_info("b", T.FLOAT, [3]),
        ],
    )  # fmt: skip
    model = _model(
        [
            N("Greater", ["start", "nothing"], ["first"]),
            N("Loop", ["", "first", "start", "x"], ["end", "y"], body=body),
        ],
        {"start": (T.FLOAT, []), "x": (T.FLOAT, [3])}, ["end", "y"], step=np.float32(1), nothing=np.float32(0),
    )  # fmt: skip
    feeds = {"start": np.array(turns, np.float32), "x": f32(3)}
    ours = Model(load_onnx(model), device)
    for want, have in zip(runtime(model, feeds), ours.run(feeds).values()):
        np.testing.assert_allclose(have, want, rtol=1e-6)
    assert ours.explain().parts() is None  # nothing had to be read from the device
