"""Whole architectures, exported with random weights at test time, on every device against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest

import a1400
from a1400.backends.base import DeviceInfo
from tests.models.export import NAMES, export


@pytest.mark.parametrize("name", NAMES)
def test_architecture(name: str, device_info: DeviceInfo) -> None:
    path, feeds = export(name)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    model = a1400.load(path, device=device_info.id)
    got = model.run(feeds)
    assert list(got) == list(wanted)
    for output, want in wanted.items():
        assert got[output].shape == want.shape and got[output].dtype == want.dtype
        scale = float(np.abs(want).max())
        error = float(np.abs(got[output] - want).max()) / scale
        assert error < 1e-4, f"{name}.{output}: error {error:.2e} of the output's scale"
    facts = model.explain().to_dict()
    assert facts["host_nodes"] == 0
