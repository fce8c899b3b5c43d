"""Conformance cases of the gradient of attention: edges of every tile, grouped heads, both layouts, masks, causal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels import attention_cases
from a1400.kernels.check import slot_reference
from a1400.kernels.expr import apply, arg, const
from a1400.kernels.spec import Case, Operand, Scalars, SlotCode
from a1400.kernels.strided import strided

F32 = np.dtype(np.float32)
HALVES = (np.dtype(np.float16), dtypes.bfloat16)


def scalars(
    b: int, h: int, hk: int, s: int, t: int, d: int, dv: int, *, bshd: bool = False, causal: bool = False,
) -> dict[str, int | float]:  # fmt: skip
    """Scalars of both kernels for dense tensors [B,H,S,D], or [B,S,H,D] with ``bshd``."""
    result = attention_cases.scalars(b, h, hk, s, t, d, dv, bshd=bshd, causal=causal)
    for name, like, step in (("g", "o", "s"), ("dq", "q", "s"), ("dk", "k", "t"), ("dv", "v", "t")):
        result |= {f"{name}_{part}": result[f"{like}_{part}"] for part in ("off", "b", "h", step)}
    return result


def weights(q: np.ndarray, k: np.ndarray, s: Scalars, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(p [B,H,S,T], each row's largest score, 1 / its sum of exponentials) of q [B,H,S,D] and k [B,HK,T,D]."""
    heads = np.arange(q.shape[1]) * k.shape[1] // q.shape[1]
    score = s["scale"] * (q @ k[:, heads].swapaxes(-1, -2))
    score = slot_reference(case, "SCORE", score.astype(np.float32)).astype(np.float64)
    if s["causal"]:
        seen = np.arange(k.shape[2])[None, :] <= np.arange(q.shape[2])[:, None] + s["causal_offset"]
        score = np.where(seen, score, -np.inf)
    top = score.max(axis=3, initial=-np.inf)
    top = np.where(np.isneginf(top), 0, top)
    p = np.exp(score - top[..., None])
    total = p.sum(axis=3)
    inverse = np.divide(1, total, out=np.zeros_like(total), where=total > 0)
    return p * inverse[..., None], top, inverse


def _slot(kind: str, b: int, h: int, s: int, t: int) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    if kind == "keys":  # the same for all queries, all of them hidden for the last batch entry
        mask = np.where(rng.random((b, t)) < 0.3, -np.inf, 0).astype(np.float32)
        mask[-1] = -np.inf
        code = SlotCode(apply("add", arg(0, F32), arg(1, F32)), (Operand(F32, 1),))
        return {"SCORE": (code, ((mask, 0, (t, 0, 0, 1)),))}
    keep = rng.random((h, s, t)) < 0.6
    keep[0, s // 2] = False
    code = SlotCode(apply("where", arg(1, keep.dtype), arg(0, F32), const(-np.inf, F32)), (Operand(keep.dtype, 1),))
    return {"SCORE": (code, ((keep, 0, (0, s * t, t, 1)),))}


def _inputs(sizes: Mapping[str, int], dtype: np.dtype, spread: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {name: rng.uniform(-spread, spread, size).astype(dtype) for name, size in sizes.items()}


def _case(
    kernel: str, name: str, b: int, h: int, hk: int, s: int, t: int, d: int, dv: int, dtype: np.dtype = F32, *,
    bshd: bool = False, causal: bool = False, mask: str = "", gap: int = 0, spread: float = 1.0, whole: bool = False,
) -> Case:  # fmt: skip
    values = scalars(b, h, hk, s, t, d, dv, bshd=bshd, causal=causal)
    slots = _slot(mask, b, h, s, t) if mask else {}
    sizes = {"q": b * h * s * d, "k": b * hk * t * d, "v": b * hk * t * dv, "o": b * h * s * dv, "g": b * h * s * dv}
    if gap:  # each input starts inside its buffer
        for key in sizes:
            values[f"{key}_off"] = gap
            sizes[key] += gap
    arrays = _inputs(sizes, dtype, spread)
    q_shape, k_shape, v_shape = (
        (b, n, heads, size) if bshd else (b, heads, n, size) for heads, n, size in ((h, s, d), (hk, t, d), (hk, t, dv))
    )
    if kernel == "q":
        values = {key: value for key, value in values.items() if not key.startswith(("dk_", "dv_"))}
        return Case(name, arrays, values, {"dq": (q_shape, "T"), "rows": ((b, h, 3, s), "f32")}, {"T": dtype}, slots)
    values["whole"] = int(whole)
    outputs = {"dk": (k_shape, "T"), "dv": (v_shape, "T")}
    case = Case(name, arrays, values, outputs, {"T": dtype}, slots)
    arrays["dq"] = np.zeros(q_shape, dtype)
    if whole:
        arrays["rows"] = np.zeros(1, np.float32)
        return case
    wide = {key: arrays[key].astype(np.float64) for key in "qk"}
    q, k = (
        strided(wide[key], gap, (b, heads, n, d), [*(int(values[f"{key}_{part}"]) for part in ("b", "h", step)), 1])
        for key, heads, n, step in (("q", h, s, "s"), ("k", hk, t, "t"))
    )
    _, top, inverse = weights(q, k, values, case)
    delta = np.random.default_rng(5).uniform(-1, 1, top.shape)
    arrays["rows"] = np.stack([top, inverse, delta], axis=2).astype(np.float32)
    return case


def q_cases() -> Iterator[Case]:
    """Of the pass over the queries."""
    yield _case("q", "one", 1, 1, 1, 1, 1, 1, 1)
    yield _case("q", "odd", 1, 6, 2, 37, 67, 20, 13, spread=3, gap=3)
    yield _case("q", "even", 2, 2, 2, 64, 64, 64, 64, bshd=True)
    yield _case("q", "causal", 1, 2, 1, 50, 131, 32, 32, causal=True)
    yield _case("q", "causal_no_keys", 1, 1, 1, 40, 8, 16, 16, causal=True)
    yield _case("q", "no_keys", 1, 1, 1, 2, 0, 16, 16)
    yield _case("q", "keys_mask", 2, 2, 2, 33, 40, 16, 24, mask="keys")
    yield _case("q", "bool_mask", 1, 2, 1, 17, 70, 24, 24, mask="bool", causal=True)
    yield _case("q", "wide", 1, 1, 1, 5, 37, 72, 100)
    yield _case("q", "widest", 1, 1, 1, 4, 35, 136, 130, causal=True)
    for dtype, name in zip(HALVES, ("half", "bfloat")):
        yield _case("q", name, 1, 2, 2, 40, 50, 64, 40, dtype, bshd=True)


def kv_cases() -> Iterator[Case]:
    """Of the pass over the keys."""
    yield _case("kv", "one", 1, 1, 1, 1, 1, 1, 1)
    yield _case("kv", "odd", 1, 6, 2, 37, 67, 20, 13, spread=3, gap=3)
    yield _case("kv", "even", 2, 2, 2, 64, 64, 64, 64, bshd=True)
    yield _case("kv", "causal", 1, 2, 1, 50, 131, 32, 32, causal=True)
    yield _case("kv", "causal_no_keys", 1, 1, 1, 40, 8, 16, 16, causal=True)
    yield _case("kv", "keys_mask", 2, 2, 2, 33, 40, 16, 24, mask="keys")
    yield _case("kv", "bool_mask", 1, 2, 1, 17, 70, 24, 24, mask="bool", causal=True)
    yield _case("kv", "wide", 1, 1, 1, 5, 70, 72, 100)
    yield _case("kv", "widest", 1, 1, 1, 4, 35, 136, 130, causal=True)
    yield _case("kv", "whole_odd", 1, 6, 2, 55, 43, 20, 37, whole=True, gap=3, spread=3)
    yield _case("kv", "whole_even", 2, 2, 1, 101, 128, 64, 64, whole=True, bshd=True)
    yield _case("kv", "whole_causal", 1, 2, 1, 110, 110, 32, 32, whole=True, causal=True)
    yield _case("kv", "whole_causal_no_keys", 1, 1, 1, 70, 8, 16, 16, whole=True, causal=True)
    yield _case("kv", "whole_causal_cache", 1, 2, 2, 13, 61, 16, 16, whole=True, causal=True)
    yield _case("kv", "whole_keys_mask", 2, 2, 2, 33, 40, 16, 24, whole=True, mask="keys")
    yield _case("kv", "whole_bool_mask", 1, 2, 1, 17, 70, 24, 24, whole=True, mask="bool", causal=True)
    yield _case("kv", "whole_wide", 1, 1, 1, 35, 50, 128, 100, whole=True)
    yield _case("kv", "whole_widest", 1, 1, 1, 14, 50, 256, 200, whole=True)
    for dtype, name in zip(HALVES, ("half", "bfloat")):
        yield _case("kv", name, 1, 2, 2, 40, 50, 64, 40, dtype, bshd=True)
        yield _case("kv", f"whole_{name}", 1, 2, 2, 40, 50, 64, 40, dtype, bshd=True, whole=True)
