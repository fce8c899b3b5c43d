"""Elementwise operators: of one tensor, of several that broadcast, and casts."""

from __future__ import annotations

import math

import numpy as np

from tests.onnx_sweep.case import BFLOAT16, EXACT, FEW, FUNCTION, INTS, Draw, Node, Tolerance, sweep


def _one(draw: Draw, low: float = -3.0, high: float = 3.0, special: bool = True) -> np.ndarray:
    return draw.values(draw.shape(), low, high, special=special and draw.chance(0.4))


@sweep(
    "Abs", "Ceil", "Floor", "Round", "Neg", "Not", "Sign", "Relu", "Identity", "BitwiseNot", "IsNaN", tolerance=EXACT
)
def exact(draw: Draw) -> Node:
    x = _one(draw, -5, 5)
    if draw.operator == "Round" and draw.chance(0.5):
        x = (draw.rng.integers(-9, 10, x.shape) / 2).astype(x.dtype)  # ties go to even
    if draw.operator == "Sign":
        x = np.where(x != x, np.array(1, x.dtype), x)  # the sign of NaN is not said
    return Node([x])


@sweep("IsInf", tolerance=EXACT)
def is_inf(draw: Draw) -> Node:
    attrs = {"detect_negative": draw.integer(0, 1), "detect_positive": draw.integer(0, 1)} if draw.chance(0.6) else {}
    return Node([draw.values(draw.shape(), special=True)], attrs)


@sweep("Sqrt", "Reciprocal", tolerance=FEW)
def roots(draw: Draw) -> Node:
    return Node([_one(draw)])


@sweep(
    "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Exp", "Log", "Sigmoid", "Sin", "Sinh", "Tan",
    "Tanh", "Softplus", "Softsign", "Mish",
    tolerance=FUNCTION,
)  # fmt: skip
def functions(draw: Draw) -> Node:
    bounds = {"Acos": (-1, 1), "Asin": (-1, 1), "Atanh": (-1, 1), "Acosh": (1, 30), "Log": (0, 9)}
    low, high = bounds.get(draw.operator) or draw.choose([(-1, 1), (-5, 5), (-20, 20)])
    if draw.operator == "Tan":
        low, high = -1.5, 1.5
    x = _one(draw, low, high)
    if draw.operator in ("Cos", "Sin", "Tan"):
        x = np.where(np.abs(x.astype(np.float64)) > 1e3, np.array(0.5, x.dtype), x)  # finite, and a sane argument
        return Node([x], scale=4)  # ONNX Runtime's float64 cosine is good to eps, not to ulps
    # the logarithm in Mish leaves eps out beside 1 there
    return Node([x], scale=20 if draw.operator == "Mish" else 1)


@sweep("HardSwish", tolerance=FUNCTION)
def hard_swish(draw: Draw) -> Node:
    x = _one(draw, *draw.choose([(-1, 1), (-5, 5)]))
    if draw.dtype != np.float64:
        return Node([x], scale=4)
    # a third party's 1/6 is float32's; the standard's is a number
    return Node([x], scale=4, expected=lambda: [np.where(np.isneginf(x), np.nan, x * np.clip(x / 6 + 0.5, 0, 1))])


@sweep("Erf", tolerance=FUNCTION, doubt="of float64 it is float32")
def erf(draw: Draw) -> Node:
    x = _one(draw, -4, 4)
    if draw.dtype.kind not in "iu":
        return Node([x])
    x = draw.values(x.shape, -2, 2)
    return Node([x], expected=lambda: [np.array([math.erf(v) for v in x.flat]).astype(x.dtype).reshape(x.shape)])


@sweep("Celu", "Elu", "HardSigmoid", "LeakyRelu", "Selu", "Shrink", "ThresholdedRelu", "Swish", tolerance=FUNCTION)
def activations(draw: Draw) -> Node:
    names = {
        "Celu": ["alpha"], "Elu": ["alpha"], "HardSigmoid": ["alpha", "beta"], "LeakyRelu": ["alpha"],
        "Selu": ["alpha", "gamma"], "Shrink": ["lambd", "bias"], "ThresholdedRelu": ["alpha"], "Swish": ["alpha"],
    }  # fmt: skip
    attrs: dict[str, object] = {
        n: float(np.float32(draw.rng.uniform(0.2, 2.0))) for n in names.get(draw.operator, ()) if draw.chance(0.6)
    }
    x = _one(draw, -4, 4, special=draw.dtype.kind not in "iu")
    if draw.operator == "Shrink" and draw.dtype.kind in "iu":
        attrs = {"lambd": 1.0, "bias": 1.0}
        x = draw.values(x.shape, 2 if draw.dtype.kind == "u" else -20, 20)
    doubt = "of float64 it is float32" if draw.operator == "Shrink" and draw.dtype == np.float64 else ""
    if draw.operator == "Swish":
        x = np.where(np.isfinite(x.astype(np.float64)), x, np.array(1, x.dtype))  # infinity times zero is not said
    return Node([x], attrs, doubt=doubt, scale=4)


@sweep("Gelu", tolerance=FUNCTION)
def gelu(draw: Draw) -> Node:
    x = _one(draw, -4, 4, special=False)
    tanh = draw.chance(0.5)
    attrs = {"approximate": "tanh" if tanh else "none"} if tanh or draw.chance(0.5) else {}

    def answer() -> list[np.ndarray]:
        if tanh:
            return [x / 2 * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))]
        return [x / 2 * (1 + np.vectorize(math.erf, otypes=[float])(x / 2**0.5))]

    # of float64, ONNX's own body of the operator rounds its constants to float32
    return Node([x], attrs, scale=4, expected=answer if draw.dtype == np.float64 else None)


@sweep("SwiGLU", tolerance=FUNCTION)
def swiglu(draw: Draw) -> Node:
    shape = draw.shape((0, 4))
    attrs = {"alpha": draw.choose([0.5, 1.702])} if draw.chance(0.5) else {}
    return Node([draw.values(shape), draw.values(shape)], attrs)


@sweep("PRelu", tolerance=FEW)
def prelu(draw: Draw) -> Node:
    shape = draw.shape((1, 4))
    slope = draw.broadcastable(shape)
    low = 0 if draw.dtype.kind == "u" else -4
    return Node([draw.values(shape, low, 4), draw.values(slope, low, 4)], constants=draw.fixed(1))


@sweep("Clip", tolerance=EXACT)
def clip(draw: Draw) -> Node:
    x = _one(draw, -5, 5)
    low, high = (draw.values((), a, b) for a, b in ((0, 2) if draw.dtype.kind == "u" else (-3, 0), (1, 4)))
    if draw.opset < 11:
        return Node([x], {"min": float(low), "max": float(high)} if draw.chance(0.8) else {})
    bounds = draw.choose([[low, high], [low, high], [None, high], [low], [], [high, low]])
    return Node([x, *bounds], constants=draw.fixed(*(i + 1 for i, b in enumerate(bounds) if b is not None)))


def _pair(draw: Draw, low: float = -5.0, high: float = 5.0, special: bool = False) -> list[np.ndarray]:
    shape = draw.shape((0, 5))
    kinds = [draw.broadcastable(shape), shape]
    kinds = kinds if draw.chance(0.5) else kinds[::-1]
    return [draw.values(s, low, high, special=special and draw.chance(0.3)) for s in kinds]


@sweep("Add", "Sub", "Mul", tolerance=Tolerance("one rounding", rel=1.01))
def sums(draw: Draw) -> Node:
    pair = _pair(draw, special=True)
    constants = draw.fixed(draw.integer(0, 1), probability=0.3)
    return Node(pair if not draw.chance(0.1) else [pair[0]] * 2, constants=constants)


@sweep("Div", tolerance=FEW)
def division(draw: Draw) -> Node:
    a, b = _pair(draw, special=draw.dtype.kind not in "iu")
    if draw.dtype.kind in "iu":
        a, b = draw.values(a.shape, -100, 100), draw.values(b.shape, -9, 9)
        b = np.where(b == 0, np.array(3, b.dtype), b)
    return Node([a, b], constants=draw.fixed(1, probability=0.3))


@sweep("Pow", tolerance=FUNCTION)
def power(draw: Draw) -> Node:
    base, exponent = _pair(draw, 0.1, 4)
    kind = draw.dtype
    if kind.kind in "iu":
        base, exponent = draw.values(base.shape, -6, 6), draw.values(exponent.shape, 0, 5)
    elif draw.opset >= 12 and draw.chance(0.3):
        base, kind = draw.values(base.shape, -4, 4), np.dtype(draw.choose([np.int32, np.int64]))
        exponent = draw.values(exponent.shape, 0, 4, dtype=kind)
        base = np.where(base == 0, np.array(2, base.dtype), base)
    if draw.chance(0.3):
        exponent = np.array(draw.choose([2, 3, 1, 0] if kind.kind in "iu" else [2, 3, 0.5, -1, -0.5, 1, 0]), kind)
    return Node([base, exponent], constants=draw.fixed(1))


@sweep(
    "Mod", tolerance=Tolerance("the remainder of a rounded quotient: exact in C, not with a floor", rel=4.0, abs=8.0)
)
def modulo(draw: Draw) -> Node:
    a, b = _pair(draw, -50, 50)
    if draw.dtype.kind in "iu":
        b = np.where(b == 0, np.array(7, b.dtype), b)
        return Node([a, b], {"fmod": draw.choose([None, 0, 1])})
    b = np.where(np.abs(b.astype(np.float64)) < 0.5, np.array(2.5, b.dtype), b)
    return Node([a, b], {"fmod": 1})


@sweep("Max", "Min", tolerance=EXACT)
@sweep(
    "Sum",
    "Mean",
    tolerance=Tolerance("sums of a few in order; a mean multiplies by a rounded inverse", rel=4.0, abs=4.0, half=2.0),
)
def variadic(draw: Draw) -> Node:
    shape = draw.shape((0, 4))
    count = draw.integer(1, 4)
    special = draw.operator in ("Max", "Min") and draw.dtype.kind in "iu"
    arrays = [draw.values(shape if i == 0 or draw.opset < 8 else draw.broadcastable(shape), -5, 5, special=special)
              for i in range(count)]  # fmt: skip
    return Node(arrays, scale=5.0 * count)


@sweep("And", "Or", "Xor", tolerance=EXACT)
@sweep("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", tolerance=EXACT)
def comparisons(draw: Draw) -> Node:
    pair = _pair(draw, -3, 3, special=True)
    if draw.dtype.kind not in "iub":  # so that some are equal
        whole = [draw.rng.integers(-3, 4, p.shape).astype(p.dtype) for p in pair]
        pair = [np.where(np.abs(p.astype(np.float64)) < 3, w, p) for p, w in zip(pair, whole)]
    return Node(pair, constants=draw.fixed(1, probability=0.3))


@sweep("BitwiseAnd", "BitwiseOr", "BitwiseXor", tolerance=EXACT)
def bitwise(draw: Draw) -> Node:
    return Node(_pair(draw, -128, 127, special=True))


@sweep("BitShift", tolerance=EXACT)
def shifts(draw: Draw) -> Node:
    a, b = _pair(draw, 0, 100, special=True)
    b = draw.values(b.shape, 0, 8 * draw.dtype.itemsize - 1)
    return Node([a, b], {"direction": draw.choose(["LEFT", "RIGHT"])})


@sweep("Where", variable=1, tolerance=EXACT)
def where(draw: Draw) -> Node:
    shape = draw.shape((0, 5))
    shapes = [draw.broadcastable(shape), draw.broadcastable(shape), shape]
    order = draw.rng.permutation(3)
    chosen = [shapes[i] for i in order]
    return Node([draw.rng.random(chosen[0]) < 0.5, *(draw.values(s, special=True) for s in chosen[1:])])


#: whose values every kind of number holds, and beyond which conversions from floats are not said
_SAFE = {"b": (0, 1), "u": (0, 100), "i": (-100, 100), "f": (-100, 100), "V": (-100, 100)}


def _cast(draw: Draw) -> tuple[np.ndarray, np.dtype]:
    kinds = ["float16", "float32", "float64", *INTS, "bool"]
    if draw.opset >= 13:
        kinds.append("bfloat16")
    name = draw.choose(kinds)
    to = BFLOAT16 if name == "bfloat16" else np.dtype(name)
    low, high = _SAFE[to.kind] if draw.dtype.kind not in "iu" or to.kind not in "iu" else (-1e9, 1e9)
    if to == np.bool_:
        low, high = -1, 1
    halves = draw.dtype.kind not in "iub" and to.kind not in "iub"
    return draw.values(draw.shape(), low, high, special=halves and draw.chance(0.5)), to


@sweep("Cast", tolerance=Tolerance("one rounding", rel=0.0, half=0.0), widen=False)
def cast(draw: Draw) -> Node:
    import onnx

    x, to = _cast(draw)
    return Node([x], {"to": onnx.helper.np_dtype_to_tensor_dtype(to)}, expected=_plainly(x, to))


@sweep("CastLike", tolerance=Tolerance("one rounding", rel=0.0, half=0.0), widen=False)
def cast_like(draw: Draw) -> Node:
    x, to = _cast(draw)
    return Node([x, draw.values(draw.shape((0, 2)), 0, 1, dtype=to)], expected=_plainly(x, to))


def _plainly(x: np.ndarray, to: np.dtype):
    """NumPy's answer where a 16-bit type makes ONNX Runtime's Python interface refuse the array."""
    if BFLOAT16 not in (x.dtype, to):
        return None

    def answer() -> list[np.ndarray]:
        with np.errstate(all="ignore"):
            return [x.astype(to)]

    return answer


@sweep("BitCast", tolerance=EXACT, widen=False)
def bit_cast(draw: Draw) -> Node:
    import onnx

    sizes = {1: ["int8", "uint8"], 2: ["int16", "uint16", "float16"], 4: ["int32", "uint32", "float32"],
             8: ["int64", "uint64", "float64"]}  # fmt: skip
    if draw.dtype == np.bool_:
        return Node([draw.values(draw.shape())], {"to": onnx.TensorProto.UINT8})
    to = np.dtype(draw.choose(sizes[draw.dtype.itemsize]))
    return Node([draw.values(draw.shape(), -90, 90)], {"to": onnx.helper.np_dtype_to_tensor_dtype(to)})


@sweep("Dropout", tolerance=EXACT)
def dropout(draw: Draw) -> Node:
    x = draw.values(draw.shape(), special=True)
    if draw.opset < 12:
        return Node([x], {"ratio": 0.3} if draw.chance(0.5) else {})
    more = [np.array(0.4, np.float32)] if draw.chance(0.5) else []
    if more and draw.chance(0.5):
        more.append(np.array(False))
    masked = draw.opset >= 12 and draw.chance(0.4)
    return Node([x, *more], outputs=2 if masked else 1)
