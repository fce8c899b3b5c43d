"""1x1 convolutions move in front of the resizing of their input, where that pays."""

from __future__ import annotations

from typing import Any

import pytest

from a1400.graph.graph import Value
from a1400.kernels.resize_tables import axis_tables
from tests.optimizer.graphs import Build, count

_ONE = {"strides": (1, 1), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "groups": 1}


def _resized(b: Build, x: Value, side: int, **how: Any) -> Value:
    tables = tuple(axis_tables(n, side, **{"mode": "linear", **how}) for n in x.shape[1:-1])
    return b.op("resize", x, tables=tables, extrapolation=0.0)


def _pixels(b: Build, op: str) -> list[int]:
    """Height of what each node of ``op`` makes."""
    return sorted(n.output.shape[1] for n in b.graph.nodes if n.op == op)


def test_several_scales() -> None:
    b = Build()
    small, middle, large = b.input(1, 3, 3, 48), b.input(1, 6, 6, 64), b.input(1, 12, 12, 16)
    parts = [_resized(b, small, 12), large, _resized(b, middle, 12), b.op("neg", large)]
    y = b.op("conv", b.op("concat", *parts, axis=3), b.const(24, 144, 1, 1), **_ONE)
    b.finish(b.op("max", b.op("add", y, b.const(24)), b.number(0)))
    b.check(disable=["fusion"])
    assert _pixels(b, "conv") == [3, 6, 12] and count(b.graph, "resize") == 2
    assert all(n.output.shape[-1] == 24 for n in b.graph.nodes if n.op == "resize")
    assert [n.output.shape[-1] for n in b.graph.nodes if n.op == "concat"] == [32]


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_without_concatenation(mode: str) -> None:
    b = Build()
    x = _resized(b, b.input(2, 4, 4, 48), 9, mode=mode)
    b.finish(b.op("add", b.op("conv", x, b.const(8, 48, 1, 1), **_ONE), b.const(8)))
    b.check(disable=["fusion"])
    assert _pixels(b, "conv") == [4] and _pixels(b, "resize") == [9]


def _stays(b: Build, x: Value, **attrs: Any) -> None:
    kernel, channels = attrs.pop("kernel", 1), attrs.pop("channels", 16)
    y = b.op("conv", x, b.const(channels, x.shape[-1], kernel, kernel), **{**_ONE, **attrs})
    b.finish(y)
    b.check(disable=["fusion"])
    assert _pixels(b, "conv") == [y.shape[1]]
    assert count(b.graph, "resize") == 1
    resize = next(n for n in b.graph.nodes if n.op == "resize")
    assert resize.output.shape == x.shape


@pytest.mark.parametrize(
    "attrs", [{"kernel": 3}, {"strides": (2, 2)}, {"low": (1, 0)}, {"channels": 200}]
)
def test_other_convolutions_stay(attrs: dict[str, Any]) -> None:
    b = Build()
    _stays(b, _resized(b, b.input(1, 4, 4, 64), 8), **attrs)


def test_stays_where_the_image_shrinks() -> None:
    b = Build()
    _stays(b, _resized(b, b.input(1, 12, 12, 64), 6))


def test_stays_where_channels_are_few() -> None:
    b = Build()
    _stays(b, _resized(b, b.input(1, 4, 4, 24), 8))


def test_stays_where_pixels_outside_have_a_value() -> None:
    b = Build()
    tables = tuple(
        axis_tables(6, 12, mode="linear", coordinate_mode="tf_crop_and_resize", roi=(-0.5, 1.5)) for _ in range(2)
    )
    assert tables[0][0].min() < 0
    _stays(b, b.op("resize", b.input(1, 6, 6, 64), tables=tables, extrapolation=2.0))


def test_stays_where_others_read_the_resized_image() -> None:
    b = Build()
    x = _resized(b, b.input(1, 4, 4, 64), 8)
    y = b.op("conv", x, b.const(64, 64, 1, 1), **_ONE)
    b.finish(b.op("mul", y, x))
    b.check(disable=["fusion"])
    assert _pixels(b, "conv") == [8] and count(b.graph, "resize") == 1
