"""Rotary embedding becomes one pointwise node."""

from __future__ import annotations

import pytest

from a1400.graph.graph import Value
from tests.optimizer.graphs import Build, count


def _half(b: Build, x: Value, start: int, size: int) -> Value:
    starts, shape = (0, 0, 0, start), (*x.shape[:-1], size)
    return b.op("slice", x, starts=starts, shape=shape, steps=(1,) * 4)


def _embedded(b: Build, x: Value, cosines: Value, sines: Value, turned: Value | None = None) -> Value:
    h = x.shape[-1] // 2
    if turned is None:
        turned = b.op("concat", b.op("neg", _half(b, x, h, h)), _half(b, x, 0, h), axis=3)
    return b.op("add", b.op("mul", x, cosines), b.op("mul", turned, sines))


@pytest.mark.parametrize("tables", ["constants", "inputs", "one number"])
def test_one_launch(tables: str) -> None:
    b = Build()
    x = b.op("transpose", b.input(2, 5, 3, 8), perm=(0, 2, 1, 3))
    shape = (5, 1) if tables == "one number" else (1, 1, 5, 8)
    cosines, sines = (b.input(*shape) if tables == "inputs" else b.const(*shape) for _ in range(2))
    b.finish(_embedded(b, x, cosines, sines))
    b.check()
    assert count(b.graph, "concat") == 0 and count(b.graph, "pointwise") == 1


@pytest.mark.parametrize("kind", ["read elsewhere", "other halves", "odd", "other value"])
def test_what_only_looks_like_it_stays(kind: str) -> None:
    b = Build()
    size = 7 if kind == "odd" else 8
    x, y = b.input(1, 3, 5, size), b.input(1, 3, 5, size)
    high = 3 if kind in ("odd", "other halves") else 4
    source = y if kind == "other value" else x
    negated = b.op("neg", _half(b, source, size - high, high))
    turned = b.op("concat", negated, _half(b, source, 0, size - high), axis=3)
    outs = [_embedded(b, x, b.const(5, size), b.const(5, size), turned)]
    if kind == "read elsewhere":
        outs.append(b.op("exp", turned))
    b.finish(*outs)
    b.check()
    assert count(b.graph, "concat") == 1
