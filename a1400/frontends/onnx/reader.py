"""Bytes to ModelProto: finds the file, parses it, says what it is when it is no ONNX model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from a1400.errors import ModelFileError
from a1400.frontends.onnx.mapped import MappedFile
from a1400.frontends.onnx.payloads import Malformed, Payloads

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


@dataclass(frozen=True)
class ReadModel:
    """A parsed file: ``folder`` is where its data files are (None for bytes), ``name`` is for messages.

    ``payloads`` holds the large tensors' contents, ``file`` the file that they are mapped from.
    """

    proto: onnx.ModelProto
    folder: Path | None
    name: str
    payloads: Payloads | None = None
    file: MappedFile | None = None


def read_model(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> ReadModel:
    """Find, map and parse a model; raises :class:`ModelFileError`."""
    if isinstance(source, onnx.ModelProto):
        return ReadModel(source, None, "model")
    if isinstance(source, (bytes, bytearray, memoryview)):
        proto, payloads = _parse(np.frombuffer(bytes(source), np.uint8), "the model given as bytes")
        return ReadModel(proto, None, "model", payloads)
    if not isinstance(source, (str, os.PathLike)):
        kind = type(source).__name__
        raise ModelFileError(f"a model is given by its path, as bytes or as a ModelProto, not as {kind}")
    path = Path(source)
    try:
        if path.is_dir():
            raise ModelFileError(f"{str(path)!r} is a folder, not an ONNX file")
        file = MappedFile(path, repr(str(path)))
    except FileNotFoundError:
        raise ModelFileError(f"there is no model file {str(path)!r}") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"cannot read model file {str(path)!r}: {error}") from None
    if file.data.size > _MAX_BYTES:
        raise ModelFileError(
            f"{str(path)!r} has {file.data.size} bytes; a file holds at most {_MAX_BYTES}: "
            "save weights as external data"
        )
    proto, payloads = _parse(file.data, repr(str(path)))
    return ReadModel(proto, path.parent, path.stem, payloads, file)


def _parse(data: np.ndarray, where: str) -> tuple[onnx.ModelProto, Payloads]:
    start = data[:64].tobytes()
    if not start:
        raise ModelFileError(f"{where} is empty")
    for magic, what in _OTHERS.items():
        if start.startswith(magic):
            raise ModelFileError(f"{where} is not an ONNX model: it looks like {what}")
    if start.startswith(b"version https://git-lfs"):
        raise ModelFileError(f"{where} is a Git LFS pointer, not the model itself: fetch it with `git lfs pull`")
    payloads = Payloads(data)
    try:
        text = payloads.strip()
    except Malformed:
        text = data.tobytes()  # protobuf knows best what is wrong with it
    try:
        proto = onnx.ModelProto.FromString(text)
    except (DecodeError, RecursionError, UnicodeDecodeError, ValueError):
        damaged = start[:1] == b"\x08" and len(start) > 1 and 0 < start[1] < 64  # an ir_version field comes first
        kind = "is damaged or cut short: it is not complete protobuf" if damaged else "is not an ONNX model"
        raise ModelFileError(f"{where} {kind}") from None
    if not proto.HasField("graph"):
        raise ModelFileError(f"{where} is not an ONNX model: it has no graph")
    return proto, payloads
