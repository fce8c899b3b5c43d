"""Variants of ``attention`` for NVIDIA GPUs.

``decode``: up to four queries over many keys, for every type; it reads memory and does little else.
``tensor``: tensor cores by ``mma`` (compute capability 8.0 and later), for ``f16`` and ``bf16``, any strides and any
head size up to the limit (shorter heads are padded with zeros in shared memory; rows at multiples of 16 bytes are
copied fastest), and a positive scale, which the maximum of a row then commutes with.
``hopper``: tensor cores by ``wgmma`` and tiles by bulk copies (compute capability 9.0), the same but for rows that do
not begin at multiples of 16 bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from a1400.backends.base import DeviceInfo, Grid, TensorMap
from a1400.kernels.spec import Scalars, Tunable, Tunables, Variant
from a1400.kernels.strided import ceil_div

DECODE_QUERIES = 4  # at most so many queries per head make a decode step
HEADS = (64, 96, 128, 256)  # the limits of the tensor-core variants
#: so many blocks keep the multiprocessors busy: with more work than that, a block takes more of it
MANY_BLOCKS = 128


def head_range(low: int, limit: int) -> Callable[[Scalars], bool]:
    """Head sizes above ``low`` up to ``limit``."""
    return lambda s: low < max(s["D"], s["DV"]) <= limit


def _tensor(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return info.capability >= 80 and types["T"].itemsize == 2


def _queries(t: Tunables) -> int:
    return 16 * t["TILES"] * t["WARPS"]


def _tensor_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["S"], _queries(t)) * int(s["H"]) * int(s["B"]), 1, 1), (32 * t["WARPS"], 1, 1)


def _row_bytes(limit: int) -> int:
    """Bytes of a row of a tile: 8, 16 or 32 units of 16."""
    return 128 if limit <= 64 else 256 if limit <= 128 else 512


def _tensor_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    return (_queries(t) + 2 * t["KEYS"]) * _row_bytes(t["MAX_D"])


def _tensor_variant(low: int, limit: int, tiles: int) -> Variant:
    fits = head_range(low, limit)

    def supports(s: Scalars) -> bool:
        many = s["S"] > 64 and ceil_div(s["S"], 128) * s["H"] * s["B"] >= MANY_BLOCKS
        return fits(s) and s["scale"] > 0 and (tiles == 1 or many)

    tunables = (
        Tunable("MAX_D", limit, (limit,), "largest head size; sizes the tiles and the results of a thread"),
        Tunable("WARPS", 4, (2, 4, 8), "warps of a block, which share tiles of keys"),
        Tunable("TILES", tiles, (1, 2), "16 queries of a warp, times this"),
        Tunable("KEYS", 32 if limit * tiles >= 192 else 64, (32, 64, 128), "keys of a tile"),
        Tunable("HOLD_Q", int(limit * tiles <= 128), (0, 1), "queries stay in registers"),
    )
    return Variant(
        f"tensor_d{limit}{'_wide' if tiles == 2 else ''}", "gpu", _tensor_geometry, tunables, ("cuda",),
        "attention_tensor", requires=_tensor, supports=supports, dynamic_bytes=_tensor_bytes,
        test_tunables=({"KEYS": 32, "WARPS": 2, "HOLD_Q": 0},) if tiles == 1 and limit == 64 else (),
    )  # fmt: skip


def _hopper(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return info.capability == 90 and types["T"].itemsize == 2


def _hopper_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    blocks = ceil_div(s["S"], 64 * t["CONSUMERS"]) * int(s["H"]) * int(s["B"])
    return (blocks, 1, 1), (128 * (t["CONSUMERS"] + 1), 1, 1)


def _hopper_bytes(types: Mapping[str, np.dtype], t: Tunables) -> int:
    rows = 64 * t["CONSUMERS"] + 2 * t["STAGES"] * t["KEYS"]
    return ceil_div(t["MAX_D"], 64) * 128 * rows + 256  # and the barriers


def _heads_map(name: str, heads: str, length: str, size: str, step: str, rows: Callable[[Tunables], int]) -> Any:
    """A tensor map's entry: tiles of 64 columns by ``rows``, in 128-byte swizzle, of [B, heads, length, size]."""

    def rule(types: Mapping[str, np.dtype], s: Scalars, t: Tunables) -> TensorMap:
        item = types["T"].itemsize
        dims = tuple(int(s[n]) for n in (size, length, heads, "B"))
        steps = (int(s[f"{name}_{n}"]) for n in (step, "h", "b"))
        # the stride of a dimension of one element is free: any that a map may have
        strides = tuple(item * (8 if n == 1 else st) for n, st in zip(dims[1:], steps))
        return TensorMap(None, types["T"], dims, strides, (64, rows(t), 1, 1), 128, item * int(s[f"{name}_off"]))

    return (f"{name}_map", name, rule)


_HOPPER_MAPS = (
    _heads_map("q", "H", "S", "D", "s", lambda t: 64 * t["CONSUMERS"]),
    _heads_map("k", "HK", "T_len", "D", "t", lambda t: t["KEYS"]),
    _heads_map("v", "HK", "T_len", "DV", "t", lambda t: t["KEYS"]),
)


def _mapped(s: Scalars) -> bool:
    """Whether q, k and v can be read through tensor maps: rows at multiples of 16 bytes, no stride of 0."""
    for name, heads, length, step in (("q", "H", "S", "s"), ("k", "HK", "T_len", "t"), ("v", "HK", "T_len", "t")):
        if s[length] < 1 or s[f"{name}_off"] % 8:
            return False
        for size, axis in ((s[length], step), (s[heads], "h"), (s["B"], "b")):
            stride = s[f"{name}_{axis}"]
            if size > 1 and (stride <= 0 or stride % 8):
                return False
    return True


def _hopper_variant(low: int, limit: int) -> Variant:
    fits = head_range(low, limit)
    tunables = (
        Tunable("MAX_D", limit, (limit,), "largest head size"),
        Tunable("CONSUMERS", 2, (1, 2, 3), "warpgroups of 64 queries each"),
        Tunable("KEYS", 64 if limit > 128 else 128, (64, 128), "keys of a tile"),
        Tunable("STAGES", 2, (2, 3), "tiles of keys, and of values, under way or in use"),
    )
    return Variant(
        f"hopper_d{limit}", "gpu", _hopper_geometry, tunables, ("cuda",), "attention_hopper", requires=_hopper,
        supports=lambda s: fits(s) and s["scale"] > 0 and _mapped(s), dynamic_bytes=_hopper_bytes,
        tensor_maps=_HOPPER_MAPS,
        test_tunables=({"CONSUMERS": 1, "KEYS": 64, "STAGES": 3},) if limit == 64 else (),
    )  # fmt: skip


def _decode_geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    rows = ceil_div(s["H"] // s["HK"] * s["S"], t["ROWS"])
    return (rows * int(s["HK"]) * int(s["B"]), 1, 1), (32 * t["WARPS"], 1, 1)


def _decode_variant(low: int, limit: int, rows: int) -> Variant:
    fits = head_range(low, limit)

    def supports(s: Scalars) -> bool:
        sharing = s["H"] // s["HK"] * s["S"] > 1 and s["HK"] * s["B"] >= MANY_BLOCKS
        return s["S"] <= DECODE_QUERIES and s["H"] % s["HK"] == 0 and fits(s) and (rows == 1 or sharing)

    tunables = (
        Tunable("MAX_D", limit, (limit,), "largest head size; says how many threads share a key"),
        Tunable("ROWS", rows, (1, 2, 4), "queries of a block, of one head or of heads with the same keys"),
        Tunable("WARPS", 16 if limit > 128 and rows == 1 else 8, (4, 8, 16), "warps of a block"),
    )
    return Variant(
        f"decode_d{limit}{'_shared' if rows > 1 else ''}", "gpu", _decode_geometry, tunables, ("cuda",),
        "attention_decode", supports=supports,
        local_bytes=lambda types, t: 4 * t["WARPS"] * t["ROWS"] * (t["MAX_D"] + 2),
        test_tunables=({"ROWS": 4},) if rows == 1 else (),
    )  # fmt: skip


def cuda_variants() -> tuple[Variant, ...]:
    """In order of preference."""
    result = []
    for low, limit in ((0, 64), (64, 128), (128, 256)):
        result += [_decode_variant(low, limit, rows) for rows in (4, 1)]
    result += [_hopper_variant(low, limit) for low, limit in zip((0, *HEADS), HEADS)]
    for low, limit in zip((0, *HEADS), HEADS):
        tiles = (2, 1) if limit <= 128 else (1,)
        result += [_tensor_variant(low, limit, n) for n in tiles]
    return tuple(result)
