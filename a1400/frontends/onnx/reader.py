"""Bytes to ModelProto: finds the file, parses it, says what it is when it is no ONNX model."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from a1400.errors import ModelFileError

#: protobuf's own limit for one message
_MAX_BYTES = 2**31 - 1
_OTHERS = {
    b"PK\x03\x04": "a zip archive (a PyTorch checkpoint or Keras file?)",
    b"\x89HDF\r\n": "an HDF5 file (a Keras model?)",
    b"\x80\x02": "a Python pickle (a PyTorch checkpoint?)",
    b"\x80\x04": "a Python pickle (a PyTorch checkpoint?)",
    b"GGUF": "a GGUF file",
    b"\x1f\x8b": "a gzip file",
    b"\x89PNG": "a picture",
    b"\x93NUMPY": "a NumPy array",
    b"ORTM": "an ONNX Runtime model in ORT format",
}


def read_model(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None, str]:
    """The parsed model, the folder that its data files are in (None for bytes) and a name for messages."""
    if isinstance(source, onnx.ModelProto):
        return source, None, "model"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parse(bytes(source), "the model given as bytes"), None, "model"
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise ModelFileError(f"a model is given by its path, as bytes or as a ModelProto, not as {kind}")
    path = Path(source)
    try:
        if path.is_dir():
            raise ModelFileError(f"{str(path)!r} is a folder, not an ONNX file")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would keep us waiting, a device need not end
            raise ModelFileError(f"{str(path)!r} is not a regular file: save the model to one")
        size = status.st_size
        if size > _MAX_BYTES:
            raise ModelFileError(
                f"{str(path)!r} has {size} bytes; a file holds at most {_MAX_BYTES}: save weights as external data"
            )
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {str(path)!r}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read model file {str(path)!r}: {error}") from None
    return _parse(data, repr(str(path))), path.parent, path.stem


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise ModelFileError(f"{where} is empty")
    for magic, what in _OTHERS.items():
        if data.startswith(magic):
            raise ModelFileError(f"{where} is not an ONNX model: it looks like {what}")
    if data.startswith(b"version https://git-lfs"):
        raise ModelFileError(f"{where} is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`")
    try:
        proto = onnx.ModelProto.FromString(data)
    except (DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        damaged = data[:1] == b"\x08" and len(data) > 1 and 0 < data[1] < 64  # an ir_version field comes first
        kind = "is damaged or cut short: it is not complete protobuf" if damaged else "is not an ONNX model"
        raise ModelFileError(f"{where} {kind}") from None
    if not proto.HasField("graph"):
        raise ModelFileError(f"{where} is not an ONNX model: it has no graph")
    return proto
