"""Scaled dot-product attention without the score matrix (online softmax).

``o[b,h,s,:] = softmax_t(SCORE(scale * q[b,h,s,:] . k[b,hk,t,:])) @ v[b,hk,:,:]`` with ``hk = h * HK // H``.

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
q, k, v: T             inputs; last dimension contiguous
o: T                   output; last dimension contiguous
B H HK S T_len D DV    batch, query heads, key/value heads, queries, keys, head size of q/k, head size of v/o
causal causal_offset   1: query ``s`` sees keys ``t <= s + causal_offset`` (``T_len - S`` behind a cache)
scale                  factor on q.k
q_off q_b q_h q_s      offset and strides of q, in elements; so for k (k_t), v (v_t), o (o_s)
slot SCORE(v;b,h,t,s)  applied to the scaled score: additive or boolean masks, biases, soft-capping
=====================  =====================================================================================

Note the order of the slot's coordinates: *query last*, because the CPU variant holds queries in vector lanes (a mask
that does not depend on the query is read once for all of them).  A row whose keys are all masked by ``-inf`` (or that
sees no key) gives 0, as PyTorch does; finite mask values such as -1e9 need no care.  NaN scores give NaN.
Accumulation is in float.  D and DV up to 256; beyond that the engine composes GEMM and softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.backends.base import Grid
from a1400.kernels.check import slot_reference
from a1400.kernels.expr import apply, arg, const
from a1400.kernels.spec import (
    Case,
    Data,
    KernelSpec,
    Operand,
    Scalars,
    Slot,
    SlotCode,
    Tunable,
    Tunables,
    Variant,
    params,
    register,
)
from a1400.kernels.strided import ceil_div, dense, strided

F32, F16, BF16 = np.dtype(np.float32), np.dtype(np.float16), dtypes.bfloat16
DECODE_QUERIES = 4  # at most so many queries per head make a decode step
CPU_LANES = 32
GPU_QUERIES = 32


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["S"], CPU_LANES) * int(s["H"]) * int(s["B"]), 1, 1), (1, 1, 1)


def _cpu_decode(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["S"] * s["H"] * s["B"]), 1, 1), (1, 1, 1)


def _gpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["S"], GPU_QUERIES) * int(s["H"]) * int(s["B"]), 1, 1), (256, 1, 1)


def _fits(limit: int) -> Callable[[Scalars], bool]:
    """Head sizes of the variant for ``limit``: above the next smaller variant's."""
    low = 0 if limit == 64 else limit // 2
    return lambda s: low < max(s["D"], s["DV"]) <= limit


def _decode(limit: int) -> Callable[[Scalars], bool]:
    return lambda s: s["D"] <= limit and s["DV"] <= limit and s["S"] <= DECODE_QUERIES


def _head(limit: int) -> Tunable:
    return Tunable("MAX_D", limit, (limit,), "largest head size; sizes the scratch of a block of queries")


def _variants() -> tuple[Variant, ...]:
    keys = Tunable("KEY_BLOCK", 64, (32, 64, 128), "keys whose scores are held at once")
    result = [
        Variant("cpu_decode", "cpu", _cpu_decode, (_head(256),), ("opencl",), "cpu/attention_decode", 16,
                supports=_decode(256)),
    ]  # fmt: skip
    for limit in (64, 128, 256):
        result.append(
            Variant(f"cpu_d{limit}", "cpu", _cpu, (_head(limit), keys), ("opencl",), "cpu/attention", 16,
                    supports=_fits(limit), test_tunables=({"KEY_BLOCK": 32},))
        )  # fmt: skip
    for limit in (64, 128, 256):
        result.append(
            Variant(f"gpu_d{limit}", "gpu", _gpu, (_head(limit),), supports=_fits(limit),
                    local_bytes=lambda types, t: 4 * (3 * 32 * 33 + 16 * t["MAX_D"]))
        )  # fmt: skip
    return tuple(result)


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Materialised softmax in float64; fully masked rows give 0."""
    n = {name: int(s[name]) for name in s}
    b, h, hk, length, keys = n["B"], n["H"], n["HK"], n["S"], n["T_len"]
    q = strided(arrays["q"], n["q_off"], (b, h, length, n["D"]), (n["q_b"], n["q_h"], n["q_s"], 1))
    k = strided(arrays["k"], n["k_off"], (b, hk, keys, n["D"]), (n["k_b"], n["k_h"], n["k_t"], 1))
    v = strided(arrays["v"], n["v_off"], (b, hk, keys, n["DV"]), (n["v_b"], n["v_h"], n["v_t"], 1))
    heads = np.arange(h) * hk // h
    score = s["scale"] * (k[:, heads] @ q.swapaxes(-1, -2))  # [b, h, t, s], the slot's coordinates
    score = slot_reference(case, "SCORE", score.astype(np.float32)).astype(np.float64)
    if n["causal"]:
        t_index, s_index = np.arange(keys)[:, None], np.arange(length)[None, :]
        score = np.where(t_index <= s_index + n["causal_offset"], score, -np.inf)
    with np.errstate(all="ignore"):
        top = score.max(axis=2, keepdims=True, initial=-np.inf)
        p = np.exp(score - np.where(np.isneginf(top), 0, top))
        total = p.sum(axis=2, keepdims=True)
        p = np.where(total == 0, 0, p / total)
    shape, _ = case.outputs["o"]
    result = np.zeros(int(np.prod(shape)), np.float64)
    out = strided(result, n["o_off"], (b, h, length, n["DV"]), (n["o_b"], n["o_h"], n["o_s"], 1))
    out[...] = p.swapaxes(-1, -2) @ v[:, heads]
    return {"o": result.reshape(shape)}


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
    slots: dict[str, Any] = {}
    rng = np.random.default_rng(7)
    x = arg(0, F32)
    if mask == "keys":  # the same for all queries, fully masked for the last batch entry
        m = np.where(rng.random((b, t)) < 0.3, -np.inf, 0).astype(np.float32)
        m[-1] = -np.inf
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 0),))
        slots["SCORE"] = (code, ((m, 0, (t, 0, 1, 0)),))
    elif mask == "full":
        m = rng.normal(size=(h, s, t)).astype(np.float32)
        code = SlotCode(apply("add", x, arg(1, F32)), (Operand(F32, 2),))
        slots["SCORE"] = (code, ((m, 0, (0, s * t, 1, t)),))
    elif mask == "finite":
        code = SlotCode(apply("add", x, const(-1e9, F32)))
        slots["SCORE"] = (code, ())
    elif mask == "bool":
        keep = rng.random((s, t)) < 0.6
        code = SlotCode(apply("where", arg(1, np.dtype(np.bool_)), x, const(-np.inf, F32)), (Operand(keep.dtype, 2),))
        slots["SCORE"] = (code, ((keep, 0, (0, 0, 1, t)),))
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
    yield _case("wide", 1, 1, 1, 35, 33, 128, 100)
    yield _case("widest", 1, 1, 1, 33, 34, 256, 250)
    yield _case("no_keys", 1, 1, 1, 2, 0, 16, 16)
    yield _case("half", 1, 2, 2, 40, 50, 64, 64, F16)
    yield _case("half_decode", 1, 2, 2, 1, 50, 40, 40, F16)
    yield _case("bfloat", 1, 2, 2, 40, 50, 64, 64, BF16)


SPEC = register(
    KernelSpec(
        name="attention",
        doc="softmax(scale q k^T + mask) v per head with online softmax; grouped heads, causal, any mask by slot",
        params=params("""
            in q: T
            in k: T
            in v: T
            out o: T
            int B
            int H
            int HK
            int S
            int T_len
            int D
            int DV
            int causal
            int causal_offset
            float scale
            int q_off
            int q_b
            int q_h
            int q_s
            int k_off
            int k_b
            int k_h
            int k_t
            int v_off
            int v_b
            int v_h
            int v_t
            int o_off
            int o_b
            int o_h
            int o_s
        """),
        variants=_variants(),
        reference=reference,
        cases=cases,
        types={"T": (F32, F16, BF16)},
        slots=(Slot("SCORE", ("b", "h", "t", "s"), "f32", "the scaled score; masks and biases; queries last"),),
        exact=False,
        tolerance={"f32": (1e-5, 1e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)},
        flops=lambda s: (1.0 if s["causal"] else 2.0) * s["B"] * s["H"] * s["S"] * s["T_len"] * (s["D"] + s["DV"]),
        bytes=lambda s: 4.0 * s["B"] * (s["H"] * s["S"] + s["HK"] * s["T_len"]) * (s["D"] + s["DV"]),
    )
)
