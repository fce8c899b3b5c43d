"""Image files as inputs: the host decodes them, the device goes on with the pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper
from PIL import Image

import a1400
from a1400.backends.base import DeviceInfo
from a1400.errors import InputError
from a1400.frontends.onnx.ops.images import decoded


def encoded(pixels: np.ndarray, kind: str) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return np.frombuffer(file.getvalue(), np.uint8)


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def load(info: DeviceInfo, *more: onnx.NodeProto, outputs: dict[str, int]) -> a1400.Model:
    nodes = [helper.make_node("ImageDecoder", ["file"], ["pixels"], name="decoder", pixel_format="BGR"), *more]
    made = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("file", T.UINT8, [None])], made)
    return a1400.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), device=info.id)


def test_files_share_a_plan(device_info: DeviceInfo) -> None:
    tail = [
        helper.make_node("Cast", ["pixels"], ["x"], name="cast", to=T.FLOAT),
        helper.make_node("Mul", ["x", "x"], ["y"], name="square"),
    ]
    model = load(device_info, *tail, outputs={"y": T.FLOAT})
    for seed, kind, size in ((1, "PNG", (4, 5)), (2, "BMP", (4, 5)), (3, "PNG", (7, 3))):
        pixels = picture(*size, seed)
        expected = np.square(pixels[..., ::-1].astype(np.float32))
        np.testing.assert_array_equal(model(encoded(pixels, kind)), expected)
    places = model.explain().placement()
    assert places["decoder"] == "host" and places["square"].startswith("device")
    assert len(model._plans) == 2  # one for each size


def test_bytes_that_other_nodes_read_too(device_info: DeviceInfo) -> None:
    tail = [helper.make_node("Cast", ["file"], ["c"], to=T.INT32), helper.make_node("Neg", ["c"], ["y"])]
    model = load(device_info, *tail, outputs={"pixels": T.UINT8, "y": T.INT32})
    for seed in (1, 2):
        pixels = picture(3, 4, seed)
        file = encoded(pixels, "BMP")
        got = model.run({"file": file})
        np.testing.assert_array_equal(got["pixels"], pixels[..., ::-1])
        np.testing.assert_array_equal(got["y"], -file.astype(np.int32))


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no image of a known format"),
        (_png_that_claims(100_000, 100_000), "is refused"),
        (_png_that_claims(30, 30), "damaged"),
        (encoded(picture(40, 40, 0), "JPEG").tobytes()[:300], "damaged"),
    ],
    ids=["empty", "postscript", "huge", "short", "cut"],
)
def test_hostile_files(file: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decoded(file, "RGB")


def test_sixteen_bits_and_palettes() -> None:
    deep = np.array([[0, 257, 65535], [128, 129, 40000]], np.uint16)
    expected = np.array([[0, 1, 255], [0, 1, 156]], np.uint8)
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(decoded(encoded(deep, kind).tobytes(), "L")[..., 0], expected)
    file = io.BytesIO()
    Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8) * 255).convert("P").save(file, "PNG")
    np.testing.assert_array_equal(decoded(file.getvalue(), "RGB")[..., 1], [[0, 255], [255, 0]])
