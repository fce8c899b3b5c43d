"""Small graphs, one per way that an op can be lowered: (name, builder); a builder adds outputs to a graph and returns feeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from a1400.graph import Graph, Value

Feeds = dict[str, np.ndarray]
GRAPHS: dict[str, Callable[[Graph], Feeds]] = {}
RNG = np.random.default_rng(7)


def f32(*shape: int, low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Uniform random floats."""
    return RNG.uniform(low, high, shape).astype(np.float32)


def graph(function: Callable[[Graph], Feeds]) -> Callable[[Graph], Feeds]:
    """Decorator: enter a builder into :data:`GRAPHS`."""
    GRAPHS[function.__name__] = function
    return function


class Build:
    """A graph under construction and the arrays to feed it."""

    def __init__(self, g: Graph) -> None:
        self.g, self.feeds = g, {}

    def input(self, array: np.ndarray) -> Value:
        """Declare the next input."""
        name = f"x{len(self.feeds)}"
        self.feeds[name] = array
        return self.g.input(name, array.shape, array.dtype)

    def out(self, *values: Value) -> Feeds:
        """Declare outputs and give back the feeds."""
        for value in values:
            self.g.output(f"y{len(self.g.outputs)}", value)
        return self.feeds

    def const(self, array: Any) -> Value:
        """A constant."""
        return self.g.constant(array)


CONV = {"strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "groups": 1}


def _pointwise_of(op: str, arity: int, low: float, high: float) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        args = [b.input(f32(5, 7, low=low, high=high)) for _ in range(arity)]
        return b.out(g.op(op, *args))

    GRAPHS[f"pointwise_{op}"] = builder


for _op in ("add", "sub", "mul", "max", "min", "atan2"):
    _pointwise_of(_op, 2, -2, 2)
for _op in ("div", "mod", "fmod", "pow"):
    _pointwise_of(_op, 2, 0.5, 2)
for _op in ("neg", "abs", "sign", "floor", "ceil", "round", "trunc", "exp", "tanh", "sigmoid", "erf", "softplus", "sin", "cos",
            "tan", "atan", "sinh", "cosh", "asinh"):  # fmt: skip
    _pointwise_of(_op, 1, -1.4, 1.4)
for _op in ("sqrt", "rsqrt", "log", "reciprocal"):
    _pointwise_of(_op, 1, 0.1, 3)
for _op in ("asin", "acos", "atanh"):
    _pointwise_of(_op, 1, -0.9, 0.9)
_pointwise_of("acosh", 1, 1.1, 3)


@graph
def comparisons_and_where(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(6, 33)), b.input(f32(33))
    both = g.op("and", g.op("gt", x, y), g.op("not", g.op("le", x, b.const(np.float32(0)))))
    return b.out(g.op("where", both, x, y), both, g.op("cast", both, to=np.float32))


@graph
def integers(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(RNG.integers(-9, 9, (4, 19)))
    y = b.input(RNG.integers(-3, 3, (4, 19)))
    return b.out(g.op("div", x, y), g.op("mul", x, y), g.op("max", x, y), g.op("cast", x, to=np.int32))


@graph
def casts(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(3, 21, low=0, high=100))
    kinds = (np.int32, np.int64, np.uint8, np.int8, np.float16, np.bool_)
    return b.out(*(g.op("cast", x, to=k) for k in kinds))


@graph
def views_of_everything(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 6, 10))
    t = g.op("transpose", x, perm=(2, 0, 1))
    s = g.op("slice", t, starts=(9, 0, 1), shape=(5, 4, 2), steps=(-2, 1, 3))
    r = g.op("reshape", s, shape=(10, 4))
    e = g.op("expand", g.op("reshape", r, shape=(10, 4, 1)), shape=(10, 4, 3))
    return b.out(s, r, e, g.op("add", e, b.const(f32(3))))


@graph
def seven_dimensions(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 3, 2, 3, 2, 3, 2))
    t = g.op("transpose", x, perm=(6, 4, 2, 0, 5, 3, 1))
    return b.out(t, g.op("add", t, b.const(f32(3, 1, 3))))


@graph
def same_value_twice(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(8, 8))
    y = g.op("exp", x)
    return b.out(y, y, x, g.op("reshape", y, shape=(64,)), b.const(f32(3)))


@graph
def concat_and_pad(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(3, 5, 4)), b.input(f32(3, 2, 4))
    c = g.op("concat", x, y, x, axis=1)
    pads = {"low": (1, 0, 2), "high": (0, 3, 1)}
    fill = b.input(np.array([2.5], np.float32))
    return b.out(
        c, g.op("pad", c, mode="constant", **pads), g.op("pad", c, b.const(np.float32(1.5)), mode="constant", **pads),
        g.op("pad", c, fill, mode="constant", **pads), g.op("pad", c, mode="reflect", low=(1, 2, 0), high=(1, 0, 2)),
        g.op("pad", c, mode="edge", low=(1, -2, 0), high=(1, 0, 2)), g.op("pad", c, mode="wrap", low=(1, 0, 0), high=(1, 0, 2)),
    )  # fmt: skip


@graph
def matmul_weights(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 9, 40))
    w = b.const(f32(40, 70))
    return b.out(g.op("add", g.op("matmul", x, w), b.const(f32(70))), g.op("matmul", g.op("transpose", x, perm=(1, 0, 2)), w))


@graph
def matmul_vectors(g: Graph) -> Feeds:
    b = Build(g)
    m, v = b.input(f32(9, 40)), b.input(f32(40))
    return b.out(g.op("matmul", m, v), g.op("matmul", v, g.op("transpose", m, perm=(1, 0))), g.op("matmul", v, v))


@graph
def matmul_batches(g: Graph) -> Feeds:
    b = Build(g)
    x, y = b.input(f32(2, 3, 9, 20)), b.input(f32(3, 20, 11))
    t = g.op("transpose", b.input(f32(2, 3, 11, 20)), perm=(0, 1, 3, 2))
    s = g.op("expand", b.input(f32(2, 1, 20, 5)), shape=(2, 3, 20, 5))
    return b.out(g.op("matmul", x, y), g.op("matmul", x, t), g.op("matmul", x, s))


@graph
def matmul_types(g: Graph) -> Feeds:
    b = Build(g)
    i = b.input(RNG.integers(-5, 5, (7, 12)).astype(np.int32))
    d = b.input(RNG.uniform(-1, 1, (7, 12)))
    h = b.input(f32(7, 12).astype(np.float16))
    half = b.const(f32(12, 5).astype(np.float16))
    return b.out(
        g.op("matmul", i, b.const(RNG.integers(-5, 5, (12, 5)).astype(np.int32))),
        g.op("matmul", d, b.const(RNG.uniform(-1, 1, (12, 5)))), g.op("matmul", h, half),
    )  # fmt: skip


def _conv_of(name: str, x: tuple[int, ...], w: tuple[int, ...], constant: bool = True, **attrs: Any) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        spatial = len(x) - 2
        full = {
            "strides": (1,) * spatial, "dilations": (1,) * spatial, "low": (0,) * spatial, "high": (0,) * spatial, "groups": 1,
        }  # fmt: skip
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
    return b.out(g.op("conv", part, b.const(f32(6, 5, 3, 3)), **CONV), g.op("conv", part, b.const(f32(6, 5, 1, 1)), **{**CONV, "low": (0, 0), "high": (0, 0)}))  # fmt: skip


@graph
def conv_transpose(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(1, 6, 5, 8))
    a = {"strides": (2, 2), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "output_padding": (1, 1), "groups": 1}
    one = {"strides": (3,), "dilations": (2,), "low": (0,), "high": (1,), "output_padding": (0,), "groups": 2}
    y = b.input(f32(2, 7, 6))
    return b.out(
        g.op("conv_transpose", x, b.const(f32(8, 10, 3, 3)), **a), g.op("conv_transpose", y, b.const(f32(6, 4, 3)), **one),
        g.op("conv_transpose", x, b.input(f32(8, 10, 3, 3)), **a),
    )  # fmt: skip


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


def _reduce_of(kind: str) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        x = b.input(f32(3, 5, 37, 4, low=0.5, high=1.5))
        axes = ((3,), (1,), (0, 2), (1, 3), (0, 1, 2, 3), (2, 3), ())
        t = g.op("transpose", x, perm=(2, 0, 3, 1))
        values = [g.op("reduce", x, kind=kind, axes=a, keepdims=i % 2 == 0) for i, a in enumerate(axes)]
        return b.out(*values, g.op("reduce", t, kind=kind, axes=(1, 3), keepdims=False))

    GRAPHS[f"reduce_{kind}"] = builder


for _kind in ("sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square", "log_sum", "logsumexp"):
    _reduce_of(_kind)


@graph
def reduce_integers_and_bools(g: Graph) -> Feeds:
    b = Build(g)
    x, m = b.input(RNG.integers(-9, 9, (4, 30))), b.input(RNG.integers(0, 2, (4, 30)).astype(bool))
    small = b.input(RNG.integers(0, 200, (4, 30)).astype(np.uint8))
    return b.out(
        *(g.op("reduce", x, kind=k, axes=(1,), keepdims=False) for k in ("sum", "max", "min", "prod", "mean")),
        *(g.op("reduce", m, kind=k, axes=(0,), keepdims=True) for k in ("any", "all")),
        g.op("reduce", small, kind="max", axes=(0, 1), keepdims=False),
    )  # fmt: skip


@graph
def reduce_a_million(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(1000, 1000))
    return b.out(*(g.op("reduce", x, kind=k, axes=(0, 1), keepdims=False) for k in ("mean", "l2", "max", "logsumexp")))


@graph
def arg_reduce_and_topk(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(RNG.integers(0, 6, (4, 20, 3)).astype(np.float32))
    return b.out(
        g.op("arg_reduce", x, kind="argmax", axis=1, keepdims=True, select_last=False),
        g.op("arg_reduce", x, kind="argmin", axis=2, keepdims=False, select_last=True),
        *g.multi("topk", x, k=5, axis=1, largest=True, sorted=True), *g.multi("topk", x, k=3, axis=2, largest=False, sorted=True),
    )  # fmt: skip


@graph
def softmaxes(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 20, 33, low=-5, high=5))
    return b.out(*(g.op(op, x, axis=axis) for op in ("softmax", "log_softmax") for axis in (0, 1, 2)))


@graph
def cumulates(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(4, 20, 3))
    return b.out(
        g.op("cumulate", x, kind="sum", axis=1, exclusive=False, reverse=False),
        g.op("cumulate", x, kind="sum", axis=2, exclusive=True, reverse=True),
        g.op("cumulate", x, kind="prod", axis=0, exclusive=False, reverse=True),
    )


@graph
def normalizations(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(3, 7, 40))
    image = b.input(f32(2, 9, 8, 24))
    s, t = b.const(f32(40)), b.const(f32(40))
    c, d = b.const(f32(24)), b.const(f32(24))
    return b.out(
        g.op("layer_norm", x, s, t, axis=2, eps=1e-5), g.op("layer_norm", x, axis=1, eps=1e-5), g.op("rms_norm", x, s, axis=2, eps=1e-6),
        g.op("group_norm", image, c, d, groups=4, eps=1e-5), g.op("group_norm", image, c, None, groups=24, eps=1e-5),
    )  # fmt: skip


@graph
def attention_heads(g: Graph) -> Feeds:
    b = Build(g)

    def heads(n: int) -> Value:
        return g.op("transpose", g.op("reshape", b.input(f32(2, 20, n * 16)), shape=(2, 20, n, 16)), perm=(0, 2, 1, 3))

    q, k, v = heads(4), heads(2), heads(2)
    y = g.op("attention", q, k, v, scale=0.25)
    merged = g.op("reshape", g.op("transpose", y, perm=(0, 2, 1, 3)), shape=(2, 20, 64))
    mask = b.input(np.where(RNG.random((2, 1, 1, 20)) < 0.3, -1e9, 0).astype(np.float32))
    keep = b.input(RNG.random((20, 20)) < 0.7)
    return b.out(
        merged, g.op("attention", q, k, v, mask, scale=0.25), g.op("attention", q, k, v, keep, scale=0.25),
        g.op("attention", q, k, v, scale=0.25, causal=True, causal_offset=0),
    )  # fmt: skip


@graph
def attention_large_heads(g: Graph) -> Feeds:
    b = Build(g)
    q, k, v = b.input(f32(1, 4, 5, 300)), b.input(f32(1, 2, 9, 300)), b.input(f32(1, 2, 9, 300))
    mask = b.input(f32(1, 1, 5, 9))
    return b.out(g.op("attention", q, k, v, mask, scale=0.05, causal=True, causal_offset=4))


@graph
def attention_decode(g: Graph) -> Feeds:
    b = Build(g)
    q, k, v = b.input(f32(1, 8, 1, 64)), b.input(f32(1, 2, 65, 64)), b.input(f32(1, 2, 65, 64))
    return b.out(g.op("attention", q, k, v, scale=0.125))


def _recurrent_of(kind: str, direction: str, options: bool) -> None:
    def builder(g: Graph) -> Feeds:
        b = Build(g)
        gates, acts = {"lstm": (4, ["Sigmoid", "Tanh", "Tanh"]), "gru": (3, ["Sigmoid", "Tanh"]), "rnn": (1, ["Tanh"])}[kind]
        d, t, n, i, h = 2 if direction == "bidirectional" else 1, 6, 3, 10, 20
        x = b.input(f32(t, n, i))
        w, r, bias = b.const(f32(d, gates * h, i)), b.const(f32(d, gates * h, h)), b.const(f32(d, 2 * gates * h))
        lens = b.input(np.array([6, 2, 4], np.int32)) if options else None
        h0 = b.input(f32(d, n, h)) if options else None
        c0 = b.input(f32(d, n, h)) if options and kind == "lstm" else None
        p = b.const(f32(d, 3 * h)) if options and kind == "lstm" else None
        attrs = {
            "kind": kind, "hidden": h, "direction": direction, "activations": [(a, 0.0, 0.0) for a in acts] * d, "clip": 0.0,
            "input_forget": False, "linear_before_reset": options,
        }  # fmt: skip
        return b.out(*g.multi("recurrent", x, w, r, bias, lens, h0, c0, p, **attrs))

    GRAPHS[f"{kind}_{direction}{'_options' if options else ''}"] = builder


for _kind in ("lstm", "gru", "rnn"):
    _recurrent_of(_kind, "forward", False)
    _recurrent_of(_kind, "bidirectional", True)
    _recurrent_of(_kind, "reverse", False)


@graph
def gathers_and_scatters(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(6, 5, 4))
    index = b.input(np.array([[0, -1], [3, 2]]))
    tuples = b.input(np.array([[0, 1], [5, -1], [0, 1]]))
    places = b.input(RNG.integers(-5, 5, (6, 3, 4)))
    updates = b.input(f32(3, 4))
    return b.out(
        *(g.op("gather", x, index, axis=a) for a in (0, 1, 2)), g.op("gather_elements", x, places, axis=1),
        g.op("gather_nd", x, tuples, batch_dims=0), g.op("gather_nd", x, b.input(RNG.integers(0, 5, (6, 2, 1))), batch_dims=1),
        *(g.op("scatter_nd", x, tuples, updates, reduction=r) for r in ("none", "add", "mul", "max", "min")),
        *(g.op("scatter_elements", x, places, b.input(f32(6, 3, 4)), axis=1, reduction=r) for r in ("add", "max")),
    )  # fmt: skip


@graph
def resizes(g: Graph) -> Feeds:
    from a1400.kernels.resize_tables import axis_tables

    b = Build(g)
    x = b.input(f32(2, 5, 6, 9))
    k = b.input(RNG.integers(0, 9, (1, 5, 6, 3)))
    linear = [axis_tables(5, 11, mode="linear"), axis_tables(6, 4, mode="linear", antialias=True)]
    cubic = [None, axis_tables(6, 13, mode="cubic", coordinate_mode="align_corners")]
    nearest = [axis_tables(5, 10, mode="nearest", coordinate_mode="asymmetric", nearest_mode="floor"), axis_tables(6, 12)]
    return b.out(
        g.op("resize", x, tables=linear), g.op("resize", x, tables=cubic), g.op("resize", x, tables=nearest), g.op("resize", k, tables=nearest)
    )


@graph
def grid_samples(g: Graph) -> Feeds:
    b = Build(g)
    x, grid = b.input(f32(2, 7, 6, 5)), b.input(f32(2, 4, 3, 2, low=-1.3, high=1.3))
    modes = [("linear", "zeros", False), ("nearest", "border", True), ("cubic", "reflection", False)]
    return b.out(*(g.op("grid_sample", x, grid, mode=m, padding=p, align_corners=a) for m, p, a in modes))


@graph
def empty_tensors(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(0, 5))
    y = b.input(f32(3, 5))
    return b.out(
        g.op("add", x, b.const(f32(5))), g.op("concat", x, y, axis=0), g.op("reduce", x, kind="sum", axes=(0,), keepdims=False),
        g.op("matmul", x, b.const(f32(5, 4))), g.op("matmul", g.op("transpose", x, perm=(1, 0)), b.input(f32(0, 4))),
    )  # fmt: skip


@graph
def scalars(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(np.array(1.5, np.float32))
    return b.out(g.op("mul", x, x), g.op("reshape", x, shape=(1, 1)), g.op("reduce", x, kind="sum", axes=(), keepdims=False))


def _silu(g: Graph, x: Value) -> Value:
    return g.op("mul", x, g.op("sigmoid", x))


@graph
def fused_convolutions(g: Graph) -> Feeds:
    b = Build(g)
    x = b.input(f32(2, 9, 9, 16))
    scale, shift = b.const(f32(24, low=0.5, high=1.5)), b.const(f32(24))
    y = g.op("add", g.op("mul", g.op("conv", x, b.const(f32(24, 16, 3, 3)), **CONV), scale), shift)
    y = g.op("max", y, b.const(np.float32(0)))
    z = g.op("conv", y, b.const(f32(16, 24, 1, 1)), **{**CONV, "low": (0, 0), "high": (0, 0)})
    z = g.op("max", g.op("add", z, x), b.const(np.float32(0)))
    gate = g.op("sigmoid", g.op("reduce", z, kind="mean", axes=(1, 2), keepdims=True))
    d = g.op("conv", g.op("mul", z, gate), b.const(f32(16, 1, 3, 3)), **{**CONV, "groups": 16})
    return b.out(_silu(g, g.op("add", d, b.const(f32(16)))))


@graph
def fused_products(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(2, 7, 40)), b.input(f32(2, 7, 24))
    y = g.op("add", g.op("matmul", x, b.const(f32(40, 24))), b.const(f32(24)))
    gelu = g.op("mul", g.op("mul", y, b.const(np.float32(0.5))), g.op("add", g.op("erf", g.op("mul", y, b.const(np.float32(0.7071)))), b.const(np.float32(1))))
    row = b.input(f32(2, 7, 1))
    z = g.op("mul", g.op("add", g.op("matmul", gelu, b.const(f32(24, 24))), r), row)
    return b.out(z, g.op("cast", g.op("matmul", x, b.const(f32(40, 3))), to=np.float16))


@graph
def fused_rows(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(2, 7, 40)), b.input(f32(2, 7, 40))
    keep = b.input(RNG.random((7, 40)) < 0.8)
    masked = g.op("where", keep, g.op("mul", x, b.const(np.float32(3))), b.const(np.float32(-1e9)))
    s = g.op("mul", g.op("softmax", masked, axis=2), b.const(f32(40)))
    n = g.op("layer_norm", g.op("add", x, r), b.const(f32(40)), b.const(f32(40)), axis=2, eps=1e-5)
    q = g.op("rms_norm", g.op("mul", x, r), b.const(f32(40)), axis=2, eps=1e-5)
    return b.out(s, _silu(g, n), g.op("add", q, r), g.op("add", g.op("log_softmax", masked, axis=1), r))


@graph
def fused_reductions(g: Graph) -> Feeds:
    b = Build(g)
    x, r = b.input(f32(3, 50, 70)), b.input(f32(70))
    y = g.op("mul", g.op("sub", x, r), g.op("sub", x, r))
    outs = []
    for axes in ((2,), (1,), (0, 1), (0, 1, 2)):
        m = g.op("reduce", y, kind="mean", axes=axes, keepdims=True)
        outs.append(g.op("sqrt", g.op("add", m, b.const(np.float32(1e-3)))))
    big = b.input(f32(300, 700))
    total = g.op("reduce", g.op("exp", big), kind="sum", axes=(0, 1), keepdims=False)
    return b.out(*outs, g.op("log", total), g.op("cast", g.op("reduce", x, kind="max", axes=(2,), keepdims=False), to=np.int32))


@graph
def fused_images(g: Graph) -> Feeds:
    from a1400.kernels.resize_tables import axis_tables

    b = Build(g)
    x, skip = b.input(f32(1, 6, 6, 20)), b.input(f32(1, 12, 12, 20))
    up = g.op("resize", x, tables=[axis_tables(6, 12), axis_tables(6, 12)])
    y = g.op("max", g.op("add", up, skip), b.const(np.float32(0)))
    p = g.op("pool", y, kind="max", kernel=(2, 2), strides=(2, 2), dilations=(1, 1), low=(0, 0), high=(0, 0), out=(6, 6))
    n = g.op("group_norm", p, b.const(f32(20)), b.const(f32(20)), groups=5, eps=1e-5)
    t = {"strides": (2, 2), "dilations": (1, 1), "low": (0, 0), "high": (0, 0), "output_padding": (0, 0), "groups": 1}
    back = g.op("add", g.op("conv_transpose", _silu(g, n), b.const(f32(20, 8, 2, 2)), **t), b.const(f32(8)))
    return b.out(g.op("tanh", back), g.op("concat", y, back, axis=3))


@graph
def parts_written_in_place(g: Graph) -> Feeds:
    b = Build(g)
    x, z = b.input(f32(2, 6, 6, 8)), b.input(f32(2, 6, 6, 8))
    one = {**CONV, "low": (0, 0), "high": (0, 0)}
    parts = [
        g.op("conv", x, b.const(f32(12, 8, 3, 3)), **CONV), g.op("conv", x, b.const(f32(5, 8, 1, 1)), **one), g.op("exp", x),
        g.op("pool", x, kind="max", kernel=(3, 3), strides=(1, 1), dilations=(1, 1), low=(1, 1), high=(1, 1), out=(6, 6)),
        g.op("matmul", x, b.const(f32(8, 7))), z,
    ]  # fmt: skip
    wide = g.op("concat", *parts, axis=3)
    nested = g.op("concat", wide, g.op("neg", z), axis=3)
    stacked = g.op("concat", g.op("conv", x, b.const(f32(8, 8, 3, 3)), **CONV), g.op("tanh", x), axis=1)
    twice = g.op("concat", parts[0], parts[0], axis=3)
    depth = g.op("conv", wide, b.const(f32(48, 1, 3, 3)), **{**CONV, "groups": 48})
    return b.out(nested, stacked, twice, depth, g.op("sigmoid", parts[0]))
