"""Whole architectures in half precision: how far they are from ONNX Runtime in float32, and from PyTorch in half."""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime as ort
import pytest
import torch

import a1400
from a1400 import pytest_plugin
from a1400.backends.base import DeviceInfo
from tests.models import export as exporting
from tests.models.export import NAMES, export

#: by the output's scale; measured are up to 2.1e-3 and 1.4e-2
BOUND = {"fp16": 5e-3, "bf16": 3e-2}
#: one of each kind; the others run on the first device only
KINDS = ("bert", "convnext", "llama", "mobilenet_v2", "speech_gru", "speech_lstm", "t5_encoder", "unet")

_wanted: dict[str, dict[str, np.ndarray]] = {}


def _float32(name: str) -> dict[str, np.ndarray]:
    if name not in _wanted:
        path, feeds = export(name)
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        _wanted[name] = dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds)), strict=True))
    return _wanted[name]


def _errors(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> dict[str, float]:
    assert {n: (a.dtype, a.shape) for n, a in got.items()} == {n: (a.dtype, a.shape) for n, a in want.items()}
    return {n: float(np.abs(got[n] - a).max() / np.abs(a).max()) for n, a in want.items()}


def _check(name: str, precision: str, info: DeviceInfo) -> None:
    path, feeds = export(name)
    model = a1400.load(path, device=info.id, precision=precision)
    for output, error in _errors(model.run(feeds), _float32(name)).items():
        assert error < BOUND[precision], f"{name}.{output}: error {error:.2e} of the output's scale"
    facts = model.explain().to_dict()["precision"]
    kept = sum(map(len, facts["kept"].values()))
    assert facts["values"] > kept, facts  # half precision is the rule, not the exception
    assert facts["casts"] <= 6, facts


@pytest.mark.parametrize("precision", BOUND)
@pytest.mark.parametrize("name", KINDS)
def test_architecture(name: str, precision: str, device_info: DeviceInfo) -> None:
    _check(name, precision, device_info)


@pytest.mark.parametrize("precision", BOUND)
@pytest.mark.parametrize("name", sorted(set(NAMES) - set(KINDS)))
def test_other_architectures_on_the_first_device(name: str, precision: str, pytestconfig: pytest.Config) -> None:
    found = pytest_plugin.devices(pytestconfig)
    if not found:
        pytest.skip(pytest_plugin.NO_DEVICE)
    _check(name, precision, found[0])


@pytest.mark.parametrize("precision", BOUND)
@pytest.mark.parametrize("name", ["resnet18", "vit", "speech_lstm"])
def test_no_further_from_float32_than_pytorch(name: str, precision: str, device_info: DeviceInfo) -> None:
    """PyTorch's own half model rounds more often (inside expressions, and biases): it is never much nearer."""
    path, feeds = export(name)
    torch.manual_seed(sum(name.encode()))
    recipe = exporting._builder(name)("small")
    exporting._calibrate(recipe.network)
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    with torch.no_grad():
        network = copy.deepcopy(recipe.network).eval().to(dtype)
        result = network(*(t.to(dtype) if t.is_floating_point() else t for t in recipe.inputs.values()))
    tensors = result if isinstance(result, tuple) else (result,)
    want = _float32(name)
    theirs = _errors({n: t.float().numpy() for n, t in zip(want, tensors, strict=True)}, want)
    ours = _errors(a1400.load(path, device=device_info.id, precision=precision).run(feeds), want)
    for output, error in ours.items():
        assert error < 1.5 * theirs[output], f"{name}.{output}: {error:.2e}, PyTorch has {theirs[output]:.2e}"
