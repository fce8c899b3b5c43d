"""Random graphs: whatever the passes do, singly and together, outputs stay."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.graph.graph import Value
from a1400.ops import OPS
from a1400.optimizer import PASSES
from tests.optimizer.graphs import Build

_UNARY = ("neg", "abs", "tanh", "sigmoid", "exp", "erf", "not", "cast", "sqrt")
_BINARY = ("add", "sub", "mul", "max", "min", "div")
_SIZES = (1, 2, 3, 4, 6)


def _grow(b: Build, pool: list[Value]) -> Value | None:
    """One random node over the pool; None when the draw does not fit."""
    rng = b.rng
    x = pool[rng.integers(len(pool))]
    kind = rng.choice([
        "unary", "binary", "binary", "constant", "transpose", "transpose", "reshape", "reduce", "slice", "concat",
        "pad", "softmax", "matmul", "expand", "where", "gather", "arg", "norm", "conv", "power", "topk", "cumulate",
    ])  # fmt: skip
    axis = int(rng.integers(x.rank)) if x.rank else 0
    if kind == "unary":
        name = str(rng.choice(_UNARY))
        if name == "cast":
            return b.op("cast", b.op("cast", x, to=np.float64), to=np.float32)
        if name == "not":
            return b.op("cast", b.op("not", b.op("not", b.op("lt", x, b.number(0.3)))), to=np.float32)
        if name == "exp":
            return b.op("exp", b.op("min", x, b.number(1)))
        if name == "sqrt":
            return b.op("sqrt", b.op("abs", x))
        return b.op(name, x)
    if kind == "binary":
        name = str(rng.choice(_BINARY))
        others = [v for v in pool if _broadcasts(v, x)]
        y = others[rng.integers(len(others))]
        if name == "div":
            y = b.op("add", b.op("abs", y), b.number(1))
        return b.op(name, *((x, y) if rng.random() < 0.5 else (y, x)))
    if kind == "constant":
        shape = tuple(int(d) if rng.random() < 0.6 else 1 for d in x.shape[int(rng.integers(x.rank + 1)) :])
        c = b.number(float(rng.choice([0, 1, 2, 0.5]))) if rng.random() < 0.4 else b.const(*shape)
        name = str(rng.choice(["add", "mul", "sub", "max"]))
        return b.op(name, *((x, c) if rng.random() < 0.6 else (c, x)))
    if kind == "power":
        return b.op("pow", b.op("abs", x), b.number(float(rng.choice([0.5, 1, 2, 3]))))
    if kind == "transpose":
        return b.op("transpose", x, perm=tuple(int(i) for i in rng.permutation(x.rank)))
    if kind == "reshape":
        return b.op("reshape", x, shape=_reshaped(rng, x))
    if x.rank == 0:
        return None
    if kind == "reduce":
        axes = tuple(int(a) for a in rng.permutation(x.rank)[: rng.integers(1, x.rank + 1)])
        name = str(rng.choice(["sum", "mean", "max", "l2"]))
        return b.op("reduce", x, kind=name, axes=axes, keepdims=bool(rng.random() < 0.5))
    if kind == "slice":
        shape = [int(rng.integers(1, d + 1)) for d in x.shape]
        starts = [int(rng.integers(0, d - n + 1)) for d, n in zip(x.shape, shape)]
        steps = [-1 if rng.random() < 0.2 else 1 for _ in shape]
        starts = [s + n - 1 if st < 0 else s for s, n, st in zip(starts, shape, steps)]
        return b.op("slice", x, starts=starts, shape=shape, steps=steps)
    if kind == "concat":
        fits = [
            v for v in pool if v.rank == x.rank and all(v.shape[d] == x.shape[d] for d in range(x.rank) if d != axis)
        ]
        return b.op("concat", x, fits[rng.integers(len(fits))], axis=axis)
    if kind == "pad":
        low = [int(rng.integers(0, 2)) for _ in x.shape]
        return b.op("pad", x, low=low, high=low[::-1], mode=str(rng.choice(["constant", "edge"])))
    if kind == "softmax":
        return b.op(str(rng.choice(["softmax", "log_softmax"])), x, axis=axis)
    if kind == "cumulate":
        return b.op("cumulate", x, kind="sum", axis=axis, exclusive=False, reverse=bool(rng.random() < 0.5))
    if kind == "matmul":
        return b.op("matmul", x, b.const(x.shape[-1], int(rng.choice(_SIZES)))) if x.rank > 1 else None
    if kind == "expand":
        return b.op("expand", x, shape=(int(rng.choice(_SIZES)), *(3 if d == 1 else d for d in x.shape)))
    if kind == "where":
        others = [v for v in pool if _broadcasts(v, x)]
        return b.op("where", b.op("lt", x, b.number(0)), x, others[rng.integers(len(others))])
    if kind == "gather":
        index = b.rng.integers(-x.shape[axis], x.shape[axis], tuple(rng.integers(1, 3, rng.integers(0, 3)))).astype(
            np.int64
        )
        return b.op("gather", x, b.graph.constant(index), axis=axis)
    if kind == "topk":
        return b.graph.multi(
            "topk", x, k=int(rng.integers(1, x.shape[axis] + 1)), axis=axis, largest=True, sorted=True
        )[0]
    if kind == "norm":
        tail = x.shape[axis:]
        return b.op(
            "layer_norm", x, b.const(*tail), b.const(*tail) if rng.random() < 0.5 else None, axis=axis, eps=1e-2
        )
    if kind == "conv" and x.rank == 4 and x.shape[1] <= 12:
        y = b.conv(x, int(rng.choice([2, 4])), kernel=int(rng.choice([1, 3])))
        return b.batch_norm(y) if rng.random() < 0.5 else y
    return None


def _broadcasts(v: Value, x: Value) -> bool:
    try:
        return np.broadcast_shapes(v.shape, x.shape) in (x.shape, v.shape)
    except ValueError:
        return False


def _reshaped(rng: np.random.Generator, x: Value) -> tuple[int, ...]:
    shape = list(x.shape)
    for _ in range(int(rng.integers(1, 3))):
        if shape and rng.random() < 0.4:
            at = int(rng.integers(len(shape)))
            divisor = next((k for k in (2, 3) if shape[at] % k == 0), 1)
            shape[at : at + 1] = [divisor, shape[at] // divisor]
        elif len(shape) > 1 and rng.random() < 0.7:
            at = int(rng.integers(len(shape) - 1))
            shape[at : at + 2] = [shape[at] * shape[at + 1]]
        else:
            shape.insert(int(rng.integers(len(shape) + 1)), 1)
    return tuple(shape)


def random_graph(seed: int) -> Build:
    """A graph of about 25 nodes over two inputs, with two to four outputs."""
    b = Build(seed)
    pool = [b.input(2, 4, 3, 6), b.input(2, 1, 6)]
    while len(b.graph.nodes) < 25:
        v = _grow(b, pool[-8:])
        if v is not None and v.data is None and 0 < v.size <= 3000 and v.rank <= 6:
            pool.append(v)
    last = pool[-1]
    outputs = [last, *(pool[i] for i in b.rng.integers(2, len(pool), int(b.rng.integers(1, 4))))]
    b.finish(*outputs)
    return b


@pytest.mark.parametrize("seed", range(60))
def test_random_graph(seed: int) -> None:
    b = random_graph(seed)
    report = b.check(tolerance=1e-4)
    assert report.passes[0].nodes_before >= 0
    assert all(n.op in OPS for n in b.graph.nodes)


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_alone_and_left_out(name: str) -> None:
    for seed in range(100, 106):
        random_graph(seed).check(tolerance=1e-4, disable=[p for p in PASSES if p != name])
        random_graph(seed).check(tolerance=1e-4, disable=[name])
