"""Functions that kernels do not know, by series: gamma functions, the inverse of erf."""

from __future__ import annotations

import math

from a1400.frontends.torch.context import Ctx
from a1400.frontends.torch.registry import translates
from a1400.graph.tensor import Tensor

#: Lanczos' series for g = 7, n = 9 (Godfrey's coefficients)
_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip
#: Giles, "Approximating the erfinv function" (2010), single precision: near 0 and in the tails
_NEAR = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip
_FAR = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
)  # fmt: skip
#: Bernoulli numbers B2k / 2k of digamma's asymptotic series
_DIGAMMA = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132)


def _log_gamma(x: Tensor) -> Tensor:
    """Of x >= 0.5."""
    z = x - 1.0
    series = z.filled(_LANCZOS[0])
    for i, coefficient in enumerate(_LANCZOS[1:], 1):
        series = series + coefficient / (z + float(i))
    t = z + 7.5
    return 0.5 * math.log(2 * math.pi) + (z + 0.5) * t.log() - t + series.log()


@translates("lgamma")
def lgamma(c: Ctx, x: Tensor) -> Tensor:
    """Logarithm of the gamma function's magnitude; below 0.5 by reflection."""
    x = x.cast(c.dtype)
    small = x < 0.5
    direct = _log_gamma(small.where(1.0 - x, x))
    sine = ((x - x.floor()) * math.pi).op("sin").abs()
    found = small.where(math.log(math.pi) - sine.log() - direct, direct)
    return x.op("isinf").where(x.filled(math.inf), found)


@translates("digamma")
def digamma(c: Ctx, x: Tensor) -> Tensor:
    """Derivative of the gamma function's logarithm: moved up by recurrence, then the asymptotic series."""
    x = x.cast(c.dtype)
    small = x <= 0
    y = small.where(1.0 - x, x)
    below = y.filled(0)
    for _ in range(6):
        low = y < 6.0
        below = low.where(below + 1.0 / y, below)
        y = low.where(y + 1.0, y)
    inverse = 1.0 / (y * y)
    series, power = y.filled(0), inverse
    for coefficient in _DIGAMMA:
        series = series + power * coefficient
        power = power * inverse
    found = y.log() - 0.5 / y - series - below
    part = (x - x.floor()) * math.pi
    reflected = found - math.pi * part.op("cos") / part.op("sin")
    pole = small & x.equal(x.floor())
    at_pole = x.equal(0).where(-(1.0 / x), x.filled(math.nan))
    return pole.where(at_pole, small.where(reflected, found))


@translates("erfinv")
def erfinv(c: Ctx, x: Tensor) -> Tensor:
    """Inverse of erf, sharpened by a step of Newton's."""
    x = x.cast(c.dtype)
    w = -((1.0 - x) * (1.0 + x)).log()
    near, far = w - 2.5, w.sqrt() - 3.0
    tail = w >= 5.0
    t = tail.where(far, near)
    p = tail.where(x.filled(_FAR[0]), _NEAR[0])
    for a, b in zip(_NEAR[1:], _FAR[1:]):
        p = p * t + tail.where(x.filled(b), a)
    y = p * x
    y = y - (y.op("erf") - x) * ((y * y).exp() * (0.5 * math.sqrt(math.pi)))
    return (x.abs() >= 1.0).where(x / (1.0 - x.abs()), y)


@translates("polygamma")
def polygamma(c: Ctx, n: int, x: Tensor) -> Tensor:
    """Derivatives of :func:`digamma`: the first one, by recurrence, asymptotic series and reflection."""
    x = x.cast(c.dtype)
    if n == 0:
        return digamma(c, x)
    if n != 1:
        raise c.refuse("polygamma functions above the first are not supported")
    small = x < 0.5
    y = small.where(1.0 - x, x)
    below = y.filled(0)
    for _ in range(6):
        below, y = below + 1.0 / (y * y), y + 1.0
    inverse = 1.0 / (y * y)
    series = 1.0 / 6 + inverse * (-1.0 / 30 + inverse * (1.0 / 42 + inverse * (-1.0 / 30)))
    found = below + 1.0 / y + 0.5 * inverse + series * inverse / y
    sine = (x * math.pi).op("sin")
    return small.where(math.pi * math.pi / (sine * sine) - found, found)
