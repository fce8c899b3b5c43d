"""Conformance cases for the tensor-core variants of ``gemm``: both layouts of B, edges, tails, alignment, slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from a1400.kernels.gemm_cases import bias_relu_add, case, scale_rows
from a1400.kernels.spec import Case

_EDGES = ((1, 129, 24), (7, 15, 8), (8, 17, 40), (15, 127, 72), (17, 1, 16), (127, 7, 64), (129, 8, 136))
_ROW_EDGES = ((1, 136, 24), (7, 16, 8), (15, 120, 72), (129, 8, 136))  # rows of B are whole units


def _both(name: str, m: int, n: int, k: int, kind: str, **more: object) -> Iterable[Case]:
    for trans_b, layout in ((True, "columns"), (False, "rows")):
        yield case(f"{kind} {name}, {layout}", m, n, k, packed=False, trans_b=trans_b, types=kind, **more)  # type: ignore[arg-type]


def _typed(kind: str, full: bool) -> Iterable[Case]:
    types = f"{kind},{kind},{kind},f32"
    for m, n, k in _EDGES if full else _EDGES[:1]:
        yield case(f"{types} {m}x{n}x{k}", m, n, k, packed=False, trans_b=True, types=types, slots=None)
    for m, n, k in _ROW_EDGES if full else _ROW_EDGES[:1]:
        yield case(f"{types} {m}x{n}x{k} rows", m, n, k, packed=False, types=types)
    yield from _both("epilogue", 40, 72, 104, types, slots=bias_relu_add((1, 40, 72)), offset=8, c_pad=8)
    yield from _both("batch", 33, 40, 48, types, batch=(2, 3), slots=bias_relu_add((6, 33, 40)))
    yield from _both("floats out", 70, 136, 96, f"{kind},{kind},f32,f32", batch=(1, 2), share_b=True, a_pad=8, offset=8)
    if not full:
        return
    yield from _both("deep", 18, 40, 408, types)  # a ring of tiles goes round more than once
    yield from _both("odd result", 19, 72, 32, types, c_pad=3, offset=16)
    # units that are not whole at a row's end, though every row begins at one
    yield from _both("cut rows", 21, 67, 43, types, a_pad=5, b_pad=5, slots=bias_relu_add((1, 21, 67)))
    yield case(f"{types} cut rows of the result", 18, 67, 40, packed=False, trans_b=True, types=types, c_pad=5)
    yield case(f"{types} cut rows of B", 21, 67, 43, packed=False, types=types, a_pad=5, b_pad=13)
    yield from _both("odd depth", 197, 64, 77, types, slots=bias_relu_add((1, 197, 64)))
    yield from _both("even strides", 24, 50, 102, types, offset=2)
    yield from _both("prologue", 20, 72, 88, types, slots=scale_rows((1, 20, 88)))
    both = {**scale_rows((1, 20, 37)), **bias_relu_add((1, 20, 65))}
    yield from _both("both slots", 20, 65, 37, types, batch=(1, 1), slots=both)
    yield case(f"{types} columns of A", 40, 50, 30, packed=False, trans_a=True, a_pad=2, types=types)
    yield case(f"{types} empty depth", 5, 40, 0, packed=False, types=types, slots=bias_relu_add((1, 5, 40)))
    yield case(f"{types} nan", 13, 40, 24, packed=False, types=types, special=float("nan"))
    shared_a = case(f"{types} shared A", 20, 40, 24, batch=(2, 2), packed=False, trans_b=True, types=types)
    yield replace(shared_a, scalars={**shared_a.scalars, "a_b0": 0})
    heads = case(f"{types} heads", 20, 24, 16, batch=(2, 3), packed=False, trans_b=True, types=types)
    # [batch, row, head, element]: rows of the heads alternate
    moved = {"a_b0": 20 * 48, "a_b1": 16, "a_m": 48, "b_b0": 24 * 48, "b_b1": 16, "b_n": 48}
    yield replace(heads, scalars={**heads.scalars, **moved})
    yield case(f"{types} many tiles", 300, 272, 40, packed=False, trans_b=True, types=types)


def tensor_cases() -> Iterable[Case]:
    """Cases of ``gemm`` beside those of ``gemm_cases``."""
    yield from _typed("f16", True)
    yield from _typed("bf16", False)
    for m, n, k in ((1, 33, 8), (17, 65, 20), (129, 40, 68)):
        yield case(f"f32 {m}x{n}x{k}", m, n, k, packed=False, trans_b=True)
    for m, n, k in ((1, 36, 8), (17, 64, 20)):
        yield case(f"f32 {m}x{n}x{k} rows", m, n, k, packed=False)
    yield from _both("aligned epilogue", 40, 72, 52, "f32", slots=bias_relu_add((2, 40, 72)), batch=(1, 2), offset=4)
    yield from _both("half out", 24, 40, 36, "f32,f32,f16,f32", c_pad=8)
