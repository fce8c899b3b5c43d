"""Whole architectures, exported with random weights at test time, on every device against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort
import pytest

import a1400
from a1400.backends.base import DeviceInfo
from tests.models.export import NAMES, export


def _agree(name: str, model: a1400.Model, session: ort.InferenceSession, feeds: Mapping[str, np.ndarray]) -> None:
    wanted = dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds)), strict=True))
    got = model.run(feeds)
    assert list(got) == list(wanted)
    for output, want in wanted.items():
        assert got[output].shape == want.shape and got[output].dtype == want.dtype
        error = float(np.abs(got[output] - want).max()) / float(np.abs(want).max())
        assert error < 1e-4, f"{name}.{output}: error {error:.2e} of the output's scale"


def _session(path: object) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_architecture(name: str, device_info: DeviceInfo) -> None:
    path, feeds = export(name)
    model = a1400.load(path, device=device_info.id)
    _agree(name, model, _session(path), feeds)
    facts = model.explain().to_dict()
    assert facts["host_nodes"] == 0
    assert set(facts["places"]) <= {"device", "view", "shapes", "folded at load", "unused"}


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5_encoder", "resnet18", "unet", "speech_lstm"])
def test_other_shapes_of_a_loaded_model(name: str, device_info: DeviceInfo) -> None:
    """Symbolic dimensions take other sizes, one plan after the other and back again."""
    path, feeds = export(name)
    model, session = a1400.load(path, device=device_info.id), _session(path)
    rng = np.random.default_rng(0)
    for batch, other in ((1, 0), (3, 4), (1, 0)):
        changed = {}
        for key, array in feeds.items():
            symbolic = model.inputs[key].shape or ()
            shape = tuple(
                n if isinstance(d, int) else batch if i == 0 else n + other
                for i, (n, d) in enumerate(zip(array.shape, symbolic, strict=True))
            )
            changed[key] = rng.choice(array.reshape(-1), shape).astype(array.dtype)
            if "mask" in key:
                changed[key][:] = 1
        if name == "unet":  # sizes must be multiples of the network's total stride
            changed = {k: np.repeat(v, batch, axis=0) for k, v in feeds.items()}
        _agree(name, model, session, changed)
