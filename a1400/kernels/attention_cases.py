"""Conformance cases of ``attention``: edges of every tile, grouped heads, both layouts, masks, causal with a cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels.expr import apply, arg, const
from a1400.kernels.spec import Case, Data, Operand, SlotCode
from a1400.kernels.strided import dense

F32, F16, BF16 = np.dtype(np.float32), np.dtype(np.float16), dtypes.bfloat16


def scalars(
    b: int, h: int, hk: int, s: int, t: int, d: int, dv: int, *, bshd: bool = False, causal: bool = False,
    scale: float | None = None,
) -> dict[str, int | float]:  # fmt: skip
    """Scalars for dense tensors [B,H,S,D], or [B,S,H,D] with ``bshd``."""
    result: dict[str, int | float] = {"B": b, "H": h, "HK": hk, "S": s, "T_len": t, "D": d, "DV": dv}
    result |= {"causal": int(causal), "causal_offset": t - s, "scale": d**-0.5 if scale is None else scale}
    for name, heads, length, size, step in (
        ("q", h, s, d, "s"), ("k", hk, t, d, "t"), ("v", hk, t, dv, "t"), ("o", h, s, dv, "s"),
    ):  # fmt: skip
        st = dense((b, length, heads, size) if bshd else (b, heads, length, size))
        result |= {f"{name}_off": 0, f"{name}_b": st[0]}
        result |= {f"{name}_h": st[2] if bshd else st[1], f"{name}_{step}": st[1] if bshd else st[2]}
    return result


def _case(
    name: str, b: int, h: int, hk: int, s: int, t: int, d: int, dv: int, dtype: np.dtype = F32, *,
    bshd: bool = False, causal: bool = False, mask: str = "", gap: int = 0, spread: float = 1.0,
) -> Case:  # fmt: skip
    values = scalars(b, h, hk, s, t, d, dv, bshd=bshd, causal=causal)
    sizes = {"q": b * h * s * d, "k": b * hk * t * d, "v": b * hk * t * dv}
    if gap:  # each input starts inside its buffer
        for key in sizes:
            values[f"{key}_off"] = gap
            sizes[key] += gap
    arrays = {key: Data((size,), "T", -spread, spread) for key, size in sizes.items()}
    arrays["v"] = Data((sizes["v"],), "T", -spread / 2, 1.5 * spread)  # not about 0: a key too many shows in the mean
    slots: dict[str, Any] = {}
    rng = np.random.default_rng(7)
    x = arg(0, F32)
    if mask == "keys":  # the same for all queries, fully masked for the last batch entry
        m = np.where(rng.random((b, t)) < 0.3, -np.inf, 0).astype(np.float32)
        m[-1] = -np.inf
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 1),))
        slots["SCORE"] = (code, ((m, 0, (t, 0, 0, 1)),))
    elif mask == "full":
        m = rng.normal(size=(h, s, t)).astype(np.float32)
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 1),))
        slots["SCORE"] = (code, ((m, 0, (0, s * t, t, 1)),))
    elif mask == "turned":  # keys far apart
        m = rng.normal(size=(t, s)).astype(np.float32)
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 2),))
        slots["SCORE"] = (code, ((m, 0, (0, 0, 1, s)),))
    elif mask == "queries":  # the same for all keys: no change but where a query sees none
        m = np.where(rng.random(s) < 0.3, -np.inf, 0).astype(np.float32)
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 0),))
        slots["SCORE"] = (code, ((m, 0, (0, 0, 1, 0)),))
    elif mask == "finite":
        code = SlotCode(apply("add", x, const(-1e9, F32)))
        slots["SCORE"] = (code, ())
    elif mask == "lowest":  # the lowest float on the first keys, and on all of the last batch entry's
        m = np.zeros((b, t), np.float32)
        m[:, : t // 2] = np.finfo(np.float32).min
        m[-1] = np.finfo(np.float32).min
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 1),))
        slots["SCORE"] = (code, ((m, 0, (t, 0, 0, 1)),))
    elif mask == "bool":
        keep = rng.random((s, t)) < 0.6
        code = SlotCode(apply("where", arg(1, np.dtype(np.bool_)), x, const(-np.inf, F32)), (Operand(keep.dtype, 1),))
        slots["SCORE"] = (code, ((keep, 0, (0, 0, t, 1)),))
    shape = (b, s, h, dv) if bshd else (b, h, s, dv)
    return Case(name, arrays, values, {"o": (shape, "T")}, {"T": dtype}, slots)


def cases() -> Iterator[Case]:
    """Edges of every tile, grouped heads, both layouts, masks, causal with and without a cache."""
    yield _case("one", 1, 1, 1, 1, 1, 1, 1)
    yield _case("even", 2, 2, 2, 64, 64, 64, 64, bshd=True)
    yield _case("odd", 1, 3, 1, 37, 67, 20, 13, spread=3)
    yield _case("narrow", 2, 2, 2, 13, 9, 8, 24)
    yield _case("causal", 1, 2, 2, 70, 70, 32, 32, causal=True)
    yield _case("causal_cache", 1, 4, 2, 5, 41, 16, 16, causal=True, bshd=True)
    yield _case("causal_no_keys", 1, 1, 1, 40, 8, 16, 16, causal=True)
    yield _case("decode", 2, 4, 2, 1, 131, 64, 64)
    yield _case("decode_odd", 1, 3, 3, 3, 65, 37, 71, causal=True, mask="full", gap=5)
    yield _case("decode_bool", 1, 2, 2, 2, 70, 16, 48, mask="bool")
    yield _case("keys_mask", 2, 2, 2, 33, 40, 16, 16, mask="keys")
    yield _case("full_mask", 1, 2, 2, 45, 70, 24, 24, mask="full", gap=3)
    yield _case("bool_mask", 1, 2, 2, 17, 70, 24, 24, mask="bool")
    yield _case("finite_mask", 1, 1, 1, 34, 50, 16, 16, mask="finite")
    yield _case("turned_mask", 1, 2, 2, 19, 41, 16, 40, mask="turned")
    yield _case("queries_mask", 1, 2, 2, 20, 23, 32, 32, mask="queries", causal=True)
    yield _case("causal_mask", 2, 2, 1, 31, 31, 32, 48, causal=True, mask="full")
    yield _case("window", 6, 3, 3, 49, 49, 32, 32, bshd=True, mask="full")
    yield _case("long_causal", 1, 1, 1, 130, 290, 40, 24, causal=True, mask="keys", spread=3)
    yield _case("long", 1, 2, 1, 111, 513, 33, 65, spread=2)
    yield _case("wide", 1, 1, 1, 35, 33, 128, 100)
    yield _case("widest", 1, 1, 1, 33, 34, 256, 250)
    yield _case("no_keys", 1, 1, 1, 2, 0, 16, 16)
    yield _case("half", 1, 2, 2, 40, 50, 64, 64, F16)
    yield _case("half_decode", 1, 2, 2, 1, 50, 40, 40, F16)
    yield _case("bfloat", 1, 2, 2, 40, 50, 64, 64, BF16)
    yield from _cuda_cases()


def _cuda_cases() -> Iterator[Case]:
    """Decoding, then f16 and bf16: head sizes about each variant's limits, tile edges, alignments, every mask."""
    yield _case("decode_shared", 64, 4, 2, 2, 9, 16, 16, causal=True, mask="keys")
    yield _case("decode_shared_128", 64, 6, 2, 1, 40, 128, 100, F16, bshd=True)
    yield _case("decode_shared_256", 128, 2, 1, 3, 4, 136, 136, BF16, causal=True)
    yield _case("decode_128", 1, 2, 1, 4, 70, 128, 128, F16, causal=True, mask="full")
    yield _case("decode_256", 1, 2, 2, 2, 37, 256, 200, BF16, bshd=True, gap=8)
    yield _case("decode_256_wide", 1, 1, 1, 3, 33, 200, 256, gap=1)
    yield _case("decode_no_keys", 1, 2, 2, 4, 2, 16, 16, F16, causal=True)
    yield _case("half_8", 2, 2, 1, 9, 127, 8, 8, F16, bshd=True)
    yield _case("half_37", 1, 2, 2, 65, 63, 37, 29, F16)
    yield _case("half_40", 2, 2, 2, 64, 64, 40, 40, BF16, bshd=True, causal=True)
    yield _case("half_pairs", 1, 1, 1, 70, 65, 42, 64, F16, gap=2)
    yield _case("half_gap", 1, 2, 1, 33, 129, 64, 64, F16, gap=3, causal=True)
    yield _case("half_long", 1, 2, 1, 10, 400, 48, 64, F16, spread=2)
    yield _case("half_72", 1, 2, 2, 50, 66, 72, 72, BF16, mask="full")
    yield _case("half_80", 1, 1, 1, 63, 270, 80, 96, F16, bshd=True, mask="keys")
    yield _case("half_96", 1, 2, 1, 129, 129, 96, 80, F16, causal=True)
    yield _case("half_128", 1, 2, 1, 65, 130, 128, 128, F16, causal=True, mask="bool", bshd=True)
    yield _case("half_128_plain", 1, 1, 1, 20, 300, 128, 104, BF16)
    yield _case("half_160", 1, 1, 1, 66, 140, 160, 160, F16, mask="bool")
    yield _case("half_256", 1, 1, 1, 70, 65, 256, 250, BF16, causal=True)
    yield _case("half_causal", 1, 2, 2, 130, 130, 64, 64, BF16, causal=True, spread=4)
    yield _case("half_causal_cache", 2, 4, 2, 17, 150, 32, 32, F16, causal=True, bshd=True)
    yield _case("half_causal_no_keys", 1, 1, 1, 140, 70, 16, 16, BF16, causal=True)
    yield _case("half_keys", 2, 2, 2, 33, 80, 16, 16, F16, mask="keys")
    yield _case("half_full", 1, 2, 2, 45, 70, 24, 24, BF16, mask="full", gap=8)
    yield _case("half_finite", 1, 1, 1, 34, 70, 16, 16, F16, mask="finite")
    yield _case("half_lowest", 2, 1, 1, 20, 140, 16, 16, F16, mask="lowest")
    yield _case("half_no_keys", 1, 1, 1, 6, 0, 16, 16, F16)
    yield _case("half_many", 16, 8, 4, 65, 20, 16, 16, F16)  # enough blocks of 128 queries
    yield _case("half_many_causal", 32, 4, 2, 65, 33, 64, 32, BF16, causal=True, mask="full")
    yield _case("half_many_80", 16, 8, 8, 66, 6, 80, 72, F16, mask="keys")
    yield _case("half_many_128", 16, 8, 8, 66, 40, 128, 128, BF16, bshd=True, causal=True)
