"""Conformance cases of the matrix products."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.kernels import expr
from a1400.kernels.gemm_pack import pack_b, packed_size
from a1400.kernels.spec import Case, Data, Operand, SlotCode

F32 = np.dtype(np.float32)
Slots = Mapping[str, tuple[SlotCode, tuple[tuple[np.ndarray, int, tuple[int, ...]], ...]]]


def bias_relu_add(shape: tuple[int, int, int]) -> Slots:
    """EPILOGUE ``max(v + bias[n], 0) + residual[b, m, n]`` on a result of ``shape`` (batch, rows, columns)."""
    b, m, n = shape
    v, bias, residual = (expr.arg(i, F32) for i in range(3))
    value = expr.apply("add", expr.apply("max", expr.apply("add", v, bias), expr.const(0.0, F32)), residual)
    rng = np.random.default_rng(7)
    operands = (
        (rng.uniform(-1, 1, n).astype(F32), 0, (0, 0, 1)),
        (rng.uniform(-1, 1, (b, m, n)).astype(F32), 0, (m * n, n, 1)),
    )
    return {"EPILOGUE": (SlotCode(value, (Operand(F32, 1), Operand(F32, 1))), operands)}


def scale_rows(shape: tuple[int, int, int]) -> Slots:
    """PROLOGUE ``v * scale[k] + shift[m]`` on A of ``shape`` (batch, rows, depth)."""
    _, m, k = shape
    v, scale, shift = (expr.arg(i, F32) for i in range(3))
    value = expr.apply("add", expr.apply("mul", v, scale), shift)
    rng = np.random.default_rng(8)
    operands = (
        (rng.uniform(-1, 1, k).astype(F32), 0, (0, 0, 1)),
        (rng.uniform(-1, 1, m).astype(F32), 0, (0, 1, 0)),
    )
    return {"PROLOGUE": (SlotCode(value, (Operand(F32, 1), Operand(F32, 0))), operands)}


def type_variables(types: str) -> dict[str, np.dtype]:
    """dtype variables from ``"TA,TB,TC,ACC"``, or from one name for all, summed in its register type."""
    names = types.split(",")
    if len(names) == 1:
        names = [types, types, types, dtypes.info(dtypes.from_short(types)).register_short]
    return {variable: dtypes.from_short(name) for variable, name in zip(("TA", "TB", "TC", "ACC"), names)}


def case(
    name: str, m: int, n: int, k: int, *, batch: tuple[int, int] = (1, 1), packed: bool, types: str = "f32",
    share_b: bool = False, a_pad: int = 0, b_pad: int = 0, c_pad: int = 0, offset: int = 0, trans_a: bool = False,
    trans_b: bool = False, slots: Slots | None = None, special: float | None = None,
) -> Case:  # fmt: skip
    """One product; ``types`` is ``"f32"`` for all or ``"TA,TB,TC,ACC"``; pads lengthen the rows in memory."""
    kinds = type_variables(types)
    nb = batch[0] * batch[1]
    a_inner = (m if trans_a else k) + a_pad
    a_size = a_inner * (k if trans_a else m)
    scalars: dict[str, Any] = {
        "M": m, "N": n, "K": k, "nb0": batch[0], "nb1": batch[1],
        "a_off": offset, "a_b0": batch[1] * a_size, "a_b1": a_size,
        "a_m": 1 if trans_a else a_inner, "a_k": a_inner if trans_a else 1,
    }  # fmt: skip
    b_inner = (k if trans_b else n) + b_pad
    b_size = packed_size(k, n) if packed else b_inner * (n if trans_b else k)
    b_nb = 1 if share_b else nb
    scalars |= {"b_off": offset, "b_b0": 0 if share_b else batch[1] * b_size, "b_b1": 0 if share_b else b_size}
    if not packed:
        scalars |= {"b_k": 1 if trans_b else b_inner, "b_n": b_inner if trans_b else 1}
    c_m = n + c_pad
    scalars |= {"c_off": offset, "c_b0": batch[1] * m * c_m, "c_b1": m * c_m, "c_m": c_m}
    arrays: dict[str, Any] = {"a": Data((nb * a_size + offset,), "TA"), "b": Data((b_nb * b_size + offset,), "TB")}
    if special is not None:
        a = np.ones(nb * a_size + offset, kinds["TA"])
        a[offset + a_size // 2] = special
        arrays["a"] = a
    if packed and n % 32:  # what the padding holds must not matter less than what it is: zeros
        rng = np.random.default_rng(9)
        b = pack_b(rng.integers(-3, 4, (b_nb, k, n)).astype(kinds["TB"])).reshape(-1)
        arrays["b"] = np.concatenate([np.zeros(offset, kinds["TB"]), b])
    return Case(name, arrays, scalars, {"c": ((nb * m * c_m + offset,), "TC")}, kinds, slots or {})


def _common(packed: bool) -> Iterable[Case]:
    yield case("one", 1, 1, 1, packed=packed)
    yield case("row times matrix", 1, 100, 300, packed=packed)
    yield case("column", 50, 1, 40, packed=packed)
    yield case("outer", 13, 40, 1, packed=packed)
    yield case("empty depth", 5, 40, 0, packed=packed, slots=bias_relu_add((1, 5, 40)))
    for m in (2, 3, 5, 7, 11):
        yield case(f"{m} rows", m, 64, 48, packed=packed)
    yield case("tails", 29, 77, 53, packed=packed, a_pad=3, c_pad=5, offset=7)
    yield case("half panel", 25, 48, 33, packed=packed)
    yield case("tiles", 128, 128, 64, packed=packed)
    yield case("deep", 17, 70, 900, packed=packed, slots=bias_relu_add((1, 17, 70)))
    yield case("wide", 14, 700, 40, packed=packed)
    yield case("passes", 100, 300, 450, packed=packed, slots=bias_relu_add((1, 100, 300)))
    yield case("batch", 15, 20, 18, batch=(2, 3), packed=packed, slots=bias_relu_add((6, 15, 20)))
    yield case("few rows", 3, 70, 75, packed=packed, a_pad=3, c_pad=5, offset=7, slots=bias_relu_add((1, 3, 70)))
    yield case("few rows in batches", 2, 40, 18, batch=(2, 3), packed=packed, slots=bias_relu_add((6, 2, 40)))
    yield case("shared b", 15, 40, 18, batch=(2, 3), packed=packed, share_b=True, slots=scale_rows((6, 15, 18)))
    yield case("prologue", 40, 33, 450, packed=packed, slots=scale_rows((1, 40, 450)))
    yield case("both slots", 13, 65, 35, packed=packed, slots={**scale_rows((1, 13, 35)), **bias_relu_add((1, 13, 65))})
    yield case("nan", 13, 33, 20, packed=packed, special=float("nan"))
    yield case("infinity", 13, 33, 20, packed=packed, special=float("inf"))
    for kind in ("f16", "bf16"):
        yield case(kind, 27, 70, 50, packed=packed, types=kind)
        mixed, slots = f"{kind},{kind},f32,f32", bias_relu_add((1, 13, 64))
        yield case(f"{kind} slots", 13, 64, 40, packed=packed, types=mixed, slots=slots)
    yield case("bf16 weights", 13, 40, 64, packed=packed, types="f32,bf16,f32,f32")


def _columns(packed: bool) -> Iterable[Case]:
    """A read by columns, as in a weight's gradient."""
    yield case("transposed a", 40, 50, 30, packed=packed, trans_a=True, a_pad=2)
    yield case("transposed a, few rows", 3, 40, 37, packed=packed, trans_a=True, c_pad=5, offset=3)
    yield case("transposed a, deep", 34, 72, 400, packed=packed, trans_a=True, slots=bias_relu_add((1, 34, 72)))
    yield case(
        "transposed a, prologue", 27, 40, 20, batch=(2, 1), packed=packed, trans_a=True, slots=scale_rows((2, 27, 20))
    )
    yield case("transposed f16", 29, 40, 21, packed=packed, trans_a=True, types="f16,f16,f32,f32")


def requantize(shape: tuple[int, int, int]) -> Slots:
    """EPILOGUE on int32 sums of ``shape``: a bias, a scale for each column, rounded, moved and saturated to u8."""
    _, _, n = shape
    i32, u8 = np.dtype(np.int32), np.dtype(np.uint8)
    v, bias, scale = expr.arg(0, i32), expr.arg(1, i32), expr.arg(2, F32)
    value = expr.apply("mul", expr.cast(expr.apply("add", v, bias), F32), scale)
    value = expr.apply("add", expr.apply("round", value), expr.const(3.0, F32))
    value = expr.apply("min", expr.apply("max", value, expr.const(0.0, F32)), expr.const(255.0, F32))
    rng = np.random.default_rng(7)
    operands = (
        (rng.integers(-90, 90, n).astype(i32), 0, (0, 0, 1)),
        ((2.0 ** rng.integers(-4, 3, n)).astype(F32), 0, (0, 0, 1)),
    )
    return {"EPILOGUE": (SlotCode(expr.cast(value, u8), (Operand(i32, 1), Operand(F32, 1))), operands)}


def _bytes() -> Iterable[Case]:
    """8-bit integers, summed in int32: depths odd and beyond a block, rows and columns left over."""
    yield case("u8 by i8", 21, 70, 41, packed=True, types="u8,i8,i32,i32", a_pad=3, c_pad=5, offset=7)
    deep = case("i8 by u8, deep", 8, 40, 1057, packed=True, types="i8,u8,i32,i32")
    rng = np.random.default_rng(11)  # the largest products that there are
    largest = {"a": rng.choice(np.array([-128, 127], np.int8), (8, 1057))}
    largest["b"] = rng.choice(np.array([254, 255], np.uint8), 2 * 1057 * 32)
    yield replace(deep, arrays=largest, exact=False)
    yield case("u8 by u8, one row", 1, 100, 300, packed=True, types="u8,u8,i32,i32")
    slots = requantize((2, 15, 53))
    yield case("requantized", 15, 53, 36, packed=True, types="u8,i8,u8,i32", batch=(1, 2), share_b=True, slots=slots)


def packed_cases() -> Iterable[Case]:
    """Cases of ``gemm_packed``."""
    yield from _common(True)
    yield from _columns(True)
    # shared out by rows and by panels, neither of which come out even; whole narrow panels
    yield case("shares", 62, 300, 96, packed=True, slots=bias_relu_add((1, 62, 300)), c_pad=3)
    yield from _bytes()
    for columns in (40, 48, 56):
        yield case(f"{columns} columns", 26, columns, 20, packed=True, slots=bias_relu_add((1, 26, columns)))


def strided_cases() -> Iterable[Case]:
    """Cases of ``gemm``."""
    yield from _common(False)
    yield from _columns(False)
    # rows of B in place: padded, and what is left over of the rows and of the panels
    for columns in (8, 16, 24, 56):
        yield case(f"{columns} columns", 28, columns, 23, packed=False, b_pad=columns % 5, offset=3)
    yield case("in place", 26, 296, 300, packed=False, batch=(1, 2), slots=bias_relu_add((2, 26, 296)), c_pad=3)
    yield case("transposed b", 40, 50, 30, packed=False, trans_b=True)
    yield case("both transposed", 70, 90, 33, batch=(1, 2), packed=False, trans_a=True, trans_b=True)
    for kind in ("f64", "i32", "i64", "u32", "u64"):
        yield case(kind, 21, 35, 19, packed=False, types=kind)
    yield case("i8", 21, 70, 40, packed=False, types="i8,i8,i32,i32")
    yield case("u8 by i8", 21, 70, 40, packed=False, types="u8,i8,i32,i32")
