"""The element types the engine knows, and their names in each language.

A dtype is a plain :class:`numpy.dtype` everywhere (``ml_dtypes`` supplies bfloat16).  Each has a short
name (``f32``) used in kernel specs and program keys, a *storage* type (what a buffer holds) and a
*register* type (what kernels compute with): half and bfloat16 compute in float, bool in int.
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
_BY_SHORT = {info.short: dtype for dtype, info in _TABLE.items()}

ALL = tuple(_TABLE)
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
    """True for the floating types, bfloat16 included."""
    return np.dtype(dtype) in FLOATS


def is_int(dtype: np.dtype) -> bool:
    """True for signed and unsigned integers (not bool)."""
    return np.dtype(dtype) in INTS
