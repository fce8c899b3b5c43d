"""From a tensor and its reduced axes to launches of the reduction specs.

:meth:`ReduceView.of` says how a strided tensor looks to the kernels, :func:`plan_reduce` decides between one launch and
two (parts first, then the parts) and lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from a1400 import dtypes
from a1400.backends.base import DeviceInfo
from a1400.kernels.geometry import ceil_div
from a1400.kernels.reduction import KINDS

_PER_CORE = 4  # pieces for each core of a CPU that keep all evenly busy
_WORTH = 65536  # elements below which one launch is quicker than two
_PART = 4096  # elements of the smallest part worth making


def _merge(axes: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """``axes`` as few (size, stride) pairs as possible, outermost first."""
    merged: list[tuple[int, int]] = []
    for a in axes:
        size, stride = shape[a], strides[a]
        if size == 1:
            continue
        if merged and merged[-1][1] == stride * size:
            merged[-1] = (merged[-1][0] * size, stride)
        else:
            merged.append((size, stride))
    return merged


@dataclass(frozen=True)
class ReduceView:
    """A strided tensor as ``x[o0, o1, r0, r1, i]``.

    ``rows``: there is no i and the ``reduce_rows_*`` family applies.  ``o_axes``, ``r_axes``, ``i_axes`` are the
    tensor's axes that make up each flat coordinate, in order.
    """

    rows: bool
    sizes: tuple[int, int, int, int, int]
    strides: tuple[int, int, int, int, int]
    offset: int
    shape: tuple[int, ...]
    o_axes: tuple[int, ...]
    r_axes: tuple[int, ...]
    i_axes: tuple[int, ...]

    @staticmethod
    def of(
        shape: Sequence[int], strides: Sequence[int], axes: Sequence[int], offset: int = 0
    ) -> ReduceView | None:
        """The view that suits the memory order; None where only a contiguous copy of the tensor would have one.

        ``strides`` and ``offset`` are in elements, ``axes`` non-negative.  No dimension may be 0 except reduced ones.
        """
        reduced = [a for a in range(len(shape)) if a in set(axes)]
        kept = [a for a in range(len(shape)) if a not in set(axes)]
        r = _merge(reduced, shape, strides)
        if len(r) > 2:
            return None
        rows_k = _merge(kept, shape, strides)
        split = _inner_axes(kept, shape, strides)
        columns_k, columns_i = _merge(kept[:split], shape, strides), _merge(kept[split:], shape, strides)
        rows_fit, columns_fit = len(rows_k) <= 2, len(columns_k) <= 2 and len(columns_i) <= 1
        along_r = bool(r) and r[-1][1] == 1
        side_by_side = bool(columns_i) and columns_i[0][1] == 1
        if rows_fit and (along_r or not side_by_side or not columns_fit):
            rows, k, i = True, rows_k, (1, 0)
        elif columns_fit:
            rows, k, i = False, columns_k, columns_i[0] if columns_i else (1, 0)
        else:
            return None
        o = [(1, 0)] * (2 - len(k)) + k
        r = [(1, 0)] * (2 - len(r)) + r
        if prod(shape[a] for a in reduced) == 0:
            r = [(0, 0), (1, 0)]
        parts = [*o, *r, i]
        return ReduceView(
            rows, tuple(p[0] for p in parts), tuple(p[1] for p in parts), offset, tuple(shape),  # type: ignore[arg-type]
            tuple(kept if rows else kept[:split]), tuple(reduced), () if rows else tuple(kept[split:]),
        )  # fmt: skip

    def operand_strides(self, strides: Sequence[int], *, epilogue: bool = False) -> tuple[int, ...] | None:
        """Strides along the slot's coordinates of an operand with ``strides`` along the tensor's axes.

        For an epilogue the strides along reduced axes are ignored.  None: the operand does not fit (its axes do not
        merge into flat coordinates) and must be applied outside.
        """
        groups = [self.o_axes, *([] if epilogue else [self.r_axes]), *([] if self.rows else [self.i_axes])]
        result = []
        for group in groups:
            merged = _merge(group, self.shape, strides)
            if len(merged) > 1:
                return None
            result.append(merged[0][1] if merged else 0)
        return tuple(result)

    @property
    def outputs(self) -> int:
        """How many results there are."""
        return self.sizes[0] * self.sizes[1] * self.sizes[4]

    @property
    def reduced(self) -> int:
        """How many elements make one result."""
        return self.sizes[2] * self.sizes[3]

    def scalars(self, parts: int = 1, count: int | None = None) -> dict[str, int | float]:
        """The spec's scalars for a launch that cuts the reduction into about ``parts``; S says into how many."""
        o0, o1, r0, r1, i = self.sizes
        chunk = max(1, ceil_div(self.reduced, parts))
        if parts > 1:
            chunk = ceil_div(chunk, 64) * 64
        names = ("x_o0", "x_o1", "x_r0", "x_r1", "x_i")
        s: dict[str, int | float] = {
            "O0": o0, "O1": o1, "R0": r0, "R1": r1, "I": i,
            "S": max(1, ceil_div(self.reduced, chunk)), "chunk": chunk,
            "count": self.reduced if count is None else count,
            "x_off": self.offset, **dict(zip(names, self.strides)),
        }  # fmt: skip
        if self.rows:
            del s["I"], s["x_i"]
        return s


def _inner_axes(kept: Sequence[int], shape: Sequence[int], strides: Sequence[int]) -> int:
    """Where in ``kept`` the longest tail starts that merges into one run of addresses."""
    split = len(kept)
    while split > 0 and len(_merge(kept[split - 1 :], shape, strides)) <= 1:
        split -= 1
    return split


@dataclass(frozen=True)
class ReduceStage:
    """One launch of ``spec``: ``first`` reads the tensor (and takes the prologue), ``last`` writes the result.

    ``types``: dtype variables; ``elements``: how many ``OUT`` values the stage writes.
    """

    spec: str
    types: Mapping[str, np.dtype]
    scalars: Mapping[str, int | float]
    first: bool
    last: bool
    elements: int


def plan_reduce(
    info: DeviceInfo, kind: str, view: ReduceView, types: Mapping[str, np.dtype]
) -> tuple[ReduceStage, ...]:
    """The launches that reduce ``view`` on ``info``; ``types`` are T, ACC and OUT of the whole reduction."""
    family = "reduce_rows_" if view.rows else "reduce_"
    parts = _parts(info, view)
    whole = view.scalars(parts)
    if whole["S"] == 1:
        return (ReduceStage(family + kind, dict(types), whole, True, True, view.outputs),)
    first, last = (name or kind for name in KINDS[kind].split)
    middle = dtypes.from_short(dtypes.info(types["ACC"]).register_short)
    made, o, i = int(whole["S"]), view.sizes[0] * view.sizes[1], view.sizes[4]
    between = ReduceView(
        view.rows, (1, o, 1, made, i), (0, made * i, 0, i, 0 if view.rows else 1), 0, (o, made, i), (0,), (1,),
        () if view.rows else (2,),
    )  # fmt: skip
    return (
        ReduceStage(
            family + first, {"T": types["T"], "ACC": types["ACC"], "OUT": middle}, whole, True, False,
            made * view.outputs,
        ),
        ReduceStage(
            family + last, {"T": middle, "ACC": middle, "OUT": types["OUT"]}, between.scalars(count=view.reduced),
            False, True, view.outputs,
        ),
    )  # fmt: skip


def _parts(info: DeviceInfo, view: ReduceView) -> int:
    """Into how many parts to cut a reduction so that the device is busy."""
    elements = view.outputs * view.reduced
    if elements < _WORTH:
        return 1
    if info.kind == "cpu":
        units, cores = view.sizes[0] * view.sizes[1] * ceil_div(view.sizes[4], 64), max(1, info.compute_units)
        even = units >= _PER_CORE * cores or units % cores == 0  # another launch is worth more than a little unevenness
        wanted = 1 if even else ceil_div(_PER_CORE * cores, units)
        columns = min(view.sizes[4], 64)
        return max(1, min(wanted, view.reduced * columns // _PART))
    teams = max(1, info.compute_units) * 64
    wanted = ceil_div(teams, view.outputs) if view.outputs < teams // 4 else 1
    return max(1, min(wanted, view.reduced // 512, 1024))
