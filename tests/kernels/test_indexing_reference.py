"""References of the indexing, padding and sampling kernels against NumPy, ONNX's own reference and PyTorch."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from a1400.kernels import gather, grid, pad, resize, scatter
from a1400.kernels.resize_tables import axis_tables
from a1400.kernels.spec import Case, KernelSpec

F32 = np.dtype(np.float32)
RNG = np.random.default_rng(0)


def _run(spec: KernelSpec, arrays: dict, scalars: dict, shape: tuple[int, ...] = (), **types: np.dtype) -> np.ndarray:
    case = Case("", {}, scalars, {"y": (shape, "T")}, {"T": F32, **types})
    return spec.reference(arrays, scalars, case)["y"]


def test_gather_elements_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(4, 6, 5))
    idx = RNG.integers(0, 6, (3, 9, 5))
    got = _run(gather.GATHER_ELEMENTS, {"x": x, "idx": idx}, gather.elements_scalars(x.shape, idx.shape, 1), idx.shape)
    np.testing.assert_array_equal(got, torch.gather(torch.from_numpy(x), 1, torch.from_numpy(idx)).numpy())


@pytest.mark.parametrize("batch", [0, 1])
def test_gather_nd_is_onnxs(batch: int) -> None:
    onnx = pytest.importorskip("onnx.reference.ops.op_gathernd")
    x = RNG.normal(size=(3, 4, 5, 2))
    idx = RNG.integers(0, 3, (3, 6, 2))
    wanted = onnx._gather_nd_impl(x, idx, batch)[0]
    got = _run(gather.GATHER_ND, {"x": x, "idx": idx}, gather.nd_scalars(x.shape, idx.shape, batch), wanted.shape)
    np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("reduction", scatter.REDUCTIONS)
def test_scatters_are_onnxs(reduction: str) -> None:
    elements = pytest.importorskip("onnx.reference.ops.op_scatter_elements")
    nd = pytest.importorskip("onnx.reference.ops.op_scatternd")
    y, idx = RNG.normal(size=(5, 6)), RNG.integers(-5, 5, (7, 4))
    updates = RNG.normal(size=idx.shape)
    got = _run(
        scatter.SCATTER_ELEMENTS, {"y": y, "idx": idx, "updates": updates},
        scatter.elements_scalars(y.shape, idx.shape, 0, reduction),
    )  # fmt: skip
    np.testing.assert_allclose(got, elements.scatter_elements(y, idx, updates, 0, reduction))
    pairs = RNG.integers(0, 5, (9, 2))
    updates = RNG.normal(size=9)
    got = _run(
        scatter.SCATTER_ND, {"y": y, "idx": pairs, "updates": updates},
        scatter.nd_scalars(y.shape, pairs.shape, reduction),
    )  # fmt: skip
    np.testing.assert_allclose(got, nd._scatter_nd_impl(y, pairs, updates, reduction))


@pytest.mark.parametrize("mode", pad.MODES)
def test_pad_is_numpys(mode: str) -> None:
    x = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    low, high = (2, 0, 3), (1, 4, 5)
    extra: dict[str, Any] = {"constant_values": 2.5} if mode == "constant" else {}
    wanted = np.pad(x, list(zip(low, high)), mode=cast(Any, mode), **extra)
    s = pad.scalars(x.shape, low, high, mode, pad.word_of(2.5, F32))
    got = _run(pad.SPEC, {"x": x.view(np.uint32)}, s, wanted.shape)
    np.testing.assert_array_equal(got.astype(np.uint32).view(np.float32), wanted)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", grid.PADDINGS)
@pytest.mark.parametrize("mode", grid.MODES)
def test_grid_sample_is_torchs(mode: str, padding: str, align: bool) -> None:
    torch = pytest.importorskip("torch")
    x = RNG.normal(size=(2, 5, 7, 3)).astype(np.float32)
    g = RNG.uniform(-2.5, 2.5, (2, 8, 9, 2)).astype(np.float32)
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    wanted = torch.nn.functional.grid_sample(
        torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(g), name, padding, align
    ).permute(0, 2, 3, 1)
    got = _run(grid.SPEC, {"x": x, "grid": g}, grid.scalars(2, 5, 7, 3, 8, 9, mode, padding, align), (2, 8, 9, 3))
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_tables_are_torchs(mode: str, align: bool, antialias: bool) -> None:
    torch = pytest.importorskip("torch")
    if antialias and align:
        pytest.skip("ONNX renormalises this combination differently")
    x = RNG.normal(size=(1, 9, 12, 2)).astype(np.float32)
    out = (5, 17)
    # PyTorch's antialiased cubic has another coefficient than its plain one
    how: dict[str, Any] = {"mode": mode, "antialias": antialias, "cubic_coeff": -0.5 if antialias else -0.75}
    how["coordinate_mode"] = "align_corners" if align else "half_pixel"
    arrays = {"x": x}
    arrays["id"], arrays["wd"] = resize.identity(1)
    arrays["ih"], arrays["wh"] = axis_tables(9, out[0], **how)
    arrays["iw"], arrays["ww"] = axis_tables(12, out[1], **how)
    s = resize.scalars(1, (1, 9, 12), (1, *out), 2, (1, arrays["ih"].shape[1], arrays["iw"].shape[1]))
    got = _run(resize.SPEC, arrays, s, (1, *out, 2))
    wanted = torch.nn.functional.interpolate(
        torch.from_numpy(x).permute(0, 3, 1, 2), out, mode="bilinear" if mode == "linear" else "bicubic",
        align_corners=align, antialias=antialias,
    ).permute(0, 2, 3, 1)  # fmt: skip
    rows = slice(None)
    if antialias:  # ONNX clamps indices where PyTorch drops them: compare where the filter is inside
        rows = slice(2, 3)
    np.testing.assert_allclose(got[:, rows, 4:12], wanted.numpy()[:, rows, 4:12], rtol=1e-4, atol=1e-4)
