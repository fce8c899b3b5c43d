"""Rolls, windows and merged patches become one gather of rows; those behind a product move in front of it."""

from __future__ import annotations

import pytest

from a1400.graph.graph import Value
from tests.optimizer.graphs import Build, count


def _rolled(b: Build, x: Value, by: int, *axes: int) -> Value:
    for axis in axes:
        size, ones = x.shape[axis], (1,) * x.rank
        parts = []
        for start, length in ((by, size - by), (0, by)):
            starts = tuple(start if d == axis else 0 for d in range(x.rank))
            shape = tuple(length if d == axis else n for d, n in enumerate(x.shape))
            parts.append(b.op("slice", x, starts=starts, shape=shape, steps=ones))
        x = b.op("concat", *parts, axis=axis)
    return x


def _windows(b: Build, x: Value, side: int) -> Value:
    n, h, w, c = x.shape
    x = b.op("reshape", x, shape=(n, h // side, side, w // side, side, c))
    return b.op("reshape", b.op("transpose", x, perm=(0, 1, 3, 2, 4, 5)), shape=(n * h * w // side**2, side**2, c))


def _joined(b: Build, x: Value, side: int, h: int, w: int) -> Value:
    c = x.shape[-1]
    x = b.op("reshape", x, shape=(x.size // (h * w * c), h // side, w // side, side, side, c))
    return b.op("reshape", b.op("transpose", x, perm=(0, 1, 3, 2, 4, 5)), shape=(x.shape[0], h, w, c))


def _product(b: Build, x: Value, columns: int) -> Value:
    return b.op("add", b.op("matmul", x, b.const(x.shape[-1], columns)), b.const(columns))


def _left(b: Build) -> tuple[int, int, int]:
    return tuple(count(b.graph, op) for op in ("gather", "concat", "slice"))  # type: ignore[return-value]


def test_shifted_windows_there_and_back() -> None:
    b = Build()
    x = b.op("exp", b.input(2, 8, 12, 32))
    y = _product(b, _windows(b, _rolled(b, x, 3, 1, 2), 4), 32)
    b.finish(b.op("sqrt", _rolled(b, _joined(b, b.op("tanh", y), 4, 8, 12), 5, 1, 2)))
    b.check(disable=["fusion"])
    assert _left(b) == (2, 0, 0) and count(b.graph, "transpose") == 0


@pytest.mark.parametrize("shifted", [False, True])
def test_rows_of_a_product_that_a_sum_waits_for(shifted: bool) -> None:
    b = Build()
    x = b.input(2, 8, 12, 32)
    y = _joined(b, _product(b, b.op("exp", b.input(12, 16, 32)), 32), 4, 8, 12)
    if shifted:
        y = _rolled(b, y, 3, 1, 2)
    b.finish(b.op("add", x, y))
    b.check(disable=["layout"])  # which moves a lone transpose behind the sum
    assert _left(b) == (1, 0, 0)
    (product,) = [n for n in b.graph.nodes if n.op == "matmul"]
    assert "epilogue" in product.attrs and product.output.shape == (2, 8, 12, 32)


def test_a_product_that_widens_less_than_it_reads_stays_in_front() -> None:
    b = Build()
    x = b.input(1, 8, 8, 32)
    y = _product(b, b.op("exp", b.input(4, 16, 64)), 32)
    b.finish(b.op("add", x, _rolled(b, _joined(b, y, 4, 8, 8), 2, 1, 2)))
    b.check(disable=["fusion"])
    gather, product = (next(n for n in b.graph.nodes if n.op == op) for op in ("gather", "matmul"))
    assert b.graph.nodes.index(gather) > b.graph.nodes.index(product) and count(b.graph, "concat") == 0


@pytest.mark.parametrize("shared", ["all of the first way", "its beginning"])
def test_a_product_that_two_sums_wait_for_is_computed_once(shared: str) -> None:
    b = Build()
    y = _product(b, b.op("exp", b.input(8, 4, 32)), 32)
    first = _rolled(b, y, 3, 0)
    if shared == "its beginning":
        y = b.op("transpose", y, perm=(1, 0, 2))
        first = _rolled(b, y, 3, 1)
    second = _rolled(b, y, 2, 0) if shared == "its beginning" else _rolled(b, first, 1, 1)
    b.finish(*(b.op("add", b.op("exp", b.input(*v.shape)), v) for v in (first, second)))
    b.check(disable=["layout"])
    assert count(b.graph, "matmul") == 1 and count(b.graph, "gather") == 2


def test_patches_merge_by_one_gather() -> None:
    b = Build()
    x = b.op("exp", b.input(1, 8, 12, 16))
    parts = [
        b.op("slice", x, starts=(0, i, j, 0), shape=(1, 4, 6, 16), steps=(1, 2, 2, 1)) for j in (0, 1) for i in (0, 1)
    ]
    b.finish(b.op("neg", b.op("concat", *parts, axis=3)))
    b.check(disable=["fusion"])
    assert _left(b) == (1, 0, 0)


def test_a_number_that_is_repeated() -> None:
    b = Build()
    number = b.op("add", b.op("reduce", b.input(4), kind="sum", axes=(0,), keepdims=False), b.number(2))
    b.finish(b.op("concat", *[b.op("reshape", number, shape=(1,))] * 3, axis=0))
    b.check(disable=["layout"])


def test_what_stays() -> None:
    b = Build()
    two, narrow, read = b.input(4, 32), b.input(6, 3), b.input(6, 32)
    rolled = _rolled(b, b.op("exp", read), 2, 0)
    b.finish(
        b.op("concat", two, b.op("neg", two), axis=0),  # two sources
        b.op("neg", _rolled(b, narrow, 2, 0)),  # short rows
        rolled,
    )
    b.check(disable=["fusion"])
    assert _left(b) == (1, 2, 2)  # the third is an output, and one gather makes it
