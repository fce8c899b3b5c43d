"""Convolutions and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.graph import Graph
from tests.engine.graphs.base import CONV, GRAPHS, Build, Feeds, f32, graph


def _conv_of(name: str, x: tuple[int, ...], w: tuple[int, ...], constant: bool = True, **attrs: Any) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        spatial = len(x) - 2
        full = {
            "strides": (1,) * spatial,
            "dilations": (1,) * spatial,
            "low": (0,) * spatial,
            "high": (0,) * spatial,
            "groups": 1,
        }
        image = b.input(f32(*x))
        weights = b.const(f32(*w)) if constant else b.input(f32(*w))
        return b.out(g.op("conv", image, weights, **{**full, **attrs}))

    GRAPHS[f"conv_{name}"] = builder


_conv_of("3x3", (2, 13, 11, 8), (20, 8, 3, 3), low=(1, 1), high=(1, 1))
_conv_of("1x1", (2, 13, 11, 8), (20, 8, 1, 1))
_conv_of("1x1_stride", (1, 13, 11, 8), (20, 8, 1, 1), strides=(2, 2))
_conv_of("first_layer", (1, 23, 23, 3), (16, 3, 7, 7), strides=(2, 2), low=(3, 3), high=(3, 3))
_conv_of("asymmetric", (1, 9, 9, 4), (6, 4, 2, 4), low=(0, 2), high=(1, 1), dilations=(2, 1))
_conv_of("groups", (1, 9, 9, 12), (24, 3, 3, 3), low=(1, 1), high=(1, 1), groups=4)
_conv_of("depthwise", (2, 9, 9, 20), (20, 1, 3, 3), low=(1, 1), high=(1, 1), groups=20)
_conv_of("depthwise_multiplier", (1, 9, 9, 6), (12, 1, 3, 3), groups=6)
_conv_of("1d", (2, 30, 5), (7, 5, 4), strides=(2,), low=(1,), high=(2,))
_conv_of("3d", (1, 5, 6, 7, 3), (4, 3, 2, 3, 3), low=(1, 1, 1), high=(0, 1, 1))
_conv_of("run_time_weights", (1, 9, 9, 4), (6, 4, 3, 3), constant=False)
_conv_of("run_time_depthwise", (1, 9, 9, 4), (4, 1, 3, 3), constant=False, groups=4)
_conv_of("run_time_1x1", (1, 9, 9, 4), (6, 4, 1, 1), constant=False)


@graph
def conv_of_channel_range(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(1, 9, 9, 12))
    part = g.op("slice", x, starts=(0, 0, 0, 4), shape=(1, 9, 9, 5), steps=(1, 1, 1, 1))
    unpadded = {**CONV, "low": (0, 0), "high": (0, 0)}
    return b.out(
        g.op("conv", part, b.const(f32(6, 5, 3, 3)), **CONV),
        g.op("conv", part, b.const(f32(6, 5, 1, 1)), **unpadded),
    )


def _half_convolutions(dtype: np.dtype) -> Callable[[Graph], Feeds]:
    """A stem of three channels, groups, a range of channels, 1 x 1 with what follows it, weights given at run time, and
    transposed ones."""

    def builder(g: Graph) -> Feeds:
        b = Build(g)

        def rand(*shape: int) -> np.ndarray:
            return f32(*shape).astype(dtype)

        unpadded = {**CONV, "low": (0, 0), "high": (0, 0)}
        double = {**unpadded, "strides": (2, 2), "output_padding": (0, 0)}
        uneven = {**CONV, "strides": (2, 1), "output_padding": (1, 0)}
        stem = g.op("conv", b.input(rand(1, 11, 10, 3)), b.const(rand(16, 3, 3, 3)), **{**CONV, "strides": (2, 2)})
        stem = g.op("max", g.op("add", stem, b.const(rand(16))), b.const(np.zeros((), dtype)))
        x, residual = b.input(rand(2, 7, 6, 24)), b.input(rand(2, 7, 6, 40))
        point = g.op("conv", x, b.const(rand(40, 24, 1, 1)), **unpadded)
        point = g.op("max", g.op("add", g.op("add", point, b.const(rand(40))), residual), b.const(np.zeros((), dtype)))
        part = g.op("slice", x, starts=(0, 0, 0, 8), shape=(2, 7, 6, 8), steps=(1, 1, 1, 1))
        return b.out(
            stem,
            point,
            g.op("conv", x, b.const(rand(24, 6, 3, 3)), **{**CONV, "groups": 4}),
            g.op("conv", part, b.const(rand(9, 8, 3, 3)), **CONV),
            g.op("conv", x, b.input(rand(16, 24, 3, 3)), **CONV),
            g.op("conv", x, b.const(rand(24, 1, 3, 3)), **{**CONV, "groups": 24}),
            g.op("conv_transpose", x, b.const(rand(24, 10, 2, 2)), **double),
            g.op("conv_transpose", part, b.input(rand(8, 9, 3, 3)), **uneven),
        )

    return builder


GRAPHS["conv_f16"] = _half_convolutions(np.dtype(np.float16))
GRAPHS["conv_bf16"] = _half_convolutions(dtypes.bfloat16)


@graph
def conv_transpose(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(1, 6, 5, 8))
    a = {"strides": (2, 2), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "output_padding": (1, 1), "groups": 1}
    one = {"strides": (3,), "dilations": (2,), "low": (0,), "high": (1,), "output_padding": (0,), "groups": 2}
    y = b.input(f32(2, 7, 6))
    return b.out(
        g.op("conv_transpose", x, b.const(f32(8, 10, 3, 3)), **a),
        g.op("conv_transpose", y, b.const(f32(6, 4, 3)), **one),
        g.op("conv_transpose", x, b.input(f32(8, 10, 3, 3)), **a),
    )


@graph
def pools(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 11, 9, 18))
    base = {"kernel": (3, 2), "strides": (2, 2), "dilations": (1, 1), "low": (1, 0), "high": (1, 1), "out": (6, 5)}
    return b.out(
        g.op("pool", x, kind="max", **base), g.op("pool", x, kind="average", count_include_pad=False, **base),
        g.op("pool", x, kind="average", count_include_pad=True, **base), g.op("pool", x, kind="lp", p=2, **base),
        *g.multi("max_pool_indices", x, kind="max", storage_order=0, **base),
        *g.multi("max_pool_indices", x, kind="max", storage_order=1, **base),
    )  # fmt: skip
