"""Peaks that need no measurement, small models, and a made-up profile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import a1400
from a1400.profile import LaunchProfile, Moments, Profile, Roofline, Tenant, Times, roofline
from a1400.profile.result import PHASES
from tests.cli.fakes import DEVICE
from tests.engine import onnx_models

PEAKS = Roofline("some device", "2025-02-03T04:05:06+00:00", {"f32": 2e11, "f64": 1e11},
                 ((1 << 18, 1e11), (1 << 22, 1.5e11), (1 << 28, 3e10)))  # fmt: skip
EVIL = "</title><script>alert(1)</script>\x1b[31m\u202e\nline\"'&"


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> Roofline:
    """Every device has these peaks."""
    monkeypatch.setattr(roofline, "roofline", lambda device, again=False: PEAKS)
    return PEAKS


def cnn(path: Path) -> Path:
    """``y = global average(relu(conv 3x3(conv 1x1(x))))``: x[1, 8, 16, 16], 24 and 40 channels; names are hostile."""
    rng = np.random.default_rng(1)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "W"], ["a"], name="pointwise", kernel_shape=[1, 1]),
        helper.make_node("Conv", ["a", "V"], ["b"], name=EVIL, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["b"], ["c"], name="relu"),
        helper.make_node("GlobalAveragePool", ["c"], ["y"], name="mean"),
    ]
    graph = helper.make_graph(
        nodes, "cnn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 40, 1, 1])],
        [weight("W", 24, 8, 1, 1), weight("V", 40, 24, 3, 3)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


MODELS: dict[str, tuple[Callable[[Path], Path], dict[str, tuple[int, ...]]]] = {
    "mlp": (onnx_models.mlp, {"x": (16, 32)}),
    "cnn": (cnn, {"x": (1, 8, 16, 16)}),
    "decoder_step": (onnx_models.decoder_step, {"x": (3, 8), "cache": (3, 8)}),
}


def feeds(name: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(2)
    return {key: rng.standard_normal(shape).astype(np.float32) for key, shape in MODELS[name][1].items()}


def load(name: str, folder: Path, device: str) -> a1400.Model:
    return a1400.load(MODELS[name][0](folder / f"{name}.onnx"), device=device)


def made_up(count: int = 3, name: str = "node") -> Profile:
    """A profile of ``count`` launches of 1 ms each, 0.1 ms apart, in two kernels; the first launch moves data only."""
    launches = [
        LaunchProfile(
            i, ("gemm/cpu", "copy/cpu")[i % 2 == 0], "matmul", (f"{name}{i}",), {"T": "f32"}, {"M": 4, "alpha": 0.5},
            {"MR": 8}, (2, 1, 1), (1, 1, 1), 1e6 * i, 1e5, 1e-3, 9e-4, 1e-4 if i else 0.0,
            1e-4 * i + 3e-5, 1e-4 * i + 5e-5, 1e-3 + 1.1e-3 * i, 2e-3 + 1.1e-3 * i, "f32", PEAKS.seconds(1e6 * i, 1e5),
        )
        for i in range(count)
    ]  # fmt: skip
    end = 3e-3 + 1.1e-3 * count
    arena = [Tenant(f"{name}{i}", 4096 * (i % 2), 4096, i, i + 1) for i in range(count)]
    return Profile(
        f"model {name}", replace(DEVICE, name=f"device {name}"), "fp32", "2025-02-03", {f"x{name}": (1, 2)}, 5,
        Times(4e-3, 3e-3, 5e-3, 2e-3), Times(5e-3, 4e-3, 6e-3, 3e-3), {phase: 1e-4 for phase in PHASES},
        Moments(0.0, 1e-5, 2e-5, end - 1e-5, end), launches, PEAKS, arena, 8192,
    )  # fmt: skip
