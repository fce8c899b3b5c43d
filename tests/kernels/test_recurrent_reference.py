"""The recurrent kernels' references against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.kernels import recurrent
from a1400.kernels import recurrent_reference as ref
from a1400.kernels.spec import Case

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

T, B, H = 5, 3, 7
CELLS = {"LSTM": (ref.Lstm, 4), "GRU": (ref.Gru, 3), "RNN": (ref.Rnn, 1)}
SETTINGS = [
    ("LSTM", {}), ("LSTM", {"peep": 1}), ("LSTM", {"clip": 0.3, "peep": 1}), ("LSTM", {"input_forget": 1}),
    ("LSTM", {"reverse": 1, "lens": 1}), ("LSTM", {"lens": 1}), ("GRU", {"lens": 1}),
    ("GRU", {"reverse": 1, "lens": 1}), ("GRU", {"linear_before_reset": 1}), ("GRU", {"clip": 0.3}),
    ("RNN", {}), ("RNN", {"reverse": 1, "lens": 1}),
    ("RNN", {"clip": 0.3}),
]  # fmt: skip
NAMES = {
    "affine": "Affine", "relu": "Relu", "leakyrelu": "LeakyRelu", "thresholdedrelu": "ThresholdedRelu",
    "scaledtanh": "ScaledTanh", "hardsigmoid": "HardSigmoid", "elu": "Elu", "softsign": "Softsign",
    "softplus": "Softplus", "sigmoid": "Sigmoid", "tanh": "Tanh",
}  # fmt: skip


def _node(op: str, arrays: dict[str, np.ndarray], names: list[str], **attributes: object) -> list[np.ndarray]:
    helper = onnx.helper
    outputs = ["y", "hn", "cn"] if op == "LSTM" else ["y", "hn"]
    node = helper.make_node(op, names, outputs, hidden_size=H, **attributes)
    types = {np.dtype(np.float32): onnx.TensorProto.FLOAT, np.dtype(np.int32): onnx.TensorProto.INT32}
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info(n, types[arrays[n].dtype], arrays[n].shape) for n in names if n],
        [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {n: arrays[n] for n in names if n})


def _compare(op: str, settings: dict[str, int | float], **attributes: object) -> None:
    rng = np.random.default_rng(0)
    cell, gates = CELLS[op]
    lens = np.array([5, 2, 3], np.int32) if settings.get("lens") else np.full(B, T, np.int32)
    a: dict[str, np.ndarray] = {
        "x": rng.normal(size=(T, B, 4)), "w": rng.normal(size=(1, gates * H, 4)),
        "r": rng.normal(size=(1, gates * H, H)), "bias": rng.normal(size=(1, 2 * gates * H)),
        "h0": rng.normal(size=(1, B, H)), "c0": rng.normal(size=(1, B, H)), "p": rng.normal(size=(1, 3 * H)),
    }  # fmt: skip
    a = {**{k: v.astype(np.float32) for k, v in a.items()}, "lens": lens}
    names = ["x", "w", "r", "bias", "lens", "h0"]
    names += ["c0", "p" if settings.get("peep") else ""] if op == "LSTM" else []
    for key in ("clip", "input_forget", "linear_before_reset"):
        if key in settings:
            attributes[key] = settings[key]
    if settings.get("reverse"):
        attributes["direction"] = "reverse"
    wanted = _node(op, a, names, **attributes)

    wb, rb = np.split(a["bias"][0].astype(np.float64), 2)
    held = op == "GRU" and settings.get("linear_before_reset")
    if held:
        wb, rb, rbh = wb, np.concatenate([rb[: 2 * H], np.zeros(H)]), rb[2 * H :]
    xw = a["x"].astype(np.float64) @ a["w"][0].T + wb + rb
    given = {k: v for k, v in settings.items() if k not in ("lens", "peep")}
    given |= {"has_lens": 1, "has_h0": 1}
    if op == "LSTM":
        given |= {"has_c0": 1, "has_peep": settings.get("peep", 0)}
    s = recurrent.scalars(op.lower(), T, B, H, **given)
    zeros = np.zeros((B, 2 * H))
    arrays = {
        "xw": xw, "r": recurrent.pack(a["r"][0].astype(np.float64), gates), "lens": lens, "h0": a["h0"], "c0": a["c0"],
        "peep": a["p"], "rbh": rbh if held else zeros, "y": np.zeros((T, B, H)), "hn": np.zeros((B, H)),
        "cn": np.zeros((B, H)), "state": np.zeros((B, H)) if op == "LSTM" else np.zeros((B, 2, H)),
    }  # fmt: skip
    got = cell(arrays, s, Case("", {}, s, {}, {"T": np.dtype(np.float64)})).run()
    for key, value in zip(("y", "hn", "cn"), wanted):
        np.testing.assert_allclose(got[key].reshape(value.shape), value, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.parametrize(("op", "settings"), SETTINGS)
def test_reference_is_onnx(op: str, settings: dict[str, int | float]) -> None:
    _compare(op, dict(settings))


@pytest.mark.parametrize("act", [a for a in recurrent.ACTIVATIONS if a != "softplus"])
def test_activations_are_onnx(act: str) -> None:
    alpha, beta = (0.5, 0.1) if act == "affine" else ref.DEFAULT_ALPHA_BETA.get(act, (0.0, 0.0))
    if act == "thresholdedrelu":
        alpha = 0.2
    _compare(
        "RNN", {"act_f": recurrent.ACTIVATIONS.index(act), "alpha_f": alpha, "beta_f": beta},
        activations=[NAMES[act]], activation_alpha=[alpha], activation_beta=[beta],
    )  # fmt: skip


def test_packing_inverts() -> None:
    w = np.random.default_rng(0).normal(size=(4 * 37, 37))
    np.testing.assert_array_equal(ref.unpack(recurrent.pack(w, 4), 4, 37), w.reshape(4, 37, 37))
