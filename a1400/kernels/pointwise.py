"""The pointwise kernels: fused expressions over an index space, any strides, any operand types.

``pointwise_R`` (R = 1, 2, 4, 6) writes ``y[y_off + sum(c_d * y_s_d)] = BODY(c)`` for every coordinate ``c`` of
``n0 x .. x n{R-1}``.  BODY's expression reads its operands at ``c`` through their own offsets and strides (0 for
a broadcast dimension, negative for a flipped one), so broadcasting, slicing, flipping, expanding and casting
are all this kernel.  BODY's operand 0 is a dummy; real operands start at 1.

``pointwise_RxK`` (R = 1, 4, 6; K = 2, 3, 4) has K results over the same operands, ``y``, ``y1`` ... of dtypes ``T``,
``T1`` ..., each with its own offset and strides.  A result may lie where an operand does that is read at the same
elements: the new weights and moments of an optimizer's step take the place of the old ones in one launch.
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
RANKS_MANY = (1, 4, 6)
#: results that one launch may have
MAX_RESULTS = 4
_SMALLEST_ITEM = 4096  # elements: below this a work-item costs more to start than to run
_LARGEST_ITEM = 65536
_ITEMS_PER_CORE = 8


def rank_for(rank: int, ranks: Sequence[int] = RANKS) -> int:
    """The smallest of ``ranks`` that holds ``rank`` dimensions; raises ``ValueError`` above six."""
    for candidate in ranks:
        if rank <= candidate:
            return candidate
    raise ValueError(f"an index space of {rank} dimensions is more than the pointwise kernel has")


def collapse(
    sizes: Sequence[int], strides: Sequence[Sequence[int]], ranks: Sequence[int] = RANKS
) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Fewest dimensions that describe the same walk through memory.

    ``strides`` has one sequence per view (the outputs and every operand), each as long as ``sizes``.
    Dimensions of size 1 go, neighbours that are contiguous in every view merge, and leading dimensions of
    size 1 pad the rank to one of ``ranks``.  Raises ``ValueError`` if more than six remain.
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
    pad = rank_for(len(kept), ranks) - len(kept)
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


def output_names(results: int) -> list[tuple[str, str]]:
    """(buffer, dtype variable) of each result."""
    return [("y", "T"), *((f"y{i}", f"T{i}") for i in range(1, results))]


def scalars(
    info: DeviceInfo, sizes: Sequence[int], outputs: Sequence[tuple[int, Sequence[int]]]
) -> dict[str, int]:
    """Every scalar of a pointwise kernel for collapsed ``sizes`` and the offset and strides of each output."""
    values = {f"n{d}": n for d, n in enumerate(sizes)}
    for (y, _), (offset, strides) in zip(output_names(len(outputs)), outputs, strict=True):
        values[f"{y}_off"] = offset
        values.update({f"{y}_s{d}": s for d, s in enumerate(strides)})
    values.update(split(info, sizes))
    return values


def needs_fp64(code: SlotCode, *out_dtypes: np.dtype) -> bool:
    """True if the kernel would compute with or move doubles."""
    double = np.dtype(np.float64)
    nodes = topological(code.exprs)
    return double in (*out_dtypes, *(o.dtype for o in code.operands), *(n.dtype for n in nodes))


def choose_pointwise_variant(info: DeviceInfo, code: SlotCode, *out_dtypes: np.dtype, rank: int = 1) -> Variant:
    """The variant of the kernel of ``rank`` that suits ``info``: explicit vectors on OpenCL CPUs, threads elsewhere."""
    spec = POINTWISE[rank, len(out_dtypes)]
    widest = np.dtype(np.float64) if needs_fp64(code, *out_dtypes) else np.dtype(out_dtypes[0])
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
    return info.fp64 or np.dtype(np.float64) not in types.values()


def _spec(rank: int, results: int = 1) -> KernelSpec:
    dims, outputs = range(rank), output_names(results)
    fixed = Tunable("RANK", rank, (rank,), "dimensions of the index space")
    cpu = Variant(
        "cpu", "cpu", _cpu_geometry(rank), (fixed,), backends=("opencl",),
        source="cpu/pointwise", vector_width=16, requires=_fp64_if_needed,
    )  # fmt: skip
    gpu = Variant(
        "gpu", "gpu", _gpu_geometry(rank),
        (
            fixed,
            Tunable("GROUP", 256, (64, 128, 256), "threads of a group"),
            Tunable("ITEMS", 1, (1, 2, 4), "elements per thread"),
        ),
        source="pointwise", requires=_fp64_if_needed,
        test_tunables=({"GROUP": 64, "ITEMS": 4},) if (rank, results) in ((2, 1), (1, 2)) else (),
    )  # fmt: skip
    lines = [*(f"out {y}: {kind}" for y, kind in outputs), *(f"int n{d}" for d in dims)]
    for y, _ in outputs:
        lines += [f"int {y}_off", *(f"int {y}_s{d}" for d in dims)]
    return KernelSpec(
        name=spec_name(rank, results),
        doc=f"{results} fused elementwise expression(s) over {rank} dimension(s), any strides.",
        params=params("\n".join([*lines, "int rows_per_item", "int inner_chunk"])),
        variants=(cpu, gpu),
        reference=reference(rank),
        cases=cases(rank, results),
        types=dict.fromkeys((kind for _, kind in outputs), dtypes.EVERY),
        slots=(Slot("BODY", tuple(f"c{d}" for d in dims), "f32", "the expression; its operand 0 is a dummy",
                    count=lambda s: float(prod(_sizes(s, rank))), more=tuple(kind for _, kind in outputs[1:])),),
        bytes=lambda s: 4.0 * results * prod(_sizes(s, rank)),
        defines={"RESULTS": str(results)},
        in_place=results > 1,
    )


def spec_name(rank: int, results: int = 1) -> str:
    """Name of the kernel of ``rank`` with so many results."""
    return f"pointwise_{rank}x{results}" if results > 1 else f"pointwise_{rank}"


#: by (rank, results)
POINTWISE: dict[tuple[int, int], KernelSpec] = {
    **{(rank, 1): register(_spec(rank)) for rank in RANKS},
    **{(rank, k): register(_spec(rank, k)) for k in range(2, MAX_RESULTS + 1) for rank in RANKS_MANY},
}
