"""The pointwise kernel: one fused expression over an index space, any strides, any operand types.

``pointwise_R`` (R = 1, 2, 4, 6) writes ``y[y_off + sum(c_d * y_s_d)] = BODY(c)`` for every coordinate ``c`` of
``n0 x .. x n{R-1}``.  BODY's expression reads its operands at ``c`` through their own offsets and strides (0 for
a broadcast dimension, negative for a flipped one), so broadcasting, slicing, flipping, expanding and casting
are all this kernel.  BODY's operand 0 is a dummy; real operands start at 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo, Grid
from a1400.kernels.expr import topological
from a1400.kernels.pointwise_cases import cases, reference
from a1400.kernels.spec import KernelSpec, Scalars, Slot, SlotCode, Tunable, Tunables, Variant, params, register

RANKS = (1, 2, 4, 6)
_SMALLEST_ITEM = 4096  # elements: below this a work-item costs more to start than to run
_LARGEST_ITEM = 65536
_ITEMS_PER_CORE = 8


def rank_for(rank: int) -> int:
    """The smallest declared rank that holds ``rank`` dimensions; raises ``ValueError`` above six."""
    for candidate in RANKS:
        if rank <= candidate:
            return candidate
    raise ValueError(f"an index space of {rank} dimensions is more than the pointwise kernel has")


def collapse(sizes: Sequence[int], strides: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Fewest dimensions that describe the same walk through memory.

    ``strides`` has one sequence per view (the output and every operand), each as long as ``sizes``.
    Dimensions of size 1 go, neighbours that are contiguous in every view merge, and leading dimensions of
    size 1 pad the rank to 1, 2, 4 or 6.  Raises ``ValueError`` if more than six remain.
    """
    kept: list[int] = []
    views: list[list[int]] = [[] for _ in strides]
    for d, size in enumerate(sizes):
        if size == 1:
            continue
        if kept and all(view[-1] == s[d] * size for view, s in zip(views, strides)):
            kept[-1] *= size
            for view, s in zip(views, strides):
                view[-1] = s[d]
        else:
            kept.append(size)
            for view, s in zip(views, strides):
                view.append(s[d])
    # a stride of a lone element means nothing: 1, so that a scalar takes the contiguous path
    if not kept:
        kept, views = [1], [[1] for _ in strides]
    pad = rank_for(len(kept)) - len(kept)
    return (1,) * pad + tuple(kept), [(0,) * pad + tuple(view) for view in views]


def split(info: DeviceInfo, sizes: Sequence[int]) -> dict[str, int]:
    """``rows_per_item`` and ``inner_chunk`` for ``sizes`` on ``info``: enough items for every core, none too small."""
    inner, rows = max(sizes[-1], 1), max(prod(sizes[:-1]), 1)
    item = inner * rows // (_ITEMS_PER_CORE * max(info.compute_units, 1))
    item = min(max(item, _SMALLEST_ITEM), _LARGEST_ITEM)
    if inner > item:
        pieces = -(-inner // item)
        return {"rows_per_item": 1, "inner_chunk": -(-inner // (pieces * 16)) * 16}
    pieces = -(-rows // max(item // inner, 1))
    return {"rows_per_item": -(-rows // pieces), "inner_chunk": inner}


def scalars(info: DeviceInfo, sizes: Sequence[int], offset: int, strides: Sequence[int]) -> dict[str, int]:
    """Every scalar of ``pointwise_R`` for collapsed ``sizes`` and the output's ``offset`` and ``strides``."""
    values = {f"n{d}": n for d, n in enumerate(sizes)}
    values["y_off"] = offset
    values.update({f"y_s{d}": s for d, s in enumerate(strides)})
    values.update(split(info, sizes))
    return values


def needs_fp64(code: SlotCode, out_dtype: np.dtype) -> bool:
    """True if the kernel would compute with or move doubles."""
    double = np.dtype(np.float64)
    nodes = topological([code.expr])
    return out_dtype == double or any(o.dtype == double for o in code.operands) or any(n.dtype == double for n in nodes)


def choose_pointwise_variant(info: DeviceInfo, code: SlotCode, out_dtype: np.dtype, rank: int = 1) -> Variant:
    """The variant of ``pointwise_<rank>`` that suits ``info``: explicit vectors on OpenCL CPUs, threads elsewhere."""
    spec = POINTWISE[rank]
    widest = np.dtype(np.float64) if needs_fp64(code, out_dtype) else np.dtype(out_dtype)
    return spec.choose(info, {"T": widest}, {p.name: 1 for p in spec.params if p.kind == "scalar"})


def _sizes(s: Scalars, rank: int) -> list[int]:
    return [int(s[f"n{d}"]) for d in range(rank)]


def _cpu_geometry(rank: int) -> Callable[[Scalars, Tunables], tuple[Grid, Grid]]:
    def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        sizes = _sizes(s, rank)
        chunks = -(-sizes[-1] // max(int(s["inner_chunk"]), 1))
        return (chunks, -(-prod(sizes[:-1]) // max(int(s["rows_per_item"]), 1)), 1), (1, 1, 1)

    return geometry


def _gpu_geometry(rank: int) -> Callable[[Scalars, Tunables], tuple[Grid, Grid]]:
    def geometry(s: Scalars, t: Tunables) -> tuple[Grid, Grid]:
        return (-(-prod(_sizes(s, rank)) // (t["GROUP"] * t["ITEMS"])), 1, 1), (t["GROUP"], 1, 1)

    return geometry


def _fp64_if_needed(info: DeviceInfo, types: Mapping[str, np.dtype]) -> bool:
    return info.fp64 or types["T"] != np.float64


def _spec(rank: int) -> KernelSpec:
    dims = range(rank)
    fixed = Tunable("RANK", rank, (rank,), "dimensions of the index space")
    cpu = Variant(
        "cpu", "cpu", _cpu_geometry(rank), (fixed,), backends=("opencl",), source="cpu/pointwise",
        vector_width=16, requires=_fp64_if_needed,
    )  # fmt: skip
    gpu = Variant(
        "gpu", "gpu", _gpu_geometry(rank),
        (
            fixed,
            Tunable("GROUP", 256, (64, 128, 256), "threads of a group"),
            Tunable("ITEMS", 1, (1, 2, 4), "elements per thread"),
        ),
        source="pointwise", requires=_fp64_if_needed, test_tunables=({"GROUP": 64, "ITEMS": 4},) if rank == 2 else (),
    )  # fmt: skip
    lines = ["out y: T", *(f"int n{d}" for d in dims), "int y_off", *(f"int y_s{d}" for d in dims)]
    return KernelSpec(
        name=f"pointwise_{rank}",
        doc=f"One fused elementwise expression over {rank} dimension(s), any strides.",
        params=params("\n".join([*lines, "int rows_per_item", "int inner_chunk"])),
        variants=(cpu, gpu),
        reference=reference(rank),
        cases=cases(rank),
        types={"T": dtypes.ALL},
        slots=(Slot("BODY", tuple(f"c{d}" for d in dims), "f32", "the expression; its operand 0 is a dummy",
                    count=lambda s: float(prod(_sizes(s, rank)))),),
        bytes=lambda s: 4.0 * prod(_sizes(s, rank)),
    )


POINTWISE: dict[int, KernelSpec] = {rank: register(_spec(rank)) for rank in RANKS}
