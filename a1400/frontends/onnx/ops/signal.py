"""Fourier transforms as matrix products with constant tables, long ones in steps, and the mel filter bank."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.graph import Value

#: a transform of real numbers of at most this length is one product with a table
_DIRECT = 128
#: rows of the largest table; longer transforms of prime length become convolutions
_LARGEST_TABLE = 1024

Pair = tuple[Value, Value]


def _tables(c: Ctx, rows: int, columns: int, n: int, forward: bool, dtype: np.dtype) -> Pair:
    """cos and sin [rows, columns] of 2 pi row column / n; the sines of a forward transform are negative."""

    def angle() -> np.ndarray:
        # the product is reduced as an integer, so that large n lose no accuracy
        product = np.outer(np.arange(rows, dtype=np.int64), np.arange(columns, dtype=np.int64)) % max(n, 1)
        return product * (2 * math.pi / n)

    c.claim(rows * columns)
    sign, key = -1.0 if forward else 1.0, ("dft", rows, columns, n, forward, str(dtype))
    return (
        c.table((*key, "cos"), lambda: np.cos(angle()).astype(dtype)),
        c.table((*key, "sin"), lambda: (np.sin(angle()) * sign).astype(dtype)),
    )


def _parts(c: Ctx, x: Value) -> tuple[Value, Value | None]:
    """Real and imaginary part of [..., 1 or 2]."""
    if x.shape[-1] not in (1, 2):
        raise GraphError(f"the last axis of {list(x.shape)} must be 1 (real) or 2 (complex)")
    real = c.reshape(c.slice(x, x.rank - 1, 0, 1), x.shape[:-1])
    return real, c.reshape(c.slice(x, x.rank - 1, 1, 1), x.shape[:-1]) if x.shape[-1] == 2 else None


def _fit(c: Ctx, x: Value, axis: int, n: int) -> Value:
    """Cut or zero-pad an axis to ``n``."""
    if x.shape[axis] >= n:
        return c.slice(x, axis, 0, n)
    high = tuple(n - x.shape[axis] if d == axis else 0 for d in range(x.rank))
    return c.op("pad", x, low=(0,) * x.rank, high=high, mode="constant")


def _transform(c: Ctx, real: Value, imaginary: Value | None, bins: int, inverse: bool) -> Pair:
    """The first ``bins`` of a transform along the last axis."""
    n, kept = real.shape[-1], real.dtype
    if kept.itemsize < 4:
        real, imaginary = c.cast(real, np.float32), None if imaginary is None else c.cast(imaginary, np.float32)
    if imaginary is None and n <= _DIRECT:
        parts = _product(c, (real, None), _tables(c, n, bins, n, not inverse, real.dtype))
    else:
        whole = imaginary or c.expand(c.scalar(0, real), real.shape)
        parts = _both(_in_steps(c, (real, whole), not inverse), lambda v: c.slice(v, v.rank - 1, 0, bins))
    if inverse:
        parts = _both(parts, lambda v: c.op("mul", v, c.scalar(1 / n, v)))
    return _both(parts, lambda v: c.cast(v, kept))


def _both(parts: Pair, change: Callable[[Value], Value]) -> Pair:
    """The real and the imaginary part changed alike."""
    return change(parts[0]), change(parts[1])


def _in_steps(c: Ctx, x: Pair, forward: bool) -> Pair:
    """A complex transform along the last axis, decimated in frequency (Gentleman and Sande, 1966).

    With n = a b, j = j1 b + j2 and k = k1 + a k2: transforms of a points over j1, a turn by j2 k1 / n, transforms of b
    points over j2.  Tables grow with a^2 + b^2 instead of n^2; a and b are split again while that is worth it.
    """
    *lead, n = x[0].shape
    a = max((d for d in range(1, math.isqrt(n) + 1) if n % d == 0), default=1)
    if a == 1:
        return _chirped(c, x, forward) if n > _LARGEST_TABLE else _by_table(c, x, forward)
    b, swapped = n // a, (*range(len(lead)), len(lead) + 1, len(lead))
    turned = _both(x, lambda v: c.transpose(c.reshape(v, (*lead, a, b)), swapped))
    turned = _step(c, turned, forward)  # [..., j2, k1]
    turned = _turned(c, turned, _tables(c, b, a, n, forward, turned[0].dtype))
    turned = _step(c, _both(turned, lambda v: c.transpose(v, swapped)), forward)  # [..., k1, k2]
    return _both(turned, lambda v: c.reshape(c.transpose(v, swapped), (*lead, n)))


def _step(c: Ctx, x: Pair, forward: bool) -> Pair:
    """One of the two transforms of a step: split again where its table would be large."""
    return _in_steps(c, x, forward) if x[0].shape[-1] > _DIRECT else _by_table(c, x, forward)


def _by_table(c: Ctx, x: Pair, forward: bool) -> Pair:
    n = x[0].shape[-1]
    return _product(c, x, _tables(c, n, n, n, forward, x[0].dtype))


def _chirped(c: Ctx, x: Pair, forward: bool) -> Pair:
    """A transform of any length as a convolution, by 2 j k = j^2 + k^2 - (k - j)^2 (Bluestein, 1970)."""
    n, dtype, last = x[0].shape[-1], x[0].dtype, x[0].rank - 1
    m, sign = 1 << (2 * n - 2).bit_length(), -1 if forward else 1

    c.claim(16 * m)

    def chirp() -> np.ndarray:
        squares = np.array([k * k % (2 * n) for k in range(n)])  # Python's integers: these do not overflow
        return np.exp(1j * sign * math.pi / n * squares)

    def spectrum() -> np.ndarray:
        around = np.zeros(m, complex)
        around[:n] = chirp().conj()
        around[m - n + 1 :] = around[1:n][::-1]
        return np.fft.fft(around) / m

    def table(what: str, make: Callable[[], np.ndarray]) -> Pair:
        key = ("chirp", what, n, forward, str(dtype))
        return (
            c.table((*key, "cos"), lambda: make().real.astype(dtype)),
            c.table((*key, "sin"), lambda: make().imag.astype(dtype)),
        )

    turn = table("turn", chirp)
    x = _in_steps(c, _both(_turned(c, x, turn), lambda v: _fit(c, v, last, m)), True)
    x = _in_steps(c, _turned(c, x, table("spectrum", spectrum)), False)
    return _turned(c, _both(x, lambda v: _fit(c, v, last, n)), turn)


def _turned(c: Ctx, parts: Pair, by: Pair) -> Pair:
    """Complex numbers times complex numbers, element by element."""
    (re, im), (cos, sin) = parts, by
    return (
        c.op("sub", c.op("mul", re, cos), c.op("mul", im, sin)),
        c.op("add", c.op("mul", re, sin), c.op("mul", im, cos)),
    )


def _product(c: Ctx, x: tuple[Value, Value | None], tables: Pair) -> Pair:
    """Real and imaginary part times the table, along the last axis."""
    (real, imaginary), (cos, sin) = x, tables
    re, im = c.op("matmul", real, cos), c.op("matmul", real, sin)
    if imaginary is not None:
        re = c.op("sub", re, c.op("matmul", imaginary, sin))
        im = c.op("add", im, c.op("matmul", imaginary, cos))
    return re, im


def _dft(c: Ctx, axis: int, length: int | None) -> Value:
    x, inverse, onesided = c[0], c.flag("inverse"), c.flag("onesided")
    axis = c.axis(axis, x.rank)
    if axis == x.rank - 1:
        raise GraphError("the axis cannot be the one that holds real and imaginary parts")
    real, imaginary = _parts(c, x)
    half = inverse and onesided  # the other half of the spectrum is the conjugate
    n = length if length is not None else (2 * (x.shape[axis] - 1) if half else x.shape[axis])
    if n < 1:
        raise GraphError(f"a transform of {n} points is not possible")
    to_last = [d for d in range(real.rank) if d != axis] + [axis]
    back = [to_last.index(d) for d in range(real.rank)]
    real = c.transpose(_fit(c, real, axis, n // 2 + 1 if half else n), to_last)
    imaginary = None if imaginary is None else c.transpose(_fit(c, imaginary, axis, n // 2 + 1 if half else n), to_last)
    if half:
        real, imaginary = _whole_spectrum(c, real, imaginary, n)
        return _joined(c, c.transpose(_transform(c, real, imaginary, n, True)[0], back), None)
    re, im = _transform(c, real, imaginary, n // 2 + 1 if onesided else n, inverse)
    return _joined(c, c.transpose(re, back), c.transpose(im, back))


def _whole_spectrum(c: Ctx, real: Value, imaginary: Value | None, n: int) -> tuple[Value, Value | None]:
    c.claim(8 * n)
    mirror = [k if k <= n // 2 else n - k for k in range(n)]
    index = c.table(("mirror", n), lambda: np.array(mirror, np.int64))
    if imaginary is not None:
        sign = c.table(
            ("conjugate", n, str(real.dtype)), lambda: np.where(np.arange(n) <= n // 2, 1, -1).astype(real.dtype)
        )
        imaginary = c.op("mul", c.op("gather", imaginary, index, axis=-1), sign)
    return c.op("gather", real, index, axis=-1), imaginary


def _joined(c: Ctx, re: Value, im: Value | None) -> Value:
    parts = [c.reshape(v, (*v.shape, 1)) for v in (re, im) if v is not None]
    return c.concat(parts, re.rank)


def _length(c: Ctx) -> int | None:
    return None if c.opt(1) is None else int(c.need_scalar(1, "the transform's length"))


@translates("DFT", since=17)
def dft_attribute(c: Ctx) -> Value:
    """Opset 17: the axis as attribute."""
    return _dft(c, c.integer("axis", 1), _length(c))


@translates("DFT", since=20)
def dft(c: Ctx) -> Value:
    """The axis as input."""
    return _dft(c, -2 if c.opt(2) is None else int(c.need_scalar(2, "the axis")), _length(c))


@translates("STFT", since=17)
def stft(c: Ctx) -> Value:
    """Windows of the signal, each transformed: [B, frames, bins, 2]."""
    x, step = c[0], int(c.need_scalar(1, "the frame step"))
    window = c.opt(2)
    length = window.shape[0] if c.opt(3) is None and window is not None else int(c.need_scalar(3, "the frame length"))
    if step < 1 or not 1 <= length <= x.shape[1]:
        raise GraphError(f"frames of {length} every {step} over a signal of {x.shape[1]}")
    frames = (x.shape[1] - length) // step + 1
    real, imaginary = _parts(c, x) if x.rank == 3 else (x, None)
    c.claim(frames * length)
    index = c.table(
        ("frames", frames, step, length),
        lambda: (np.arange(frames)[:, None] * step + np.arange(length)).astype(np.int64),
    )

    def framed(v: Value) -> Value:
        y = c.op("gather", v, index, axis=1)
        return y if window is None else c.op("mul", y, c.cast(window, y.dtype))

    bins = length // 2 + 1 if c.flag("onesided", True) else length
    return _joined(c, *_transform(c, framed(real), None if imaginary is None else framed(imaginary), bins, False))


#: a window is a - b cos(x) + c cos(2 x)
_WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08)
}  # fmt: skip


@translates(*_WINDOWS, since=17)
def window(c: Ctx) -> Value:
    """Windows of cosines; ONNX's own bodies of them compute in float32 whatever type is wanted."""
    size = int(c.need_scalar(0, "the window's size"))
    dtype = dtype_of(c.integer("output_datatype", 1), "the result")
    wide = np.promote_types(dtype, np.float32) if dtypes.is_float(dtype) else np.dtype(np.float32)
    if not 0 <= size < 2**31:
        raise GraphError(f"a window of {size} numbers is not possible")
    steps = size if c.flag("periodic", True) else size - 1
    angles = c.op("mul", c.cast(c.ramp(size, [c[0]]), wide), c.scalar(2 * math.pi / max(steps, 1), wide))
    first, second, third = _WINDOWS[c.node.op]
    y = c.op("sub", c.scalar(first, wide), c.op("mul", c.op("cos", angles), c.scalar(second, wide)))
    if third:
        twice = c.op("cos", c.op("mul", angles, c.scalar(2, wide)))
        y = c.op("add", y, c.op("mul", twice, c.scalar(third, wide)))
    return c.cast(y, dtype)


@translates("MelWeightMatrix", since=17)
def mel_weight_matrix(c: Ctx) -> Value:
    """Triangular filters, evenly spaced on the mel scale: [dft bins, mel bins]."""
    names = ("the number of mel bins", "the transform's length", "the sample rate", "the lower edge", "the upper edge")
    mels, length, rate, low, high = (float(c.need_scalar(i, names[i])) for i in range(5))
    dtype = dtype_of(c.integer("output_datatype", 1), "the result")
    if not (0 < mels < 2**20 and 0 < length < 2**24 and rate > 0):
        raise GraphError(f"{mels} mel bins of a transform of {length} points at {rate} Hz")
    first, last = (2595 * math.log10(1 + f / 700) for f in (low, high))
    edges = first + np.arange(int(mels) + 2) * ((last - first) / (mels + 2))
    # which bins the filters reach from and to is arithmetic of indices, and wants float64
    bins = np.floor((length + 1) * (700 * (10 ** (edges / 2595) - 1)) / rate).astype(np.int32)
    left, centre, right = (c.const(bins[i : i + int(mels)]) for i in range(3))
    return c.cast(_triangles(c, c.ramp(int(length) // 2 + 1, [c[i] for i in range(5)]), left, centre, right), dtype)


def _triangles(c: Ctx, k: Value, left: Value, centre: Value, right: Value) -> Value:
    """Filters that rise from ``left`` to 1 at ``centre`` and fall to ``right``: f32 [k, filters] of i32 bins ``k``."""
    k, nought = c.cast(c.reshape(k, (k.size, 1)), np.int32), c.scalar(0, np.float32)

    def share(part: Value, whole: Value) -> Value:
        """``part / whole``; all at the filter's centre where ``whole`` is nothing."""
        least = c.op("max", whole, c.scalar(1, np.int32))
        ratio = c.op("div", c.cast(part, np.float32), c.cast(least, np.float32))
        return c.op("where", c.op("eq", whole, c.scalar(0, np.int32)), c.cast(at_centre, np.float32), ratio)

    at_centre = c.op("eq", k, centre)
    rising = share(c.op("sub", k, left), c.op("sub", centre, left))
    falling = share(c.op("sub", right, k), c.op("sub", right, centre))
    up = c.op("and", c.op("le", left, k), c.op("le", k, centre))
    down = c.op("and", c.op("lt", centre, k), c.op("lt", k, right))
    return c.op("where", up, rising, c.op("where", down, falling, nought))
