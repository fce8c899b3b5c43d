"""``channel_mixing``: 1x1 convolutions move in front of the resizing (and the concatenation) of their input.

Resizing works on each channel with the same weights, a 1x1 convolution on each pixel with the same weights: they
commute.
Mixing channels before an image grows costs as many times less as it grows.  Over a concatenation the convolution
is a sum of one convolution per part, of which those that grow move::

    conv(concat(a, resize(b)), w) = conv(a, w[:, :A]) + resize(conv(b, w[:, A:]))

Decoders that bring several scales together (SegFormer, U-shaped heads, feature pyramids) have this form.  Results
differ by rounding.
"""

from __future__ import annotations

from math import prod

from a1400 import dtypes
from a1400.graph.graph import Node, Value
from a1400.optimizer.rewriter import Context, Rewriter

#: multiply-adds that each value of the result must be spared, in return for one more value to read
_WORTH = 32


def _is_mixing(node: Node) -> bool:
    """A 1x1 convolution with constant weights, nothing attached to it."""
    x, w = node.inputs[:2]
    a = node.attrs
    return (
        len(node.inputs) == 2 and x is not None and w is not None and w.is_constant and dtypes.is_float(x.dtype)
        and prod(w.shape[2:]) == 1 and a["groups"] == 1 and not any((*a["low"], *a["high"]))
        and set(a["strides"]) == {1} and "epilogue" not in a
    )  # fmt: skip


def _parts(walk: Rewriter, x: Value) -> list[Value]:
    """The values whose channels make up ``x``."""
    node = x.producer
    if node is None or node.op != "concat" or node.attrs["axis"] != x.rank - 1 or not walk.single_use(x):
        return [x]
    return [v for v in node.inputs if v is not None]


def _source(walk: Rewriter, part: Value, channels: int) -> Value | None:
    """What ``part`` was resized from, if mixing its channels to ``channels`` there pays."""
    node = part.producer
    if node is None or node.op != "resize" or not walk.single_use(part) or node.inputs[0] is None:
        return None
    if any(t is not None and t[0].min(initial=0) < 0 for t in node.attrs["tables"]):
        return None  # pixels outside have a value of their own
    source = node.inputs[0]
    spared = part.shape[-1] * (1 - prod(source.shape[1:-1]) / max(1, prod(part.shape[1:-1])))
    return source if spared >= _WORTH and channels <= 2 * part.shape[-1] else None


def _mix_first(walk: Rewriter, node: Node) -> Value | None:
    if not _is_mixing(node):
        return None
    x, w = node.inputs[:2]
    assert x is not None and w is not None
    out, parts = w.shape[0], _parts(walk, x)
    sources = [_source(walk, part, out) for part in parts]
    if all(s is None for s in sources) or len({id(p) for p in parts}) < len(parts):
        return None
    staying: list[tuple[Value, Value]] = []
    grown: list[Value] = []
    start = 0
    for part, source in zip(parts, sources, strict=True):
        shape = (out, part.shape[-1], *w.shape[2:])
        starts = (0, start, *(0 for _ in w.shape[2:]))
        weights = walk.op("slice", w, starts=starts, shape=shape, steps=(1,) * w.rank)
        start += part.shape[-1]
        if source is None:
            staying.append((part, weights))
            continue
        assert part.producer is not None
        mixed = walk.op("conv", source, weights, sources=node.sources, **node.attrs)
        grown.append(walk.op("resize", mixed, sources=part.producer.sources, **part.producer.attrs))
    if staying:
        values, kernels = [v for v, _ in staying], [k for _, k in staying]
        whole = values[0] if len(values) == 1 else walk.op("concat", *values, axis=x.rank - 1)
        weights = kernels[0] if len(kernels) == 1 else walk.op("concat", *kernels, axis=1)
        grown.insert(0, walk.op("conv", whole, weights, sources=node.sources, **node.attrs))
    total = grown[0]
    for value in grown[1:]:
        total = walk.op("add", total, value, sources=node.sources)
    return total


def channel_mixing(ctx: Context) -> None:
    """Mix channels before images grow."""
    Rewriter(ctx, {"conv": (_mix_first,)}).run()
