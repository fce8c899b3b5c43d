"""Random numbers: Philox4x32-10, counted by element (:mod:`a1400.train.random`), so the device draws them in place.

A node with a seed draws the same numbers in the same run of any process, others in each run what the run's own seed
says.  No two runs of a model draw the same.
"""

from __future__ import annotations

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import translates
from a1400.frontends.onnx.tensors import dtype_of
from a1400.graph.draws import STATE, STATE_SHAPE
from a1400.graph.graph import Value
from a1400.graph.tensor import Tensor

_F32 = np.dtype(np.float32)


def draw(c: Ctx, kind: str, shape: tuple[int, ...], dtype: np.dtype, *parameters: float) -> Value:
    """``kind`` is "uniform" (low, high) or "normal" (mean, deviation); drawn in float32, or float64 for that type."""
    from a1400.train.random import RandomSource

    if c.training is not None:
        raise c.unsupported("random numbers other than dropout's are not supported while a model is trained")
    if not dtypes.is_float(dtype):
        raise GraphError(f"{kind} random numbers are floats, not {dtype}")
    graph, drawn = c.graph, c.tracer.drawn
    state = graph.inputs.get(STATE) or graph.input(STATE, STATE_SHAPE, np.dtype(np.uint32))
    tensor, given = Tensor(graph, state), c.attr("seed", None, (float, int))
    if given is not None:
        bits = int(np.float64(given).view(np.uint64))
        key = graph.constant(np.array([bits & 0xFFFFFFFF, bits >> 32], np.uint32))
        tensor = Tensor(graph, graph.op("concat", key, tensor.slice([2], [1]).value, axis=0))
    # a node in a loop draws other numbers in every turn; without a seed all draws of a trace differ
    stream = drawn.get(label := c.graph.source if given is not None else (), 0)
    drawn[label] = stream + 1
    wide = dtype if dtype.itemsize == 8 else _F32
    made = getattr(RandomSource(tensor), kind)(shape, *parameters, dtype=wide, stream=stream)
    return c.cast(made.value, dtype)


def _like(c: Ctx) -> np.dtype:
    to = c.attr("dtype", None, int)
    return c[0].dtype if to is None else dtype_of(to, "the result")


def _shape(c: Ctx) -> tuple[int, ...]:
    shape = c.ints("shape")
    if shape is None:
        raise GraphError("attribute 'shape' is missing")
    return tuple(shape)


@translates("RandomUniform")
def random_uniform(c: Ctx) -> Value:
    """Evenly distributed over [low, high)."""
    dtype = dtype_of(c.integer("dtype", 1), "the result")
    return draw(c, "uniform", _shape(c), dtype, c.number("low", 0.0), c.number("high", 1.0))


@translates("RandomUniformLike")
def random_uniform_like(c: Ctx) -> Value:
    """The same, in the operand's shape."""
    return draw(c, "uniform", c[0].shape, _like(c), c.number("low", 0.0), c.number("high", 1.0))


@translates("RandomNormal")
def random_normal(c: Ctx) -> Value:
    """Normally distributed."""
    dtype = dtype_of(c.integer("dtype", 1), "the result")
    return draw(c, "normal", _shape(c), dtype, c.number("mean", 0.0), c.number("scale", 1.0))


@translates("RandomNormalLike")
def random_normal_like(c: Ctx) -> Value:
    """The same, in the operand's shape."""
    return draw(c, "normal", c[0].shape, _like(c), c.number("mean", 0.0), c.number("scale", 1.0))


@translates("Bernoulli")
def bernoulli(c: Ctx) -> Value:
    """1 with the operand's probability, else 0."""
    p, dtype = c[0], _like(c)
    wide = p if p.dtype.itemsize >= 4 else c.cast(p, _F32)
    return c.cast(c.op("lt", draw(c, "uniform", p.shape, wide.dtype, 0.0, 1.0), wide), dtype)


@translates("Multinomial")
def multinomial(c: Ctx) -> Value:
    """[batch, sample_size] classes, drawn with replacement from logarithms of weights [batch, classes].

    A number drawn between 0 and a row's sum of weights is compared with the running sums.
    """
    x, count = c[0], c.integer("sample_size", 1)
    dtype = dtype_of(c.integer("dtype", 6), "the result")
    if x.rank != 2 or not x.shape[1] or count < 0 or dtype.kind != "i":
        raise GraphError(f"{count} samples of type {dtype} from {list(x.shape)}")
    rows, classes = x.shape
    x = x if x.dtype.itemsize >= 4 else c.cast(x, _F32)
    top = c.reduce("max", x, (1,))
    sums = c.op("cumulate", c.op("exp", c.op("sub", x, top)), kind="sum", axis=1, exclusive=False, reverse=False)
    drawn = c.op("mul", draw(c, "uniform", (rows, count), x.dtype, 0.0, 1.0), c.slice(sums, 1, classes - 1, 1))
    passed = c.op("le", c.reshape(sums, (rows, 1, classes)), c.reshape(drawn, (rows, count, 1)))
    place = c.reduce("sum", c.cast(passed, np.int32), (2,), keepdims=False)
    return c.cast(c.op("min", place, c.scalar(classes - 1, place)), dtype)
