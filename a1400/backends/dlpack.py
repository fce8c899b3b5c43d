"""DLPack: tensors that pass between libraries without a copy.

Both directions work on the C structures of DLPack 1.0 (https://dmlc.github.io/dlpack/latest/c_api.html), by ctypes:
neither NumPy's nor CuPy's own exchange knows bfloat16 everywhere.  Capsules of both forms are read and written, the old
one (``dltensor``) and the one with a version (``dltensor_versioned``).
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import ml_dtypes
import numpy as np

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13  # DLDeviceType
#: memory that the host can read
ON_HOST = (CPU, CUDA_HOST)
_VERSION = (1, 0)
_READ_ONLY = 1  # DLPACK_FLAG_BITMASK_READ_ONLY

# DLDataTypeCode: int 0, uint 1, float 2, bfloat 4, complex 5, bool 6
_DTYPES: dict[tuple[int, int], np.dtype] = {
    **{(0, 8 * n): np.dtype(f"i{n}") for n in (1, 2, 4, 8)},
    **{(1, 8 * n): np.dtype(f"u{n}") for n in (1, 2, 4, 8)},
    **{(2, 8 * n): np.dtype(f"f{n}") for n in (2, 4, 8)},
    (4, 16): np.dtype(ml_dtypes.bfloat16),
    (5, 64): np.dtype(np.complex64),
    (5, 128): np.dtype(np.complex128),
    (6, 8): np.dtype(np.bool_),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


class _DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


class _ManagedVersioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    )


# Capsules keep the address of their name: these objects must never go.
_NAME, _USED = ctypes.c_char_p(b"dltensor"), ctypes.c_char_p(b"used_dltensor")
_NAME_VERSIONED, _USED_VERSIONED = ctypes.c_char_p(b"dltensor_versioned"), ctypes.c_char_p(b"used_dltensor_versioned")

# Prototypes of our own: the functions of ctypes.pythonapi are shared with whoever else sets their types.
_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(("PyCapsule_SetName", ctypes.pythonapi))
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)
# A capsule that is being destroyed must not be counted as referenced again: its destructor handles the bare address.
_valid_raw = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer_raw = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # takes the GIL, as other libraries may call it without


class Tensor:
    """A tensor taken from a capsule; the producer's memory lives as long as this object.

    ``address`` is that of the first element; ``strides`` count elements; ``device`` is DLPack's (type, number).
    """

    def __init__(self, capsule: Any) -> None:
        managed: Any
        if _valid(capsule, _NAME_VERSIONED):
            address = _pointer(capsule, _NAME_VERSIONED)
            managed = _ManagedVersioned.from_address(address)
            used = _USED_VERSIONED
            if managed.major > _VERSION[0]:
                raise BufferError(f"its DLPack version is {managed.major}.{managed.minor}, newer than 1.x")
            self.read_only = bool(managed.flags & _READ_ONLY)
        elif _valid(capsule, _NAME):
            address = _pointer(capsule, _NAME)
            managed = _Managed.from_address(address)
            used = _USED
            self.read_only = False
        else:
            raise BufferError("its __dlpack__ gives no DLPack capsule, or one that was used before")
        tensor = managed.tensor
        dtype = _DTYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
        if dtype is None:
            raise BufferError(f"its DLPack type ({tensor.code}, {tensor.bits} bits, {tensor.lanes} lanes) is unknown")
        self.dtype = dtype
        self.device: tuple[int, int] = (tensor.device_type, tensor.device_id)
        self.shape: tuple[int, ...] = tuple(tensor.shape[: tensor.ndim])
        self.strides = tuple(tensor.strides[: tensor.ndim]) if tensor.strides else _dense(self.shape)
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.nbytes = math.prod(self.shape) * dtype.itemsize
        # From here on the memory is ours to give back.
        _rename(capsule, used)
        self._release = (_Deleter(managed.deleter), address) if managed.deleter else None

    def __del__(self) -> None:
        release = getattr(self, "_release", None)
        if release is not None:
            release[0](release[1])

    @property
    def is_dense(self) -> bool:
        """Row-major without gaps."""
        return 0 in self.shape or all(
            n == 1 or s == d for n, s, d in zip(self.shape, self.strides, _dense(self.shape), strict=True)
        )

    def numpy(self) -> np.ndarray:
        """An array over the tensor's memory, which must be the host's."""
        if 0 in self.shape:
            return np.empty(self.shape, self.dtype)
        size = self.dtype.itemsize
        raw = np.dtype(f"V{size}")
        self.__array_interface__ = {
            "version": 3,
            "shape": self.shape,
            "typestr": raw.str,
            "strides": tuple(s * size for s in self.strides),
            "data": (self.address, self.read_only),
        }
        array = np.asarray(self)
        del self.__array_interface__
        return array.view(self.dtype)


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= n
    return tuple(reversed(strides))


def take(value: Any, stream: int | None = None) -> Tensor:
    """The tensor that ``value`` hands out through ``__dlpack__``; raises ``BufferError`` where it cannot.

    ``stream`` is the CUDA stream whose later work shall see the data; None for memory of the host.
    """
    arguments = {} if stream is None else {"stream": stream}
    try:
        capsule = value.__dlpack__(**arguments, max_version=_VERSION)
    except TypeError:  # from before DLPack 1.0
        capsule = value.__dlpack__(**arguments)
    return Tensor(capsule)


# ---- giving ------------------------------------------------------------------------------------------
#: what is lent out: address of the structure -> everything that must live until the deleter is called
_lent: dict[int, tuple[Any, ...]] = {}


@_Deleter
def _delete(address: int, lent: dict[int, tuple[Any, ...]] = _lent) -> None:
    lent.pop(address, None)


@ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
def _destroy(
    capsule: int,
    valid: Any = _valid_raw,
    pointer: Any = _pointer_raw,
    names: tuple[Any, ...] = (_NAME, _NAME_VERSIONED),
    lent: dict[int, tuple[Any, ...]] = _lent,
) -> None:
    """Free what a capsule holds that nobody took."""
    for name in names:
        if valid(capsule, name):
            lent.pop(pointer(capsule, name), None)


# Other libraries may call these until the very end of the process.
for _kept in (_delete, _destroy, _NAME, _USED, _NAME_VERSIONED, _USED_VERSIONED):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))


def give(
    owner: Any,
    address: int,
    shape: tuple[int, ...],
    dtype: np.dtype,
    device: tuple[int, int],
    version: tuple[int, int] | None = None,
    read_only: bool = False,
) -> Any:
    """A capsule over dense memory at ``address``; ``owner`` lives until the consumer lets go of it.

    ``version`` is the newest DLPack the consumer knows; None or 0.x gives the old form.
    """
    code = _CODES.get(np.dtype(dtype))
    if code is None:
        raise BufferError(f"DLPack has no type for {dtype}")
    sizes = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    steps = (ctypes.c_int64 * max(len(shape), 1))(*_dense(shape))
    tensor = _DLTensor(
        address or None, device[0], device[1], len(shape), code[0], code[1], 1,
        ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64)), 0,
    )  # fmt: skip
    deleter = ctypes.cast(_delete, ctypes.c_void_p)
    managed: Any
    if version is not None and version[0] >= 1:
        managed = _ManagedVersioned(*_VERSION, None, deleter, _READ_ONLY if read_only else 0, tensor)
        name = _NAME_VERSIONED
    elif read_only:
        raise BufferError("memory that is only read can be handed out only by DLPack 1.0 or newer")
    else:
        managed = _Managed(tensor, None, deleter)
        name = _NAME
    at = ctypes.addressof(managed)
    _lent[at] = (managed, sizes, steps, owner)
    return _new(at, name, ctypes.cast(_destroy, ctypes.c_void_p))
