"""Fourier transforms of every kind of length, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.engine.model import Model
from a1400.frontends.onnx import load_onnx
from tests.frontends.building import f32, one_node, ours


def _transformed(x: np.ndarray, inverse: bool, onesided: bool) -> np.ndarray:
    whole = x.astype(np.float64)
    numbers = whole[..., 0] + (1j * whole[..., 1] if x.shape[-1] == 2 else 0)
    y = (np.fft.ifft if inverse else np.fft.fft)(numbers, axis=1)
    y = y[:, : x.shape[1] // 2 + 1] if onesided else y
    return np.stack([y.real, y.imag], -1)


# one number, one table, tables of tables, a prime's table, a long prime and twice one as convolutions
@pytest.mark.parametrize("n", [1, 60, 300, 1021, 1031, 2062, 4096])
@pytest.mark.parametrize("parts", [1, 2])
def test_lengths(n: int, parts: int) -> None:
    x = f32(2, n, parts)
    inverse, onesided = parts == 2, parts == 1
    model, feeds = one_node("DFT", [x], opset=19, axis=1, inverse=int(inverse), onesided=int(onesided))
    expected = _transformed(x, inverse, onesided)
    np.testing.assert_allclose(ours(model, feeds)["y0"], expected, atol=3e-6 * abs(expected).max())


def test_half_types_are_rounded_once() -> None:
    x = f32(1, 60, 2).astype(np.float16)
    model, feeds = one_node("DFT", [x], opset=19, axis=1)
    got = ours(model, feeds)["y0"]
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, _transformed(x, False, False), rtol=1e-3, atol=1e-4)


def test_steps_on_devices(device) -> None:  # type: ignore[no-untyped-def]
    x = f32(2, 2062, 2)
    model, feeds = one_node("DFT", [x], opset=19, axis=1)
    expected = _transformed(x, False, False)
    got = Model(load_onnx(model), device).run(feeds)["y0"]
    np.testing.assert_allclose(got, expected, atol=3e-6 * abs(expected).max())
