"""Accuracy of the elementary functions in single precision, against NumPy in double, in units in the last place.

The same text runs on every vendor, so one bound holds everywhere; vectors and scalars are both measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from a1400.backends.base import Device
from a1400.kernels.check import bind
from a1400.kernels.expr import apply, arg
from a1400.kernels.pointwise import POINTWISE, scalars
from a1400.kernels.spec import Operand, SlotArgument, SlotCode, call

F32 = np.dtype(np.float32)
COUNT = 1 << 16
ULP = 3.0


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


FUNCTIONS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "exp": (np.exp, 100.0),
    "log": (np.log, 0.0),
    "tanh": (np.tanh, 20.0),
    "erf": (np.vectorize(math.erf, otypes=[np.float64]), 6.0),
    # beyond e^87 the reciprocal of an infinity is 0 where a subnormal would be exact
    "sigmoid": (_sigmoid, 87.0),
    "softplus": (lambda x: np.logaddexp(x, 0), 87.0),
}


def _inputs(name: str, reach: float) -> np.ndarray:
    """Dense where the result bends, every binade down to the smallest, both ends of the range."""
    rng = np.random.default_rng(7)
    if name == "log":
        return np.concatenate([2.0 ** rng.uniform(-149, 128, COUNT // 2), rng.uniform(0.3, 3, COUNT // 2)]).astype(F32)
    if name == "exp":
        return rng.uniform(-104.5, 90, COUNT).astype(F32)
    tiny = np.exp(rng.uniform(-80, 0, COUNT // 4)) * rng.choice([-1, 1], COUNT // 4)
    return np.concatenate([rng.uniform(-2, 2, COUNT // 2), rng.uniform(-reach, reach, COUNT // 4), tiny]).astype(F32)


def evaluate_on(device: Device, name: str, variant: str, x: np.ndarray) -> np.ndarray:
    """``name`` of ``x`` on the device."""
    spec = POINTWISE[1, 1]
    code = SlotCode(apply(name, arg(1, F32)), (Operand(F32, 1),))
    stream = device.stream()
    source, target = device.alloc(x.nbytes), device.alloc(x.nbytes)
    stream.write(source, x)
    made = call(
        spec, spec.variant(variant), {"T": F32}, {"y": target}, scalars(device.info, x.shape, [(0, (1,))]),
        slots={"BODY": (code, [SlotArgument(source, 0, (1,))])},
    )  # fmt: skip
    stream.run([bind(made, device)])
    result = np.empty_like(x)
    stream.read(target, result)
    return result


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_is_a_few_ulp(name: str, variant: str, device: Device) -> None:
    if device.info.backend not in POINTWISE[1, 1].variant(variant).backends:
        pytest.skip("an OpenCL variant")
    reference, reach = FUNCTIONS[name]
    x = _inputs(name, reach)
    got = evaluate_on(device, name, variant, x).astype(np.float64)
    with np.errstate(all="ignore"):
        expected = reference(x.astype(np.float64))
        rounded = expected.astype(F32)
        ulp = np.spacing(np.abs(rounded)).astype(np.float64)
        error = np.where(got == rounded, 0.0, np.abs(got - expected) / ulp)
    finite = np.isfinite(rounded) & (np.abs(rounded) < np.finfo(F32).max * 0.999999)
    worst = int(np.argmax(np.where(finite, error, 0)))
    assert error[worst] <= ULP, f"{name}({x[worst]!r}) = {got[worst]!r}, off by {error[worst]:.2f} ulp"
    assert np.array_equal(got[~finite], rounded[~finite].astype(np.float64)) or name == "exp"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str, device: Device) -> None:
    x = np.resize(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-42, -1e-42], F32), 45)
    variant = "cpu" if device.info.backend == "opencl" else "gpu"
    got = evaluate_on(device, name, variant, x)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][0](x.astype(np.float64)).astype(F32)
    np.testing.assert_allclose(got, expected, rtol=3e-7, atol=1e-44)
