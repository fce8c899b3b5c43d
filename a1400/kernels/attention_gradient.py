"""The gradient of attention without the score matrix (Dao, *FlashAttention-2*, 2023, algorithm 2), in two kernels.

With scores ``s = SCORE(scale q k^T)``, weights ``p = softmax(s)``, ``o = p v``, and ``g`` what reaches ``o``::

    dv = p^T g        ds = p * (g v^T - delta)        dq = scale ds k        dk = scale ds^T q

where ``delta`` is the sum of ``g * o`` along a row.  Scores are made again from q and k, and every sum has one owner,
which adds in a fixed order: ``attention_gradient_q`` gives dq, each block of queries walking over the keys; and
``attention_gradient_kv`` dk and dv, each block of keys walking over the queries of all heads that share it.  dq needs
no sum of a row in advance, as it is rescaled like the output of the forward pass (online softmax); so the pass over the
queries also leaves ``rows`` for the pass over the keys, and the forward pass need not keep anything.

=====================  =====================================================================================
parameter              meaning
=====================  =====================================================================================
q k v o g dq dk dv: T  as in ``attention``: last dimension contiguous; g like o, dq like q, dk like k, dv like v
rows: f32              [B, H, 3, S]: a row's largest score (0 where it sees no key), 1 / its sum of exponentials
                       (0 where it sees no key), its delta
whole                  1: a work-item has all keys of its head; it finds the rows itself and writes dq, and
                       ``rows`` and the other kernel are not needed.  0: dq is not touched
other scalars, SCORE   as in ``attention``
=====================  =====================================================================================

Together they multiply seven matrices, with ``whole`` five.  SCORE is a mask: its derivative is 1, or p is 0.  A row
that sees no key gives and gets zeros.  Accumulation is in float; D and DV up to 256.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.attention_cuda import head_range
from a1400.kernels.attention_gradient_cases import F32, HALVES, kv_cases, q_cases, weights
from a1400.kernels.spec import Case, KernelSpec, Param, Scalars, Slot, Tunable, Tunables, Variant, params, register
from a1400.kernels.strided import ceil_div, strided

CPU_QUERIES = 12  # rows of the CPU's micro-kernel
#: keys that a work-item on a CPU holds with their gradients, by the largest head size: panels stay in its cache
CPU_KEYS = {64: 512, 128: 256, 256: 128}
HEADS = tuple(CPU_KEYS)


def cpu_keys(s: Scalars) -> int:
    """Keys of a work-item on a CPU for these head sizes."""
    return CPU_KEYS[next(limit for limit in HEADS if max(s["D"], s["DV"]) <= limit)]


def is_whole(info: DeviceInfo, s: Scalars) -> bool:
    """Whether ``info`` should compute all gradients in one launch of ``attention_gradient_kv``.

    That saves two products of seven, but work-items are no more than heads of keys: unless many compute units would
    then have nothing to do.
    """
    if info.kind != "cpu" or info.backend != "opencl" or max(s["D"], s["DV"]) > HEADS[-1]:
        return False
    items = int(s["B"] * s["HK"])
    busy = items / (ceil_div(items, info.compute_units) * info.compute_units) if items else 0.0
    return 0 < s["T_len"] <= cpu_keys(s) and busy > 0.65


def q_splits(s: Scalars, cores: int) -> int:
    """Work-items for each head of queries: so many that all cores have some, and no more (each packs the keys)."""
    blocks = ceil_div(s["S"], CPU_QUERIES)
    return max(1, min(blocks, ceil_div(3 * cores, max(1, int(s["B"] * s["H"])))))


def kv_splits(s: Scalars, cores: int, most: int) -> int:
    """Work-items for each head of keys, of at most ``most`` keys each."""
    if s["whole"]:
        return 1
    wanted = min(ceil_div(s["T_len"], 32), ceil_div(3 * cores, max(1, int(s["B"] * s["HK"]))))
    return max(1, wanted, ceil_div(s["T_len"], most))


def _cpu_q(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (q_splits(s, t["CORES"]) * int(s["H"] * s["B"]), 1, 1), (1, 1, 1)


def _cpu_kv(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (kv_splits(s, t["CORES"], t["KEY_BLOCK"]) * int(s["HK"] * s["B"]), 1, 1), (1, 1, 1)


def _gpu_q(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["S"], 2 * t["SIDE"]) * int(s["H"] * s["B"]), 1, 1), (t["SIDE"] ** 2, 1, 1)


def _gpu_kv(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
    return (ceil_div(s["T_len"], 2 * t["SIDE"]) * int(s["HK"] * s["B"]), 1, 1), (t["SIDE"] ** 2, 1, 1)


def _local_bytes(tiles: int) -> Callable[[Mapping[str, np.dtype], Tunables], int]:
    def count(types: Mapping[str, np.dtype], t: Tunables) -> int:
        return 4 * (tiles * 2 * t["SIDE"] * (2 * t["SIDE"] + 1) + t["SIDE"] * t["MAX_D"])

    return count


def _variants(name: str) -> tuple[Variant, ...]:
    queries = name == "q"
    source = f"cpu/attention_gradient_{name}"
    cores = Tunable("CORES", 8, (2, 4, 8, 16, 32, 64), "cores that work-items are made for", False, False)
    side = Tunable("SIDE", 16, (8, 16), "threads along each side of a tile of scores")
    result = []
    for low, limit in zip((0, *HEADS), HEADS):
        fits, keys = head_range(low, limit), CPU_KEYS[limit]
        head = Tunable("MAX_D", limit, (limit,), "largest head size; sizes the sums")
        block = Tunable("KEY_BLOCK", keys, (keys,), "keys whose panels are held at once")
        result += [
            Variant(f"cpu_d{limit}", "cpu", _cpu_q if queries else _cpu_kv, (head, block, cores), ("opencl",), source,
                    16, supports=lambda s, fits=fits, keys=keys:  # type: ignore[misc]
                    fits(s) and (not s.get("whole") or s["T_len"] <= keys),
                    test_tunables=({"KEY_BLOCK": 64, "CORES": 2},) if queries and limit == 64 else ()),
            Variant(f"gpu_d{limit}", "gpu", _gpu_q if queries else _gpu_kv, (head, side), min_blocks=1,
                    supports=lambda s, fits=fits: fits(s) and not s.get("whole"),  # type: ignore[misc]
                    local_bytes=_local_bytes(3 if queries else 2),
                    test_tunables=({"SIDE": 8},) if limit == 64 else ()),
        ]  # fmt: skip
    return tuple(result)


def _places(names: str) -> str:
    steps = {n: "t" if n.endswith(("k", "v")) else "s" for n in names.split()}
    return "\n".join(f"int {n}_{part}" for n, step in steps.items() for part in ("off", "b", "h", step))


def _params(buffers: str, scalars: str, places: str) -> tuple[Param, ...]:
    numbers = [f"int {n}" for n in f"B H HK S T_len D DV causal causal_offset {scalars}".split()]
    return params("\n".join([buffers, *numbers, "float scale", _places(places)]))


def _view(arrays: Mapping[str, np.ndarray], s: Scalars, name: str) -> np.ndarray:
    """[B, heads, length, size] of a buffer, by its scalars."""
    n = {key: int(s[key]) for key in s}
    keys = name.endswith(("k", "v"))
    size = n["DV" if name in ("v", "o", "g", "dv") else "D"]
    shape = (n["B"], n["HK" if keys else "H"], n["T_len" if keys else "S"], size)
    steps = (n[f"{name}_b"], n[f"{name}_h"], n[f"{name}_{'t' if keys else 's'}"], 1)
    return strided(arrays[name], n[f"{name}_off"], shape, steps)


def _q_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Materialised, in float64."""
    q, k, v, o, g = (_view(arrays, s, name) for name in "qkvog")
    p, top, inverse = weights(q, k, s, case)
    delta = (g * o).sum(axis=3)
    heads = np.arange(q.shape[1]) * k.shape[1] // q.shape[1]
    ds = p * (g @ v[:, heads].swapaxes(-1, -2) - delta[..., None])
    result = {"dq": np.zeros(case.outputs["dq"][0], np.float64), "rows": np.stack([top, inverse, delta], axis=2)}
    _view(result, s, "dq")[...] = s["scale"] * (ds @ k[:, heads])
    return result


def _kv_reference(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
    """Materialised, in float64; from the rows given, or with ``whole`` from its own."""
    q, k, v, o, g = (_view(arrays, s, name) for name in "qkvog")
    p, top, inverse = weights(q, k, s, case)
    delta = (g * o).sum(axis=3)
    results = {"dq": arrays["dq"].copy()}
    b, h, hk = q.shape[0], q.shape[1], k.shape[1]
    if not s["whole"]:
        given = arrays["rows"].reshape(b, h, 3, q.shape[2])
        with np.errstate(all="ignore"):
            lost = np.where(inverse > 0, np.exp(top - given[:, :, 0]) * given[:, :, 1] / inverse, 0)
        p, delta = p * lost[..., None], given[:, :, 2]
    heads = np.arange(h) * hk // h
    ds = p * (g @ v[:, heads].swapaxes(-1, -2) - delta[..., None])
    if s["whole"]:
        _view(results, s, "dq")[...] = s["scale"] * (ds @ k[:, heads])
    for name, parts in (("dk", s["scale"] * (ds.swapaxes(-1, -2) @ q)), ("dv", p.swapaxes(-1, -2) @ g)):
        results[name] = np.zeros(case.outputs[name][0], np.float64)
        _view(results, s, name)[...] = parts.reshape(b, hk, h // hk, *parts.shape[2:]).sum(axis=2)
    return results


def _pairs(s: Scalars) -> float:
    """Scores that are not hidden by their place."""
    return (0.5 if s["causal"] else 1.0) * s["B"] * s["H"] * s["S"] * s["T_len"]


def _declare(name: str, doc: str, signature: tuple[Param, ...], **rest: object) -> KernelSpec:
    return register(
        KernelSpec(
            name=f"attention_gradient_{name}", doc=doc, params=signature, variants=_variants(name),
            types={"T": (F32, *HALVES)},
            slots=(Slot("SCORE", ("b", "h", "s", "t"), "f32", "the scaled score; masks and biases", _pairs),),
            exact=False, tolerance={"f32": (1e-5, 1e-5), "f16": (2e-3, 2e-3), "bf16": (1.6e-2, 1.6e-2)},
            bytes=lambda s: 8.0 * s["B"] * (s["H"] * s["S"] + s["HK"] * s["T_len"]) * (s["D"] + s["DV"]),
            **rest,  # type: ignore[arg-type]
        )
    )  # fmt: skip


Q_SPEC = _declare(
    "q", "the gradient of attention for its queries, and what the pass over the keys needs of each row",
    _params("in q: T\nin k: T\nin v: T\nin o: T\nin g: T\nout dq: T\nout rows: f32", "", "q k v o g dq"),
    reference=_q_reference, cases=q_cases, flops=lambda s: 2.0 * _pairs(s) * (2 * s["D"] + s["DV"]),
)  # fmt: skip
KV_SPEC = _declare(
    "kv", "the gradients of attention for its keys and values; for its queries too where all keys are one block",
    _params(
        "in q: T\nin k: T\nin v: T\nin o: T\nin g: T\nin rows: f32\ninout dq: T\nout dk: T\nout dv: T", "whole",
        "q k v o g dq dk dv",
    ),
    reference=_kv_reference, cases=kv_cases,
    flops=lambda s: 2.0 * _pairs(s) * ((3 if s["whole"] else 2) * s["D"] + 2 * s["DV"]),
)  # fmt: skip
SPECS = (Q_SPEC, KV_SPEC)


def choose_tunables(spec: KernelSpec, info: DeviceInfo, dtype: np.dtype, scalars: Scalars) -> Mapping[str, int]:
    """Tunables for a call on ``info``: variants that share work out among cores are told how many there are."""
    chosen = spec.choose(info, {"T": dtype}, scalars)
    return {t.name: max(1, info.compute_units) for t in chosen.tunables if t.name == "CORES"}
