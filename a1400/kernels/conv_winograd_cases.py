"""Conformance cases of Winograd's convolutions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from a1400.kernels.conv_pack import pack_conv
from a1400.kernels.conv_pool import both_slots
from a1400.kernels.conv_winograd_pack import pack_winograd
from a1400.kernels.gemm_cases import Slots, bias_relu_add, type_variables
from a1400.kernels.spec import Case, Data


def case(
    algorithm: tuple[int, int, bool], name: str, x: Sequence[int], oc: int, pads: Sequence[int] = (1, 1, 1, 1), *,
    groups: int = 1, types: str = "f32", x_pad: int = 0, y_pad: int = 0, offset: int = 0, slots: bool = False,
    block: int = 28, across: int = 1, special: float | None = None,
) -> Case:  # fmt: skip
    """One case of an ``algorithm`` (outputs along a tile's side, stride, filters as they are).

    ``x`` is the shape [N, H, W, C], ``pads`` are those before (h, w) and behind (h, w).
    """
    n, h, w, c = x
    outputs, stride, raw = algorithm
    oh, ow = (h + pads[0] + pads[2] - 3) // stride + 1, (w + pads[1] + pads[3] - 3) // stride + 1
    kinds = {k: v for k, v in type_variables(types).items() if k in (("TA", "TB", "TC") if raw else ("TA", "TC"))}
    filters = np.random.default_rng(3).integers(-3, 4, (oc, c // groups, 3, 3))
    packed = pack_conv(filters.astype(kinds["TB"]), groups) if raw else pack_winograd(filters, outputs, groups, stride)
    scalars = {
        "N": n, "H": h, "W": w, "C": c, "OH": oh, "OW": ow, "OC": oc, "ph": pads[0], "pw": pads[1], "groups": groups,
        "x_off": offset, "x_ld": c + x_pad, "y_off": offset, "y_ld": oc + y_pad, "block": block, "across": across,
    }  # fmt: skip
    # the last pixel ends with its channels: reading on to the next multiple of a vector must not happen
    size = offset + (n * h * w - 1) * (c + x_pad) + c
    arrays: dict[str, Any] = {"x": Data((size,), "TA"), "w": packed.reshape(-1)}
    if special is not None:
        arrays["x"] = np.full(size, special, kinds["TA"])
    fill: Slots = bias_relu_add((n, oh * ow, oc)) if slots else {}
    return Case(name, arrays, scalars, {"y": ((offset + n * oh * ow * (oc + y_pad),), "TC")}, kinds, fill)


def cases(outputs: int, stride: int, raw: bool) -> Iterable[Case]:
    """Cases of tiles of ``outputs`` x ``outputs``, with filters as they are or transformed."""
    kind = outputs, stride, raw
    yield case(kind, "one tile", (1, outputs, outputs, 16), 32)
    yield case(kind, "one pixel", (1, 1, 1, 1), 1)
    yield case(kind, "whole tiles", (1, 8, 8, 32), 64)
    yield case(kind, "tails", (2, 7, 9, 19), 45, slots=True)
    yield case(kind, "no pads", (1, 10, 7, 20), 40, (0, 0, 0, 0))
    yield case(kind, "uneven pads", (1, 6, 7, 20), 40, (2, 0, 1, 3))
    yield case(kind, "wide pads", (1, 3, 3, 8), 16, (5, 4, 4, 6))
    yield case(kind, "few outputs", (1, 9, 9, 40), 3, slots=True)
    yield case(kind, "half panel", (1, 13, 21, 24), 16, slots=True)
    yield case(kind, "one and a half panels", (1, 13, 9, 24), 48)
    yield case(kind, "deep", (1, 5, 6, 300), 70, slots=True)
    yield case(kind, "deeper than two steps", (1, 4, 4, 550), 100, across=2)
    yield case(kind, "small blocks", (1, 21, 17, 24), 40, block=5, across=2)
    yield case(kind, "ranges of panels", (3, 6, 7, 17), 130, across=3, slots=True)
    yield case(kind, "groups", (2, 6, 6, 48), 80, groups=2, slots=True)
    yield case(kind, "channel range", (2, 5, 6, 16), 40, x_pad=7, y_pad=9, offset=3, slots=True)
    yield case(kind, "nan", (1, 6, 6, 18), 35, special=float("nan"))
    for half in ("f16", "bf16"):
        yield case(kind, half, (1, 6, 7, 20), 40, types=half)
    if raw:  # nothing new for the others
        yield case(kind, "bf16 to f32", (1, 6, 7, 20), 40, types="bf16,bf16,f32,f32", slots=True)


def pooled_cases(outputs: int) -> Iterable[Case]:
    """Cases of tiles of ``outputs`` x ``outputs`` with pooling behind them."""
    yield _pooled(outputs, "whole tiles", (1, 8, 8, 32), 64, (2, 2))
    yield _pooled(outputs, "tails", (2, 7, 9, 19), 45, (2, 2), slots=True)
    yield _pooled(outputs, "half panel", (1, 13, 21, 24), 16, (2, 2), slots=True)
    yield _pooled(outputs, "lines", (1, 9, 10, 20), 40, (1, 2), slots=True, y_pad=9, offset=3)
    yield _pooled(outputs, "a tile", (1, 9, 10, 20), 40, (outputs, outputs), slots=True, block=5, across=2)
    yield _pooled(outputs, "average", (1, 9, 9, 20), 35, (2, outputs), average=1, slots=True)
    yield _pooled(outputs, "groups", (2, 6, 6, 48), 80, (2, 2), groups=2, slots=True)
    yield _pooled(outputs, "nan", (1, 6, 6, 18), 35, (2, 2), special=float("nan"))
    for half in ("f16", "bf16"):
        yield _pooled(outputs, half, (1, 6, 7, 20), 40, (2, 2), types=half)


def _pooled(
    outputs: int, name: str, x: Sequence[int], oc: int, pool: tuple[int, int], *, average: int = 0,
    y_pad: int = 0, offset: int = 0, slots: bool = False, **given: Any,
) -> Case:  # fmt: skip
    plain = case((outputs, 1, False), name, x, oc, y_pad=y_pad, offset=offset, **given)
    scalars = {**plain.scalars, "pool_h": pool[0], "pool_w": pool[1], "average": average}
    n, oh, ow = x[0], int(scalars["OH"]), int(scalars["OW"])
    rows = n * (oh // pool[0]) * (ow // pool[1])
    fill = both_slots(n, oh, ow, oc, pool) if slots else {}
    return replace(plain, scalars=scalars, slots=fill, outputs={"y": ((offset + rows * (oc + y_pad),), "TC")})
