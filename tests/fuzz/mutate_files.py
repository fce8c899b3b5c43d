"""Mutations of files: the model's bytes, and data kept beside it."""

from __future__ import annotations

import random

import numpy as np
import onnx
from onnx import TensorProto

from tests.fuzz.case import MODEL, SECRET
from tests.fuzz.mutate import Draft, array_of, hostile, keeps, spoils, spoils_bytes, tensors


def _move_out(draft: Draft, tensor: onnx.TensorProto, location: str = "data.bin") -> None:
    """Keep the tensor's bytes in a file."""
    array = array_of(tensor)
    if array is None:
        return
    data = draft.files.get("data.bin", b"")
    offset = -(-len(data) // 64) * 64
    raw = np.ascontiguousarray(array).tobytes()
    draft.files["data.bin"] = data.ljust(offset, b"\0") + raw
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(name)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(len(raw)))):
        tensor.external_data.add(key=key, value=value)


def _movable(draft: Draft) -> list[onnx.TensorProto]:
    whole = (1, 2, 3, 6, 7, 9, 10, 11)  # one element, one or more bytes
    here = [t for t in draft.model.graph.initializer if t.data_location != TensorProto.EXTERNAL]
    return [t for t in here if t.data_type in whole]


@keeps
def move_data_out(draft: Draft, r: random.Random) -> None:
    """Initializers' bytes in a file beside the model."""
    for tensor in _movable(draft):
        if all(d > 0 for d in tensor.dims):
            _move_out(draft, tensor)


@spoils
def hostile_location(draft: Draft, r: random.Random) -> None:
    """Data at places that are not the model's: above it, behind links, devices, pipes."""
    found = [t for t in _movable(draft) if t.HasField("raw_data")]
    if not found:
        return
    secret = f"../{SECRET}"
    draft.links = {"link.bin": secret, "up": "..", "pipe": "|", "root": "/", "self": "self", "zero": "/dev/zero"}
    location = r.choice((
        secret, "link.bin", f"up/{SECRET}", "pipe", "/etc/passwd", "root/etc/passwd", "zero", "/dev/zero", "self", "",
        ".", "data.bin/", f"./../{SECRET}", f"x/../../{SECRET}", "..\\secret.bin", "C:\\x", "\\\\host\\x", "data.bin\0",
        MODEL, "file:///etc/passwd", "data.bin", "//etc/passwd", "/proc/self/mem", "up/case/data.bin", "~/x", "$HOME",
        "x" * 5000,
    ))  # fmt: skip
    _move_out(draft, r.choice(found), location)


@spoils
def hostile_range(draft: Draft, r: random.Random) -> None:
    """Offsets and lengths outside the file, or that are no numbers."""
    found = [t for t in _movable(draft) if t.HasField("raw_data")]
    if not found:
        return
    tensor = r.choice(found)
    _move_out(draft, tensor)
    if len(tensor.external_data) < 3:
        return
    text = r.choice(("-1", "1", "3", "1e3", "99999999999999999999", "18446744073709551615", "9223372036854775807", " 4",
                     "0x10", "٣", "", "4096", hostile(r)))  # fmt: skip
    entry = tensor.external_data[r.choice((1, 2))]
    entry.value = text
    if r.random() < 0.3:
        draft.files["data.bin"] = draft.files["data.bin"][: r.randrange(4)]
    if r.random() < 0.2:
        tensor.external_data.add(key=r.choice(("location", "offset", "checksum", hostile(r))), value=hostile(r))
    if r.random() < 0.2:
        tensor.raw_data = b"1234"


@spoils
def data_of_attribute(draft: Draft, r: random.Random) -> None:
    """An attribute's tensor that claims to lie in a file."""
    found = [t for t in tensors(draft.model) if t.HasField("raw_data")]
    if found:
        tensor = r.choice(found)
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=f"../{SECRET}")


@spoils_bytes
def flip(draft: Draft, r: random.Random) -> None:
    """Bytes that are others."""
    data = bytearray(draft.content())
    for _ in range(r.choice((1, 1, 2, 4, 16))):
        if data:
            data[r.randrange(len(data))] = r.choice((0, 1, 127, 128, 255, r.randrange(256)))
    draft.raw = bytes(data)


@spoils_bytes
def cut(draft: Draft, r: random.Random) -> None:
    """The file ends too early."""
    data = draft.content()
    draft.raw = data[: r.randrange(len(data) + 1)]


@spoils_bytes
def take_out(draft: Draft, r: random.Random) -> None:
    """A piece is missing."""
    data = draft.content()
    at = r.randrange(len(data) + 1)
    draft.raw = data[:at] + data[at + r.choice((1, 2, 8, 64)) :]


@spoils_bytes
def put_in(draft: Draft, r: random.Random) -> None:
    """A piece comes twice, elsewhere."""
    data = draft.content()
    start, at = r.randrange(len(data) + 1), r.randrange(len(data) + 1)
    draft.raw = data[:at] + data[start : start + r.choice((1, 4, 32, 256))] + data[at:]
