"""Reference and conformance cases of the pointwise kernel.

One program costs a compilation on every device, so the cases that walk through operations put a whole class
of them into one expression: row ``i`` of the index space selects operation ``i`` (``_selected``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import prod

import numpy as np

from a1400 import dtypes
from a1400.kernels.expr import Expr, apply, arg, cast, const, evaluate_all
from a1400.kernels.low_bits_cases import STORED, codes, numbers, rounded
from a1400.kernels.pointwise_ops import OPS
from a1400.kernels.spec import Case, Operand, Scalars, SlotCode, positions

#: array (None: positions), offset, strides
View = tuple[np.ndarray | None, int, tuple[int, ...]]
F32, BOOL, I32, U32 = (np.dtype(t) for t in (np.float32, np.bool_, np.int32, np.uint32))
_POISON = 0xC3  # what the conformance check fills outputs with: places between the strides must keep it

# operations by what they accept
ARITHMETIC = ("add", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "mod", "fmod")
ROUNDING = ("floor", "ceil", "round", "trunc")
UNIT = ("asin", "acos", "atanh")  # operands in (-1, 1)
POSITIVE = ("sqrt", "rsqrt", "log", "acosh", "reciprocal")  # operands above 1 will do for all
ANY_FLOAT = ("exp", "tanh", "sigmoid", "erf", "softplus", "sin", "cos", "tan", "atan", "sinh", "cosh", "asinh")
COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
LOGIC = ("and", "or", "xor")
BITS = ("bit_and", "bit_or", "bit_xor", "bit_not")
SHIFTS = ("shl", "shr")


def reference(rank: int) -> Callable[[Mapping[str, np.ndarray], Scalars, Case], dict[str, np.ndarray]]:
    """The spec's reference: each output buffer with its expression's values at the output's positions."""

    def run(arrays: Mapping[str, np.ndarray], s: Scalars, case: Case) -> dict[str, np.ndarray]:
        sizes = [int(s[f"n{d}"]) for d in range(rank)]
        code, operands = case.slots["BODY"]
        views = [np.zeros(sizes, np.float32), *(view(a, o, st, sizes) for a, o, st in operands)]
        result = {}
        for (name, ((count,), kind)), values in zip(case.outputs.items(), evaluate_all(code.exprs, views), strict=True):
            dtype = case.types[kind]
            y = np.frombuffer(bytearray([_POISON]) * (count * dtype.itemsize), dtype).copy()
            index = positions(int(s[f"{name}_off"]), [int(s[f"{name}_s{d}"]) for d in range(rank)], sizes)
            y[index] = np.broadcast_to(values, sizes)
            result[name] = y
        return result

    return run


def view(array: np.ndarray | None, offset: int, strides: Sequence[int], sizes: Sequence[int]) -> np.ndarray:
    """The elements that a strided operand reads; ``IndexError`` if they leave ``array``."""
    index = positions(offset, strides, sizes)
    if array is None:
        return index.astype(np.uint32)
    if index.size and index.min() < 0:
        raise IndexError("a strided operand starts before its buffer")
    return array.reshape(-1)[index]


def make_case(
    name: str, sizes: Sequence[int], expr: Expr, operands: Sequence[View], *,
    out: tuple[int, int, Sequence[int]] | None = None, exact: bool = True, chunk: tuple[int, int] | None = None,
) -> Case:  # fmt: skip
    """A case over ``sizes``; ``out`` is (elements, offset, strides), contiguous by default; ``chunk`` the CPU split."""
    rank = len(sizes)
    contiguous = tuple(prod(sizes[d + 1 :]) for d in range(rank))
    count, offset, strides = out or (prod(sizes), 0, contiguous)
    rows_per_item, inner_chunk = chunk or (max(1, prod(sizes[:-1]) // 3), max(16, sizes[-1] // 32 * 16))
    values = {f"n{d}": n for d, n in enumerate(sizes)} | {"y_off": offset}
    values |= {f"y_s{d}": s for d, s in enumerate(strides)}
    values |= {"rows_per_item": rows_per_item, "inner_chunk": inner_chunk}
    code = SlotCode(expr, _operands(operands))
    return Case(name, {}, values, {"y": ((count,), "T")}, {"T": expr.dtype}, {"BODY": (code, tuple(operands))}, exact)


def _operands(views: Sequence[View]) -> tuple[Operand, ...]:
    return tuple(
        Operand(U32 if a is None else a.dtype, st[-1] if st[-1] in (0, 1) else 2, a is None) for a, _, st in views
    )


def _several(rank: int, results: int) -> Callable[[], Iterable[Case]]:
    """The cases of ``pointwise_<rank>x<results>``: results of different dtypes, and at different places."""

    def make() -> Iterator[Case]:
        x, y = arg(1, F32), arg(2, F32)
        total = apply("add", apply("mul", x, const(2, F32)), y)
        half, whole = np.dtype(np.float16), np.dtype(np.int64)
        third = whole if rank == 1 else half
        exprs = (total, apply("sub", total, x), cast(apply("floor", y), third), apply("lt", x, y))[:results]
        sizes = {1: (83,), 4: (2, 3, 5, 17), 6: (2, 1, 3, 2, 2, 18)}[rank]
        dense = tuple(prod(sizes[d + 1 :]) for d in range(rank))
        row = tuple(int(d == rank - 1) for d in range(rank))
        count = prod(sizes)
        operands: list[View] = [(_values((count,), F32), 0, dense), (_values((sizes[-1],), F32, seed=1), 0, row)]
        spread = tuple(3 * s for s in dense)
        back = tuple(-s for s in dense)
        places = [(count, 0, dense), (3 * count + 4, 2, spread), (count + 9, 5, dense), (count, count - 1, back)]
        code = SlotCode(exprs[0], _operands(operands), exprs[1:])
        scalars = {f"n{d}": n for d, n in enumerate(sizes)}
        scalars |= {"rows_per_item": max(1, prod(sizes[:-1]) // 3), "inner_chunk": 32}
        outputs, types = {}, {}
        for i, (expr, (elements, offset, strides)) in enumerate(zip(exprs, places)):
            name, kind = ("y", "T") if i == 0 else (f"y{i}", f"T{i}")
            outputs[name], types[kind] = ((elements,), kind), expr.dtype
            scalars |= {f"{name}_off": offset, **{f"{name}_s{d}": s for d, s in enumerate(strides)}}
        yield Case(f"{results} results", {}, scalars, outputs, types, {"BODY": (code, tuple(operands))})

    return make


def cases(rank: int, results: int) -> Callable[[], Iterable[Case]]:
    """The cases of the kernel; with one result, ranks 1 and 2 carry the dtype and operation sweeps."""
    return {1: _rank1, 2: _rank2, 4: _rank4, 6: _rank6}[rank] if results == 1 else _several(rank, results)


def _values(shape: Sequence[int], dtype: np.dtype, low: float = -3, high: float = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed + prod(shape))
    if dtypes.is_float(dtype):
        return rng.uniform(low, high, tuple(shape)).astype(dtype)
    if dtype == BOOL or np.issubdtype(dtype, np.unsignedinteger):
        low = max(low, 0)
    return rng.integers(int(low), 2 if dtype == BOOL else int(high), tuple(shape)).astype(dtype)


def _rank1() -> Iterator[Case]:
    x, y = arg(1, F32), arg(2, F32)
    total = apply("add", apply("mul", x, const(2, F32)), y)
    for n in (1, 15, 16, 17, 67, 1000):
        yield make_case(
            f"fma n={n}", (n,), total, [(_values((n,), F32), 0, (1,)), (_values((n,), F32, seed=1), 0, (1,))]
        )
    yield make_case("constant", (37,), const(2.5, F32), [])
    yield make_case("scalar operand", (37,), total, [(_values((37,), F32), 0, (1,)), (_values((1,), F32), 0, (0,))])
    flipped = [(_values((37,), F32), 36, (-1,)), (_values((120,), F32), 2, (3,))]
    yield make_case("flipped and strided", (37,), total, flipped)
    yield make_case("strided output", (37,), total, flipped, out=(37 * 3 + 5, 4, (3,)))
    yield make_case("flipped output", (37,), total, flipped, out=(37, 36, (-1,)))
    yield from _random()
    for dtype in dtypes.ALL:
        operand = arg(1, dtype)
        yield make_case(
            f"copy {dtypes.short(dtype)}", (45,), operand, [(_values((50,), dtype), 3, (1,))], out=(47, 1, (1,))
        )
        yield make_case(f"gather {dtypes.short(dtype)}", (45,), operand, [(_values((135,), dtype), 134, (-3,))])
    yield from _low_bits()


def _low_bits() -> Iterator[Case]:
    """Every code of the types of few bits read, every rounding, and stores of some."""
    every = [arg(k + 1, dtype) for k, dtype in enumerate(dtypes.LOW)]
    selector = arg(len(every) + 1, I32)
    total = cast(every[0], F32)
    for k, operand in enumerate(every[1:], 1):
        total = apply("where", apply("eq", selector, const(k, I32)), cast(operand, F32), total)
    tables = [codes(dtype) for dtype in dtypes.LOW]
    count = sum(table.size for table in tables)
    which = np.repeat(np.arange(len(tables), dtype=np.int32), [table.size for table in tables])
    start = np.cumsum([0, *(table.size for table in tables)])
    operands: list[View] = []
    for table, first in zip(tables, start):
        spread = np.zeros(count, table.dtype)
        spread[first : first + table.size] = table
        operands.append((spread, 0, (1,)))
    yield make_case("low bits read", (count,), total, [*operands, (which, 0, (1,))], exact=False)
    given = numbers()
    for dtype in STORED:
        source = given if dtypes.is_float(dtype) else np.arange(-70, 71, dtype=np.int32)
        views: list[View] = [(source, 0, (1,))]
        stored = cast(arg(1, source.dtype), dtype)
        yield make_case(f"store {dtypes.short(dtype)}", (source.size,), stored, views, exact=False)
    kinds = [dtype for dtype in dtypes.LOW if dtype not in STORED and dtypes.is_float(dtype)]
    which = np.repeat(np.arange(len(kinds), dtype=np.int32), given.size)
    views = [(np.tile(given, len(kinds)), 0, (1,)), (which, 0, (1,))]
    yield make_case("low bits rounded", (which.size,), rounded(kinds), views, exact=False)


#: counter and key, and the block they give: the known answers that Random123 1.09 ships for philox4x32-10
KNOWN = (
    ((0,) * 6, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 6, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)


def _random() -> Iterator[Case]:
    """Words of Philox blocks: of known counters, and of an element's own number, which is read from nowhere."""
    counter = [np.array([given[k] for given, _ in KNOWN] * 7, np.uint32) for k in range(6)]
    words = [apply(f"philox{k}", *(arg(i + 1, U32) for i in range(6))) for k in range(4)]
    chosen = words[3]
    which = apply("bit_and", arg(7, U32), const(3, U32))
    for k in range(3):
        chosen = apply("where", apply("eq", which, const(k, U32)), words[k], chosen)
    columns: list[View] = [(a, 0, (1,)) for a in counter]
    yield make_case("philox", (21,), chosen, [*columns, (None, 0, (1,))], exact=False)
    key: list[View] = [(counter[k][2:3], 0, (0,)) for k in range(1, 6)]
    spread = apply("philox0", *(arg(i + 1, U32) for i in range(6)))
    yield make_case("philox of numbers", (67,), spread, [(None, 1000, (7,)), *key], exact=False)
    flipped = apply("sub", arg(1, U32), arg(2, U32))
    yield make_case("numbers", (67,), flipped, [(None, 66, (-1,)), (None, 5, (0,))], exact=False)


def _rank2() -> Iterator[Case]:
    x, y = arg(1, F32), arg(2, F32)
    total = apply("sub", x, y)
    row, column = _values((37,), F32), _values((5,), F32, seed=1)
    yield make_case("row minus column", (5, 37), total, [(row, 0, (0, 1)), (column, 0, (1, 0))])
    yield make_case("one row per item", (5, 37), total, [(row, 0, (0, 1)), (column, 0, (1, 0))], chunk=(1, 16))
    yield make_case("short rows", (100, 3), total, [(_values((300,), F32), 0, (3, 1)), (_values((3,), F32), 0, (0, 1))])
    matrix = _values((21, 34), F32)
    yield make_case("transposed", (34, 21), total, [(matrix, 0, (1, 34)), (_values((34, 21), F32), 0, (21, 1))])
    yield make_case(
        "transposed output", (21, 34), total, [(matrix, 0, (34, 1)), (row, 0, (0, 1))], out=(714, 0, (1, 21))
    )
    yield make_case("large strides", (3, 20), x, [(_values((3 * 5000,), F32), 7, (5000, 2))], out=(9003, 2, (3000, 1)))
    yield _special_values()
    yield from _logic()
    for dtype in dtypes.ALL:
        yield from _operations(dtype)
    yield from _casts()


def _rank4() -> Iterator[Case]:
    x, y = arg(1, F32), arg(2, F32)
    image = _values((2, 3, 5, 17), F32)
    bias = (_values((3,), F32), 0, (0, 1, 0, 0))
    yield make_case("bias", (2, 3, 5, 17), apply("add", x, y), [(image, 0, (255, 85, 17, 1)), bias])
    yield make_case("channels last", (2, 5, 17, 3), x, [(image, 0, (255, 17, 1, 85))], chunk=(4, 3))
    yield make_case("flip", (2, 3, 5, 17), x, [(image, 84, (255, 85, -17, -1))], chunk=(7, 16))
    yield make_case(
        "concat part", (2, 3, 5, 17), x, [(image, 0, (255, 85, 17, 1))], out=(2 * 4 * 5 * 20, 21, (400, 100, 20, 1))
    )


def _rank6() -> Iterator[Case]:
    x = arg(1, F32)
    blocks = _values((2, 3, 2, 4, 2, 18), F32)
    # depth-to-space is a permutation of a 6-d view
    yield make_case("permutation", (2, 2, 3, 2, 4, 18), x, [(blocks, 0, (864, 144, 288, 18, 36, 1))], chunk=(5, 16))
    yield make_case("reversed", (18, 2, 4, 2, 3, 2), x, [(blocks, 0, (1, 18, 36, 144, 288, 864))], chunk=(50, 2))
    broadcast = (_values((3, 4), F32), 0, (0, 4, 0, 1, 0, 0))
    operands = [(blocks, 0, (864, 288, 144, 36, 18, 1)), broadcast]
    yield make_case("broadcast", (2, 3, 2, 4, 2, 18), apply("mul", x, arg(2, F32)), operands)


def _special_values() -> Case:
    """NaN, infinities and signed zeros through the operations that promise something about them."""
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0], np.float32)
    x, y = arg(1, F32), arg(2, F32)
    nothing = const(0, F32)
    results = [
        apply("max", x, y), apply("min", x, y), apply("sign", x), apply("exp", x), apply("tanh", x), apply("erf", x),
        apply("sigmoid", x), apply("softplus", x), apply("abs", x),
        *(cast(apply(op, x, y), F32) for op in COMPARE), cast(apply("isnan", x), F32), cast(apply("isinf", x), F32),
        apply("where", apply("isnan", x), nothing, x), apply("max", x, nothing),
    ]  # fmt: skip
    left, right = np.repeat(values, 7), np.tile(values, 7)
    return _selected("special values", results, [left, right])


def _logic() -> Iterator[Case]:
    a, b = arg(1, BOOL), arg(2, BOOL)
    x, y = arg(3, F32), arg(4, F32)
    wide = arg(5, np.dtype(np.int64))
    mixed = apply("and", apply("lt", x, y), apply("gt", wide, const(0, np.dtype(np.int64))))
    results = [apply(op, a, b) for op in LOGIC] + [apply("not", a), apply("eq", a, b), apply("ne", a, b)]
    results += [mixed, apply("not", mixed), apply("where", a, b, mixed), apply("where", mixed, b, a)]
    results += [apply("or", cast(x, BOOL), cast(wide, BOOL)), apply("xor", a, const(True, BOOL))]
    operands = [
        _values((40,), BOOL), _values((40,), BOOL, seed=1), np.rint(_values((40,), F32)),
        np.rint(_values((40,), F32, seed=2)), _values((40,), np.dtype(np.int64)),
    ]  # fmt: skip
    yield _selected("logic", results, operands)
    # a 64-bit mask choosing 32-bit values and the reverse
    chosen = apply("where", apply("gt", wide, cast(x, wide.dtype)), x, y)
    yield _selected("mixed masks", [chosen, cast(apply("where", a, wide, cast(y, wide.dtype)), F32)], operands)


def _operations(dtype: np.dtype) -> Iterator[Case]:
    """Every operation that ``dtype`` has, in few programs."""
    short = dtypes.short(dtype)
    if dtype == BOOL:
        return
    x, y, c = arg(1, dtype), arg(2, dtype), arg(3, BOOL)
    n = 43
    flags = _values((n,), BOOL)
    basic = [apply(op, *((x, y)[: OPS[op].arity])) for op in ARITHMETIC]
    basic += [cast(apply(op, x, y), dtype) for op in COMPARE] + [apply("where", c, x, y)]
    basic += [apply("where", apply("lt", x, y), y, const(2, dtype))]
    if not dtypes.is_float(dtype):
        basic += [apply(op, *((x, y)[: OPS[op].arity])) for op in BITS]
        count = apply("bit_and", y, const(3, dtype))
        basic += [apply(op, x, count) for op in SHIFTS]
        basic += [apply("pow", x, count), apply("pow", x, y)]
        # division by zero, the most negative value and wrap-around do not trap and do what the reference does
        info = np.iinfo(dtype)
        left, right = _values((n,), dtype, -100, 100), _values((n,), dtype, -5, 6, 1)
        left[:8] = np.array([info.min, info.max, 7, 0, info.min, 1, info.max, 5], dtype)
        right[:8] = np.array([-1 if info.min else 2, 3, 0, 0, info.max, info.min, info.max, 1], dtype)
        yield _selected(f"operations {short}", basic, [left, right, flags])
        return
    basic += [apply(op, x) for op in ROUNDING] + [cast(apply("isnan", x), dtype), cast(apply("isinf", x), dtype)]
    # quarters, so that rounding has ties and every half type holds them exactly
    left, right = np.round(_values((n,), F32) * 4) / 4, np.round(_values((n,), F32, 1, 3, 1) * 4) / 4
    yield _selected(f"operations {short}", basic, [left.astype(dtype), right.astype(dtype), flags])
    functions = [apply(op, x) for op in ANY_FLOAT]
    functions += [apply(op, apply("mul", x, const(0.25, dtype))) for op in UNIT]
    functions += [apply(op, y) for op in POSITIVE] + [apply("pow", y, x), apply("atan2", x, y), apply("atan2", y, x)]
    yield _selected(f"functions {short}", functions, [_values((n,), dtype), _values((n,), dtype, 1.1, 3, 1), flags])


def _casts() -> Iterator[Case]:
    """Every dtype to every other, and on to float32; negative floats only to types that can hold them."""
    unsigned = [t for t in dtypes.ALL if t == BOOL or np.issubdtype(t, np.unsignedinteger)]
    floats = [t for t in dtypes.ALL if dtypes.is_float(t)]
    signed = [t for t in dtypes.ALL if t not in unsigned and t not in floats]
    for name, targets in (("unsigned", unsigned), ("signed", signed), ("floats", floats)):
        operands = [
            _values((37,), source, 0 if targets is unsigned and dtypes.is_float(source) else -100, 100, k)
            for k, source in enumerate(dtypes.ALL)
        ]
        sources = [arg(k + 1, source) for k, source in enumerate(dtypes.ALL)]
        yield _selected(f"casts to {name}", [cast(cast(x, t), F32) for t in targets for x in sources], operands)


def _selected(name: str, results: Sequence[Expr], operands: Sequence[np.ndarray]) -> Case:
    """Index space (results, values): row ``i`` computes ``results[i]``, so a difference's row names the operation."""
    selector = arg(len(operands) + 1, I32)
    expr = results[-1]
    for k in range(len(results) - 2, -1, -1):
        expr = apply("where", apply("eq", selector, const(k, I32)), results[k], expr)
    views: list[View] = [(a, 0, (0, 1)) for a in operands]
    views.append((np.arange(len(results), dtype=np.int32), 0, (1, 0)))
    return make_case(name, (len(results), operands[0].size), expr, views, exact=False, chunk=(5, 32))
