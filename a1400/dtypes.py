"""The element types the engine knows, and their names in each language.

A dtype is a plain :class:`numpy.dtype` everywhere (``ml_dtypes`` supplies those that NumPy lacks).  Each has a short
name (``f32``) used in kernel specs and program keys, a *storage* type (what a buffer holds) and a
*register* type (what kernels compute with): half and bfloat16 compute in float, bool in int.

The types of :data:`LOW` (eight bits and less, ``kernels_common/low_bits.h``) are stored, moved and converted; nothing
computes in them.  A tensor of them takes one byte for each element on the device as it does in NumPy, even where two or
four elements would fit: every view of a tensor counts in elements and may begin at any of them, and two work-items that
write one byte would race.  Weights, where the memory matters, stay packed as they are in the file inside the operators
that read them so (``matmul_nbits``).
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

bfloat16 = np.dtype(ml_dtypes.bfloat16)


@dataclass(frozen=True)
class TypeInfo:
    """Names of one element type.

    ``storage``/``register`` are written in the vocabulary shared by both preludes
    (``kernels_*/prelude.*``): ``uchar``, ``ushort``, ``uint``, ``ulong`` exist in both languages.
    """

    short: str
    storage: str
    register: str
    register_short: str


_TABLE: dict[np.dtype, TypeInfo] = {
    np.dtype(np.float32): TypeInfo("f32", "float", "float", "f32"),
    np.dtype(np.float64): TypeInfo("f64", "double", "double", "f64"),
    np.dtype(np.float16): TypeInfo("f16", "half", "float", "f32"),
    bfloat16: TypeInfo("bf16", "ushort", "float", "f32"),
    np.dtype(np.int8): TypeInfo("i8", "char", "int", "i32"),
    np.dtype(np.int16): TypeInfo("i16", "short", "int", "i32"),
    np.dtype(np.int32): TypeInfo("i32", "int", "int", "i32"),
    np.dtype(np.int64): TypeInfo("i64", "long", "long", "i64"),
    np.dtype(np.uint8): TypeInfo("u8", "uchar", "uint", "u32"),
    np.dtype(np.uint16): TypeInfo("u16", "ushort", "uint", "u32"),
    np.dtype(np.uint32): TypeInfo("u32", "uint", "uint", "u32"),
    np.dtype(np.uint64): TypeInfo("u64", "ulong", "ulong", "u64"),
    np.dtype(np.bool_): TypeInfo("bool", "uchar", "int", "i32"),
}
_LOW_FLOATS = {
    "f8e4m3fn": ml_dtypes.float8_e4m3fn, "f8e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "f8e5m2": ml_dtypes.float8_e5m2,
    "f8e5m2fnuz": ml_dtypes.float8_e5m2fnuz, "f8e8m0": ml_dtypes.float8_e8m0fnu, "f6e2m3": ml_dtypes.float6_e2m3fn,
    "f6e3m2": ml_dtypes.float6_e3m2fn, "f4e2m1": ml_dtypes.float4_e2m1fn,
}  # fmt: skip
_LOW_INTS = {"i4": ml_dtypes.int4, "u4": ml_dtypes.uint4, "i2": ml_dtypes.int2, "u2": ml_dtypes.uint2}

#: the types that kernels compute in
ALL = tuple(_TABLE)

_TABLE |= {np.dtype(t): TypeInfo(name, "uchar", "float", "f32") for name, t in _LOW_FLOATS.items()}
for _name, _type in _LOW_INTS.items():
    _register = ("int", "i32") if _name[0] == "i" else ("uint", "u32")
    _TABLE[np.dtype(_type)] = TypeInfo(_name, "uchar", *_register)
_BY_SHORT = {info.short: dtype for dtype, info in _TABLE.items()}

#: the types that are stored, moved and converted, and nothing else
LOW = tuple(dtype for dtype in _TABLE if dtype not in ALL)
EVERY = ALL + LOW
FLOATS = tuple(_BY_SHORT[n] for n in ("f32", "f64", "f16", "bf16"))
INTS = tuple(_BY_SHORT[n] for n in ("i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"))


def info(dtype: np.dtype) -> TypeInfo:
    """The names of ``dtype``; raises ``TypeError`` for a type that the engine does not know."""
    try:
        return _TABLE[np.dtype(dtype)]
    except KeyError:
        raise TypeError(f"element type {dtype} is not supported") from None


def short(dtype: np.dtype) -> str:
    """Short name of ``dtype``: ``f32``, ``i64``, ``bool`` ..."""
    return info(dtype).short


def from_short(name: str) -> np.dtype:
    """The dtype of a short name; the inverse of :func:`short`."""
    return _BY_SHORT[name]


def is_float(dtype: np.dtype) -> bool:
    """True for the floating types, bfloat16 and those of few bits included."""
    return np.dtype(dtype) in FLOATS or (is_low(dtype) and info(dtype).register == "float")


def is_int(dtype: np.dtype) -> bool:
    """True for signed and unsigned integers (not bool)."""
    return np.dtype(dtype) in INTS or (is_low(dtype) and info(dtype).register != "float")


def is_low(dtype: np.dtype) -> bool:
    """True for the types of :data:`LOW`."""
    return np.dtype(dtype) in LOW


def word(dtype: np.dtype) -> np.dtype:
    """The unsigned integer as wide as ``dtype`` is stored: what carries elements that are only moved."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def limits(dtype: np.dtype) -> tuple[float, float]:
    """The smallest and the largest finite number of a type; int for integers."""
    dtype = np.dtype(dtype)
    if is_int(dtype):
        whole = ml_dtypes.iinfo(dtype)
        return int(whole.min), int(whole.max)
    real = ml_dtypes.finfo(dtype)
    return float(real.min), float(real.max)
