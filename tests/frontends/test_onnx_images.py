"""Convolution, pooling, resampling, normalisation against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.frontends.building import check, f32, i64, one_node, ours, reference, runtime

IMAGE = f32(2, 4, 9, 8)

CONVOLUTIONS: list[tuple[np.ndarray, np.ndarray, dict[str, Any]]] = [
    (IMAGE, f32(6, 4, 3, 3), {}),
    (IMAGE, f32(6, 4, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    (IMAGE, f32(6, 4, 3, 3), {"dilations": [2, 2], "pads": [2, 2, 2, 2]}),
    (IMAGE, f32(6, 2, 3, 3), {"group": 2}),
    (IMAGE, f32(8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    (IMAGE, f32(6, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    (IMAGE, f32(6, 4, 2, 2), {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    (IMAGE, f32(6, 4, 2, 2), {"auto_pad": "VALID"}),
    (f32(2, 4, 11), f32(6, 4, 3), {"pads": [1, 1]}),
    (f32(1, 2, 5, 6, 7), f32(3, 2, 2, 3, 2), {"strides": [1, 2, 2]}),
    (f32(1, 0, 4, 5), f32(6, 0, 3, 3), {"pads": [1, 1, 1, 1]}),  # sums of nothing
    (f32(1, 0, 4, 5), f32(6, 0, 1, 1), {}),
    (f32(0, 4, 4, 5), f32(6, 2, 3, 3), {"group": 2}),  # no images
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("x", "w", "attrs"), CONVOLUTIONS)
def test_conv(x: np.ndarray, w: np.ndarray, attrs: dict[str, Any], bias: bool) -> None:
    check(*one_node("Conv", [x, w, *([f32(w.shape[0])] if bias else [])], constants=[1], **attrs))


TRANSPOSED: list[tuple[np.ndarray, np.ndarray, dict[str, Any]]] = [
    (IMAGE, f32(4, 3, 3, 3), {}),
    (IMAGE, f32(4, 3, 3, 3), {"strides": [2, 3], "pads": [1, 1, 1, 0]}),
    (IMAGE, f32(4, 3, 3, 3), {"strides": [2, 2], "output_padding": [1, 1], "dilations": [2, 1]}),
    (IMAGE, f32(4, 3, 2, 2), {"group": 2, "strides": [2, 2]}),
    (IMAGE, f32(4, 3, 3, 3), {"strides": [2, 2], "output_shape": [18, 17]}),
    (IMAGE, f32(4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    (IMAGE, f32(4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    (f32(2, 4, 11), f32(4, 2, 3), {"strides": [2]}),
    (f32(1, 2, 3, 4, 3), f32(2, 2, 2, 2, 2), {"strides": [2, 1, 2]}),
    (f32(1, 0, 4, 5), f32(0, 3, 3, 3), {}),
    (f32(0, 4, 4, 5), f32(4, 3, 3, 3), {"group": 2}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), TRANSPOSED)
def test_conv_transpose(x: np.ndarray, w: np.ndarray, attrs: dict[str, Any]) -> None:
    bias = f32(w.shape[1] * attrs.get("group", 1))
    check(*one_node("ConvTranspose", [x, w, bias], **attrs))


WINDOWS: list[dict[str, Any]] = [
    {"kernel_shape": [3, 3]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [2, 2], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("attrs", WINDOWS)
@pytest.mark.parametrize("outputs", [1, 2])
def test_max_pool(attrs: dict[str, Any], outputs: int) -> None:
    check(*one_node("MaxPool", [IMAGE], outputs=outputs, **attrs))


def test_max_pool_more() -> None:
    check(*one_node("MaxPool", [IMAGE], kernel_shape=[2, 2], dilations=[2, 3]))
    check(*one_node("MaxPool", [IMAGE], outputs=2, kernel_shape=[2, 2], storage_order=1))
    check(*one_node("MaxPool", [f32(2, 3, 10)], kernel_shape=[3], strides=[2]))
    check(*one_node("MaxPool", [f32(1, 2, 4, 5, 6)], kernel_shape=[2, 2, 2]))
    check(*one_node("MaxPool", [np.arange(32, dtype=np.int8).reshape(1, 2, 4, 4)], kernel_shape=[2, 2]))


@pytest.mark.parametrize("attrs", WINDOWS)
@pytest.mark.parametrize("counted", [0, 1])
def test_average_pool(attrs: dict[str, Any], counted: int) -> None:
    check(*one_node("AveragePool", [IMAGE], opset=19, count_include_pad=counted, **attrs))


def test_other_pools() -> None:
    for op in ("GlobalAveragePool", "GlobalMaxPool"):
        check(*one_node(op, [IMAGE]))
        check(*one_node(op, [f32(2, 3, 7)]))
    for p in (1, 2, 3):
        check(*one_node("GlobalLpPool", [IMAGE], p=p))
        check(*one_node("LpPool", [IMAGE], p=p, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))


def test_max_unpool() -> None:
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    index = np.array([[[[5, 7], [13, 15]]]], np.int64)
    check(*one_node("MaxUnpool", [x, index], kernel_shape=[2, 2], strides=[2, 2]))


MODES = [
    {"mode": mode, "coordinate_transformation_mode": c}
    for mode in ("nearest", "linear", "cubic")
    for c in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
]


@pytest.mark.parametrize("attrs", MODES, ids=lambda a: "-".join(a.values()))
@pytest.mark.parametrize("scales", [(2.0, 3.0), (0.6, 0.7), (1.0, 1.7)])
def test_resize_by_scales(attrs: dict[str, Any], scales: tuple[float, float]) -> None:
    given = np.array([1, 1, *scales], np.float32)
    # Corners are those of the size before it is rounded down in ONNX's reference and suite, after it in ONNX Runtime.
    by = reference if attrs["coordinate_transformation_mode"] == "align_corners" else runtime
    check(*one_node("Resize", [f32(1, 2, 6, 7), None, given], opset=19, constants=[2], **attrs), by=by)


@pytest.mark.parametrize("attrs", MODES, ids=lambda a: "-".join(a.values()))
@pytest.mark.parametrize("sizes", [(1, 2, 13, 5), (1, 2, 6, 1)])
def test_resize_by_sizes(attrs: dict[str, Any], sizes: tuple[int, ...]) -> None:
    check(*one_node("Resize", [f32(1, 2, 6, 7), None, None, i64(*sizes)], opset=19, constants=[3], **attrs))


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
def test_resize_nearest(rounding: str) -> None:
    x = np.arange(42, dtype=np.int32).reshape(1, 1, 6, 7)
    for image in (x, x.astype(np.float32)):
        check(*one_node("Resize", [image, None, None, i64(1, 1, 9, 4)], constants=[3], opset=13, nearest_mode=rounding))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_resize_no_images(mode: str) -> None:
    check(*one_node("Resize", [f32(0, 2, 6, 7), None, None, i64(0, 2, 9, 4)], constants=[3], mode=mode))


def test_resize_more() -> None:
    x = f32(1, 2, 12, 14)
    for mode in ("linear", "cubic"):
        antialias = {"mode": mode, "antialias": 1, "opset": 18, "constants": [3]}
        check(*one_node("Resize", [x, None, None, i64(1, 2, 5, 6)], **antialias))
    check(*one_node("Resize", [x, None, None, i64(1, 2, 5, 20)], mode="cubic", exclude_outside=1, cubic_coeff_a=-0.5))
    sizes = [x, None, None, i64(5, 20)]
    check(*one_node("Resize", sizes, opset=18, axes=[2, 3], mode="linear", keep_aspect_ratio_policy="not_larger"))
    roi = np.array([0, 0, 0.2, 0.3, 1, 1, 1.2, 0.9], np.float32)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0, "mode": "linear"}
    check(*one_node("Resize", [x, roi, None, i64(1, 2, 6, 5)], **crop))
    check(*one_node("Resize", [f32(5, 7), None, np.array([2, 1.5], np.float32)], mode="linear"))
    check(*one_node("Resize", [x, np.array([1, 1, 2, 2], np.float32)], opset=10, mode="linear"))
    check(*one_node("Upsample", [x, np.array([1, 1, 2, 2], np.float32)], opset=9, mode="nearest"))


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample(mode: str, padding: str, corners: int) -> None:
    grid = f32(1, 5, 4, 2, low=-1.3, high=1.3)
    options = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    check(*one_node("GridSample", [f32(1, 2, 6, 7), grid], **options))


def test_batch_normalization() -> None:
    statistics = [f32(4), f32(4, seed=1), f32(4, seed=2), f32(4, low=0.5)]
    for x in (IMAGE, f32(3, 4), f32(2, 4, 5)):
        check(*one_node("BatchNormalization", [x, *statistics], epsilon=1e-3))
    check(*one_node("BatchNormalization", [IMAGE, *statistics], outputs=3, training_mode=1), by=reference)


def test_group_normalizations() -> None:
    check(*one_node("InstanceNormalization", [IMAGE, f32(4), f32(4)], epsilon=1e-3))
    check(*one_node("GroupNormalization", [IMAGE, f32(2), f32(2)], opset=18, num_groups=2), by=reference)
    check(*one_node("GroupNormalization", [IMAGE, f32(4), f32(4)], opset=21, num_groups=2), by=reference)


def test_layer_normalization() -> None:
    x = f32(2, 3, 4)
    check(*one_node("LayerNormalization", [x, f32(4), f32(4)]))
    check(*one_node("LayerNormalization", [x, f32(3, 4), f32(3, 4)], axis=1, epsilon=1e-2, outputs=3))
    check(*one_node("LayerNormalization", [x, f32(4)]))
    check(*one_node("RMSNormalization", [x, f32(4)], opset=23), by=reference)


def test_other_normalizations() -> None:
    check(*one_node("LRN", [IMAGE], size=3, alpha=0.02, beta=0.6, bias=1.5))
    check(*one_node("LpNormalization", [f32(3, 4)], p=1, axis=0))
    check(*one_node("LpNormalization", [np.vstack([f32(2, 4), np.zeros((1, 4), np.float32)])], p=2, axis=-1))
    check(*one_node("MeanVarianceNormalization", [IMAGE]))


def test_local_response_of_even_size() -> None:
    """No other runtime at hand does it right: the definition, written out."""
    model, feeds = one_node("LRN", [IMAGE], size=4, alpha=0.02)
    squares = [np.square(IMAGE[:, max(c - 1, 0) : c + 3]).sum(axis=1) for c in range(4)]
    expected = IMAGE / (1 + 0.02 / 4 * np.stack(squares, 1)) ** 0.75
    np.testing.assert_allclose(ours(model, feeds)["y0"], expected, rtol=1e-5)


def test_blocks() -> None:
    x = f32(2, 12, 4, 6)
    for mode in ("DCR", "CRD"):
        check(*one_node("DepthToSpace", [x], blocksize=2, mode=mode))
    check(*one_node("SpaceToDepth", [x], blocksize=2))
