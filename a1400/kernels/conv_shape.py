"""The scalars that all convolution kernels share, and NumPy references on channels-last arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from a1400.kernels.check import slot_reference
from a1400.kernels.gemm_pack import poison, strided
from a1400.kernels.spec import Case, Scalars

PARAMS = """
in x: TA
in w: TB
out y: TC
int N        # images
int D        # input sizes
int H
int W
int C
int OD       # output sizes
int OH
int OW
int OC
int KD       # kernel sizes
int KH
int KW
int sd       # strides
int sh
int sw
int pd       # pads before the first pixel; those behind the last follow from the output sizes
int ph
int pw
int dd       # dilations
int dh
int dw
int groups
int x_off
int x_ld     # elements from one input pixel to the next, at least C
int y_off
int y_ld
"""

#: of ``conv`` alone, behind PARAMS: images whose channels lie apart, as in [N, C, H, W]
IMAGE_STRIDES = """
int x_n      # elements from one input image to the next
int x_c      # and from one channel to the next
"""


def conv_scalars(
    x: Sequence[int], y: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int],
    dilations: Sequence[int], groups: int = 1, x_off: int = 0, x_ld: int = 0, y_off: int = 0, y_ld: int = 0,
) -> dict[str, int]:  # fmt: skip
    """Scalars of a convolution from channels-last shapes ``x = (N, *spatial, C)`` and ``y = (N, *spatial, OC)``.

    1-D and 2-D convolutions become 3-D ones with leading sizes of 1.  ``pads`` are those before the first pixel;
    ``x_ld``/``y_ld`` 0 mean dense pixels.
    """
    lead = 3 - len(kernel)

    def full(values: Sequence[int], fill: int) -> list[int]:
        return [fill] * lead + [int(v) for v in values]

    values: dict[str, int] = {"N": int(x[0]), "C": int(x[-1]), "OC": int(y[-1]), "groups": groups}
    for names, numbers in (
        (("D", "H", "W"), full(x[1:-1], 1)), (("OD", "OH", "OW"), full(y[1:-1], 1)),
        (("KD", "KH", "KW"), full(kernel, 1)), (("sd", "sh", "sw"), full(strides, 1)),
        (("pd", "ph", "pw"), full(pads, 0)), (("dd", "dh", "dw"), full(dilations, 1)),
    ):  # fmt: skip
        values.update(zip(names, numbers))
    values |= {"x_off": x_off, "x_ld": x_ld or int(x[-1]), "y_off": y_off, "y_ld": y_ld or int(y[-1])}
    return values


def with_image_strides(scalars: Mapping[str, int], image: int | None = None, channel: int = 1) -> dict[str, int]:
    """Scalars of ``conv`` from those of :func:`conv_scalars`; the defaults are an image's pixels side by side."""
    if image is None:  # 0 is one image for the whole batch
        image = scalars["D"] * scalars["H"] * scalars["W"] * scalars["x_ld"]
    return {**scalars, "x_n": image, "x_c": channel}


def ints(s: Scalars) -> dict[str, int]:
    """Scalars as Python ints."""
    return {k: int(v) for k, v in s.items()}


def triple(i: Mapping[str, int], names: str) -> tuple[int, int, int]:
    """Three scalars by space-separated names."""
    a, b, c = (i[n] for n in names.split())
    return a, b, c


def output_rows(s: Scalars) -> int:
    """Output pixels of all images."""
    return int(s["N"]) * int(s["OD"]) * int(s["OH"]) * int(s["OW"])


def taps(s: Scalars) -> int:
    """Weights per pair of channels."""
    return int(s["KD"]) * int(s["KH"]) * int(s["KW"])


def outputs(s: Scalars) -> float:
    """Elements of the result."""
    return output_rows(s) * float(s["OC"])


def flops(s: Scalars) -> float:
    """Multiplications and additions of a convolution."""
    return 2.0 * output_rows(s) * float(s["OC"]) * taps(s) * (float(s["C"]) / float(s["groups"]))


def nbytes(s: Scalars) -> float:
    """Bytes of input, weights and output, each once, as f32."""
    pixels = float(s["N"]) * float(s["D"]) * float(s["H"]) * float(s["W"])
    weights = float(s["OC"]) * taps(s) * float(s["C"]) / float(s["groups"])
    return 4.0 * (pixels * float(s["C"]) + weights + output_rows(s) * float(s["OC"]))


def input_view(x: np.ndarray, i: Mapping[str, int]) -> np.ndarray:
    """``[N, D, H, W, C]`` view of the input buffer."""
    d, h, w = triple(i, "D H W")
    ld = i["x_ld"]
    strides = (i.get("x_n", d * h * w * ld), h * w * ld, w * ld, ld, i.get("x_c", 1))
    return strided(x, i["x_off"], (i["N"], d, h, w, i["C"]), strides)


def store_output(value: np.ndarray, i: Mapping[str, int], case: Case) -> dict[str, np.ndarray]:
    """Epilogue applied to ``value [N, OD, OH, OW, OC]`` and placed in the output buffer of ``case``."""
    n, oc = i["N"], i["OC"]
    value = slot_reference(case, "EPILOGUE", value.reshape(n, -1, oc))
    shape, _ = case.outputs["y"]
    out = poison(shape, case.types["TC"]).astype(value.dtype).reshape(-1)
    rows = value.reshape(-1, oc)
    for r in range(rows.shape[0]):
        start = i["y_off"] + r * i["y_ld"]
        out[start : start + oc] = rows[r]
    return {"y": out.reshape(shape)}


def accumulate(x: np.ndarray, w: np.ndarray, i: Mapping[str, int]) -> np.ndarray:
    """Convolution of ``x [N, D, H, W, C]`` with ``w [groups, taps, C/groups, OC/groups]``: ``[N, OD, OH, OW, OC]``."""
    wide: Any = np.float64 if x.dtype.kind == "f" else np.int64
    kernel, out = triple(i, "KD KH KW"), triple(i, "OD OH OW")
    stride, pad, dilation = triple(i, "sd sh sw"), triple(i, "pd ph pw"), triple(i, "dd dh dw")
    high = [max(0, (o - 1) * s + (k - 1) * d + 1 - p - n)
            for o, s, k, d, p, n in zip(out, stride, kernel, dilation, pad, x.shape[1:4])]  # fmt: skip
    padded = np.pad(x.astype(wide), [(0, 0), *zip(pad, high), (0, 0)])
    groups, cg, og = i["groups"], i["C"] // i["groups"], i["OC"] // i["groups"]
    y = np.zeros((i["N"], *out, i["OC"]), wide)
    for t, tap in enumerate(product(*(range(k) for k in kernel))):
        where = [slice(k * d, k * d + (o - 1) * s + 1, s) for k, d, o, s in zip(tap, dilation, out, stride)]
        part = padded[tuple([slice(None), *where])]
        for g in range(groups):
            with np.errstate(all="ignore"):
                y[..., g * og : (g + 1) * og] += part[..., g * cg : (g + 1) * cg] @ w[g, t].astype(wide)
    return y


def accumulate_transposed(x: np.ndarray, w: np.ndarray, i: Mapping[str, int]) -> np.ndarray:
    """Transposed convolution; ``w [groups, taps, C/groups, OC/groups]`` with taps in natural order."""
    kernel, out = triple(i, "KD KH KW"), triple(i, "OD OH OW")
    stride, pad, dilation = triple(i, "sd sh sw"), triple(i, "pd ph pw"), triple(i, "dd dh dw")
    groups, cg, og = i["groups"], i["C"] // i["groups"], i["OC"] // i["groups"]
    whole = [max((n - 1) * s + (k - 1) * d + 1, p + o)
             for n, s, k, d, p, o in zip(x.shape[1:4], stride, kernel, dilation, pad, out)]  # fmt: skip
    full = np.zeros((i["N"], *whole, i["OC"]))
    for t, tap in enumerate(product(*(range(k) for k in kernel))):
        where = [slice(k * d, k * d + (n - 1) * s + 1, s) for k, d, n, s in zip(tap, dilation, x.shape[1:4], stride)]
        for g in range(groups):
            part = x[..., g * cg : (g + 1) * cg] @ w[g, t]
            full[tuple([slice(None), *where, slice(g * og, (g + 1) * og)])] += part
    crop = [slice(p, p + o) for p, o in zip(pad, out)]
    return full[tuple([slice(None), *crop])]
