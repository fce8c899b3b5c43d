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
slot SCORE(v;b,h,s,t)  applied to the scaled score: additive or boolean masks, biases, soft-capping
=====================  =====================================================================================

A row whose keys are all masked by ``-inf`` (or that
sees no key) gives 0, as PyTorch does; finite mask values such as -1e9 need no care.  NaN scores give NaN.
Accumulation is in float.  D and DV up to 256; beyond that the engine composes GEMM and softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.attention_cases import BF16, F16, F32, cases
from a1400.kernels.attention_cuda import DECODE_QUERIES, cuda_variants, head_range
from a1400.kernels.check import slot_reference
from a1400.kernels.spec import Case, KernelSpec, Scalars, Slot, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div, strided

CPU_QUERIES = 12  # queries that the CPU variant computes at once
GPU_QUERIES = 32


def cpu_splits(s: Scalars, cores: int) -> int:
    """Work-items for each head, so that all cores finish together: the least estimated time, in fused multiply-adds.

    Each item packs the head's keys and values for itself, so more items make more work.
    """
    heads, blocks = int(s["B"] * s["H"]), ceil_div(s["S"], CPU_QUERIES)
    size = s["D"] + s["DV"]
    block = CPU_QUERIES * s["T_len"] * (size / 16 + 1) * (0.5 if s["causal"] else 1.0)
    pack = s["T_len"] * size * 0.3 + 500
    best, chosen = float("inf"), 1
    for splits in sorted({ceil_div(blocks, ceil_div(blocks, n)) for n in range(1, min(blocks, 4 * cores) + 1)}):
        item = ceil_div(blocks, splits) * block + pack
        # cores are disturbed, and the last to finish decides
        time = item * (ceil_div(heads * splits, cores) + (0.1 if cores > 1 else 0))
        if time < best:
            best, chosen = time, splits
    return chosen


def _cpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (cpu_splits(s, t["CORES"]) * int(s["H"]) * int(s["B"]), 1, 1), (1, 1, 1)


def _cpu_decode(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (int(s["S"] * s["H"] * s["B"]), 1, 1), (1, 1, 1)


def _gpu(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["S"], GPU_QUERIES) * int(s["H"]) * int(s["B"]), 1, 1), (256, 1, 1)


def _fits(limit: int) -> Callable[[Scalars], bool]:
    """Head sizes of the variant for ``limit``: above the next smaller variant's."""
    return head_range(0 if limit == 64 else limit // 2, limit)


def _decode(limit: int) -> Callable[[Scalars], bool]:
    return lambda s: s["D"] <= limit and s["DV"] <= limit and s["S"] <= DECODE_QUERIES


def _head(limit: int) -> Tunable:
    return Tunable("MAX_D", limit, (limit,), "largest head size; sizes the scratch of a block of queries")


def _variants() -> tuple[Variant, ...]:
    cores = Tunable("CORES", 8, (2, 4, 8, 16, 32, 64), "cores that work-items are made for", False, False)
    result = [
        Variant("cpu_decode", "cpu", _cpu_decode, (_head(256),), ("opencl",), "cpu/attention_decode", 16,
                supports=_decode(256)),
    ]  # fmt: skip
    for limit, block in ((64, 256), (128, 128), (256, 64)):
        keys = Tunable("KEY_BLOCK", block, (64, 128, 256, 512), "keys whose panels and scores are held at once")
        result.append(
            Variant(f"cpu_d{limit}", "cpu", _cpu, (_head(limit), keys, cores), ("opencl",), "cpu/attention", 16,
                    supports=_fits(limit), test_tunables=({"KEY_BLOCK": 64, "CORES": 2},))
        )  # fmt: skip
    for limit in (64, 128, 256):
        result.append(
            Variant(f"gpu_d{limit}", "gpu", _gpu, (_head(limit),), supports=_fits(limit),
                    local_bytes=lambda types, t: 4 * (3 * 32 * 33 + 16 * t["MAX_D"]), min_blocks=1)
        )  # fmt: skip
    return (*cuda_variants(), *result)


def reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Materialised softmax in float64; fully masked rows give 0."""
    n = {name: int(s[name]) for name in s}
    b, h, hk, length, keys = n["B"], n["H"], n["HK"], n["S"], n["T_len"]
    q = strided(arrays["q"], n["q_off"], (b, h, length, n["D"]), (n["q_b"], n["q_h"], n["q_s"], 1))
    k = strided(arrays["k"], n["k_off"], (b, hk, keys, n["D"]), (n["k_b"], n["k_h"], n["k_t"], 1))
    v = strided(arrays["v"], n["v_off"], (b, hk, keys, n["DV"]), (n["v_b"], n["v_h"], n["v_t"], 1))
    heads = np.arange(h) * hk // h
    score = s["scale"] * (q @ k[:, heads].swapaxes(-1, -2))  # [b, h, s, t], the slot's coordinates
    score = slot_reference(case, "SCORE", score.astype(np.float32)).astype(np.float64)
    if n["causal"]:
        t_index, s_index = np.arange(keys)[None, :], np.arange(length)[:, None]
        score = np.where(t_index <= s_index + n["causal_offset"], score, -np.inf)
    with np.errstate(all="ignore"):
        top = score.max(axis=3, keepdims=True, initial=-np.inf)
        p = np.exp(score - np.where(np.isneginf(top), 0, top))
        total = p.sum(axis=3, keepdims=True)
        p = np.where(total == 0, 0, p / total)
    shape, _ = case.outputs["o"]
    result = np.zeros(int(np.prod(shape)), np.float64)
    out = strided(result, n["o_off"], (b, h, length, n["DV"]), (n["o_b"], n["o_h"], n["o_s"], 1))
    out[...] = p @ v[:, heads]
    return {"o": result.reshape(shape)}


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
        slots=(Slot("SCORE", ("b", "h", "s", "t"), "f32", "the scaled score; masks and biases",
                    lambda s: (0.5 if s["causal"] else 1.0) * s["B"] * s["H"] * s["S"] * s["T_len"]),),
        exact=False,
        tolerance={"f32": (1e-5, 1e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)},
        flops=lambda s: (1.0 if s["causal"] else 2.0) * s["B"] * s["H"] * s["S"] * s["T_len"] * (s["D"] + s["DV"]),
        bytes=lambda s: 4.0 * s["B"] * (s["H"] * s["S"] + s["HK"] * s["T_len"]) * (s["D"] + s["DV"]),
    )
)


def choose_tunables(info: DeviceInfo, dtype: np.dtype, scalars: Scalars) -> Mapping[str, int]:
    """Tunables for a call on ``info``: variants that share work out among cores are told how many there are."""
    chosen = SPEC.choose(info, {"T": dtype}, scalars)
    return {t.name: max(1, info.compute_units) for t in chosen.tunables if t.name == "CORES"}
