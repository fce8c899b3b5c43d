"""SVMClassifier beside ONNX Runtime: pairs of classes, votes, probabilities, and the linear form."""

from __future__ import annotations

from typing import Any

import pytest

import a1400
from a1400.backends.base import DeviceInfo
from tests.frontends.building import f32
from tests.frontends.test_onnx_labels import check, expected, ml, model_of, same


def _machine(classes: int, kind: str, probable: bool) -> dict[str, Any]:
    counts, pairs = [2 + i % 2 for i in range(classes)], classes * (classes - 1) // 2
    total = sum(counts)
    attrs = {
        "kernel_type": kind, "kernel_params": [0.4, 0.3, 2.0], "vectors_per_class": counts,
        "support_vectors": f32(3 * total).tolist(), "coefficients": f32((classes - 1) * total, seed=1).tolist(),
        "rho": f32(pairs, seed=2, low=-0.3, high=0.3).tolist(),
    }  # fmt: skip
    if probable:
        attrs |= {"prob_a": f32(pairs, seed=3, low=-2, high=-0.5).tolist(), "prob_b": f32(pairs, seed=4).tolist()}
    return attrs


@pytest.mark.parametrize("kind", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("classes", [2, 4])
def test_votes(kind: str, classes: int) -> None:
    labels = {"classlabels_ints": [5, 3, 8, 1][:classes]}
    node = ml("SVMClassifier", ["x"], ["y", "z"], **_machine(classes, kind, False), **labels)
    check([node], {"x": f32(9, 3)}, ["y", "z"])


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities(classes: int, how: str) -> None:
    labels = {"classlabels_strings": ["a", "b", "c", "d"][:classes], "post_transform": how}
    node = ml("SVMClassifier", ["x"], ["y", "z"], **_machine(classes, "RBF", True), **labels)
    check([node], {"x": f32(9, 3)}, ["y", "z"])


def test_without_support_vectors() -> None:
    kernel = {"kernel_type": "LINEAR", "kernel_params": [0.0, 0.0, 0.0]}
    for how in ("NONE", "LOGISTIC"):
        linear = {"coefficients": f32(12).tolist(), "rho": [0.2, 0.1], "post_transform": how, **kernel}
        node = ml("SVMClassifier", ["x"], ["y", "z"], classlabels_ints=[4, 8, 1, 3], **linear)
        check([node], {"x": f32(6, 3)}, ["y", "z"])
        two = {"coefficients": f32(6).tolist(), "rho": [0.2], "post_transform": how, **kernel}
        # ONNX Runtime says the second class whatever the scores are
        node = ml("SVMClassifier", ["x"], ["y", "z"], classlabels_ints=[4, 8], **two)
        check([node], {"x": f32(6, 3)}, ["z"])


def test_coefficients_that_are_positive() -> None:
    attrs = _machine(2, "LINEAR", False)
    attrs["coefficients"] = [abs(v) for v in attrs["coefficients"]]
    node = ml("SVMClassifier", ["x"], ["y", "z"], classlabels_ints=[4, 8], **attrs)
    check([node], {"x": f32(9, 3)}, ["y", "z"])


def test_probabilities_on_devices(device_info: DeviceInfo) -> None:
    node = ml("SVMClassifier", ["x"], ["y", "z"], name="machine", classlabels_strings=["a", "b", "c"],
              **_machine(3, "RBF", True))  # fmt: skip
    x = f32(9, 3)
    proto = model_of([node], {"x": x}, ["y", "z"])
    model = a1400.load(proto, device=device_info.id)
    for have, want in zip(model.run({"x": x}).values(), expected(proto, {"x": x})):
        same(have, want)
    assert "pairwise_coupling" in model.explain().placement()["machine"]
