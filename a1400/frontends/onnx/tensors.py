"""TensorProto to NumPy, with every size checked before anything is allocated."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx

from a1400.errors import ModelFileError
from a1400.frontends.onnx.external import ExternalData
from a1400.frontends.onnx.payloads import LARGE
from a1400.graph.graph import MAX_ELEMENTS, MAX_RANK

_T = onnx.TensorProto
_DTYPES: dict[int, np.dtype] = {
    _T.FLOAT: np.dtype(np.float32), _T.UINT8: np.dtype(np.uint8), _T.INT8: np.dtype(np.int8),
    _T.UINT16: np.dtype(np.uint16), _T.INT16: np.dtype(np.int16), _T.INT32: np.dtype(np.int32),
    _T.INT64: np.dtype(np.int64), _T.BOOL: np.dtype(np.bool_), _T.FLOAT16: np.dtype(np.float16),
    _T.DOUBLE: np.dtype(np.float64), _T.UINT32: np.dtype(np.uint32), _T.UINT64: np.dtype(np.uint64),
    _T.BFLOAT16: np.dtype(ml_dtypes.bfloat16), _T.FLOAT8E4M3FN: np.dtype(ml_dtypes.float8_e4m3fn),
    _T.FLOAT8E4M3FNUZ: np.dtype(ml_dtypes.float8_e4m3fnuz), _T.FLOAT8E5M2: np.dtype(ml_dtypes.float8_e5m2),
    _T.FLOAT8E5M2FNUZ: np.dtype(ml_dtypes.float8_e5m2fnuz), _T.FLOAT8E8M0: np.dtype(ml_dtypes.float8_e8m0fnu),
    _T.FLOAT4E2M1: np.dtype(ml_dtypes.float4_e2m1fn), _T.INT4: np.dtype(ml_dtypes.int4),
    _T.UINT4: np.dtype(ml_dtypes.uint4), _T.INT2: np.dtype(ml_dtypes.int2), _T.UINT2: np.dtype(ml_dtypes.uint2),
}  # fmt: skip
#: bits of the types that share a byte in a file, the first element in the lowest bits
_PACKED: dict[int, int] = {_T.INT4: 4, _T.UINT4: 4, _T.FLOAT4E2M1: 4, _T.INT2: 2, _T.UINT2: 2}
_INT32_FIELD: dict[int, type] = {
    _T.INT32: np.int32, _T.INT16: np.int16, _T.INT8: np.int8, _T.UINT16: np.uint16, _T.UINT8: np.uint8,
    _T.BOOL: np.bool_, _T.FLOAT16: np.uint16, _T.BFLOAT16: np.uint16, _T.FLOAT8E4M3FN: np.uint8,
    _T.FLOAT8E4M3FNUZ: np.uint8, _T.FLOAT8E5M2: np.uint8, _T.FLOAT8E5M2FNUZ: np.uint8, _T.FLOAT8E8M0: np.uint8,
    **dict.fromkeys(_PACKED, np.uint8),
}  # fmt: skip
# types that this version of onnx may not have yet
for _name, _dtype in (("FLOAT6E2M3", ml_dtypes.float6_e2m3fn), ("FLOAT6E3M2", ml_dtypes.float6_e3m2fn)):
    if _name in dict(_T.DataType.items()):
        _number = _T.DataType.Value(_name)
        _DTYPES[_number], _INT32_FIELD[_number] = np.dtype(_dtype), np.uint8


def type_name(elem_type: int) -> str:
    """ONNX's name of an element type, or its number."""
    try:
        return str(_T.DataType.Name(elem_type))
    except ValueError:
        return f"type number {elem_type}"


def dtype_of(elem_type: int, where: str) -> np.dtype:
    """NumPy dtype of an ONNX element type; :class:`ModelFileError` for one that the engine has no form of."""
    try:
        return _DTYPES[elem_type]
    except KeyError:
        raise ModelFileError(f"{where} has element type {type_name(elem_type)}, which is not supported") from None


def checked_shape(dims: Any, where: str) -> tuple[int, ...]:
    """``dims`` as a shape; negative sizes and absurd products are :class:`ModelFileError`."""
    shape = tuple(int(d) for d in dims)
    if any(d < 0 for d in shape) or len(shape) > MAX_RANK or math.prod(d for d in shape if d) > MAX_ELEMENTS:
        raise ModelFileError(f"{where} has the impossible shape {list(shape)}")
    return shape


def tensor_array(proto: onnx.TensorProto, external: ExternalData, where: str) -> np.ndarray:
    """The tensor's data, in its own shape and dtype (strings as object arrays); read-only.

    A large tensor's is a view on the mapped file, and aligned only if it happens to lie so.

    Raises :class:`ModelFileError` where data and shape do not agree.
    """
    shape = checked_shape(proto.dims, where)
    count = math.prod(shape)
    if proto.HasField("segment"):
        raise ModelFileError(f"{where} is stored in segments, which is not supported")
    if proto.data_type == _T.STRING:
        _require_count(where, len(proto.string_data), count)
        strings = np.empty(count, object)
        strings[:] = [bytes(s).decode("utf-8", "surrogateescape") for s in proto.string_data]
        return strings.reshape(shape)
    dtype = dtype_of(proto.data_type, where)
    bits = _PACKED.get(proto.data_type, 0)
    nbytes = (count * bits + 7) // 8 if bits else count * dtype.itemsize
    if proto.data_location == _T.EXTERNAL:
        entries = {e.key: e.value for e in proto.external_data}
        raw = external.read(
            proto.name or where,
            entries.get("location", ""),
            entries.get("offset", ""),
            entries.get("length", ""),
            nbytes,
        )
    elif proto.HasField("raw_data"):
        raw = external.inline(proto.raw_data)
        if raw.size != nbytes:
            raise ModelFileError(f"{where}: {raw.size} bytes of data, shape {list(shape)} of {dtype} needs {nbytes}")
    else:
        return _frozen(_typed_field(proto, dtype, count, bits, where).reshape(shape))
    if bits:
        return _frozen(_unpack(raw, count, bits, dtype).reshape(shape))
    array = raw.view(dtype if dtype != np.bool_ else np.uint8)
    if dtype == np.bool_:
        array = array != 0  # any other byte value would be undefined behaviour as a NumPy bool
    elif not array.flags.aligned and nbytes < LARGE:
        array = array.copy()
    return _frozen(array.reshape(shape))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _typed_field(proto: onnx.TensorProto, dtype: np.dtype, count: int, bits: int, where: str) -> np.ndarray:
    kind = proto.data_type
    if kind == _T.FLOAT:
        values = np.array(proto.float_data, np.float32)
    elif kind == _T.DOUBLE:
        values = np.array(proto.double_data, np.float64)
    elif kind == _T.INT64:
        values = np.array(proto.int64_data, np.int64)
    elif kind in (_T.UINT32, _T.UINT64):
        values = np.array(proto.uint64_data, np.uint64).astype(dtype)
    else:
        storage = _INT32_FIELD[kind]
        wide = np.array(proto.int32_data, np.int32)
        values = wide != 0 if storage is np.bool_ else wide.astype(storage)
        if bits:
            _require_count(where, values.size, (count * bits + 7) // 8)
            return _unpack(values, count, bits, dtype)
        if values.dtype != dtype:
            values = values.view(dtype)
    _require_count(where, values.size, count)
    return values


def _require_count(where: str, found: int, needed: int) -> None:
    if found != needed:
        raise ModelFileError(f"{where}: {found} elements of data, its shape needs {needed}")


def _unpack(raw: np.ndarray, count: int, bits: int, dtype: np.dtype) -> np.ndarray:
    """Elements of ``bits`` bits each, the first in the lowest, as one byte each."""
    each = 8 // bits
    parts = np.empty((raw.size, each), np.uint8)
    for k in range(each):
        parts[:, k] = (raw >> (k * bits)) & ((1 << bits) - 1)
    return parts.reshape(-1)[:count].view(dtype)


def sparse_array(proto: onnx.SparseTensorProto, external: ExternalData, where: str) -> np.ndarray:
    """A sparse tensor, made dense."""
    shape = checked_shape(proto.dims, where)
    values = tensor_array(proto.values, external, where)
    indices = tensor_array(proto.indices, external, f"indices of {where}").astype(np.int64)
    if indices.ndim == 2 and indices.shape[1] == len(shape):
        if np.any(indices < 0) or np.any(indices >= np.array(shape)):
            raise ModelFileError(f"{where}: an index is outside its shape {list(shape)}")
        flat = np.ravel_multi_index(tuple(indices.T), shape) if len(indices) else np.zeros(0, np.int64)
    else:
        flat = indices.reshape(-1)
    _require_count(where, flat.size, values.size)
    if np.any(flat < 0) or np.any(flat >= math.prod(shape)):
        raise ModelFileError(f"{where}: an index is outside its shape {list(shape)}")
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[flat] = values.reshape(-1)
    return _frozen(dense.reshape(shape))
