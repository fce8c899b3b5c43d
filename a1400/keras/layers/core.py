"""Dense layers, einsum, embedding, and layers that do nothing."""

from __future__ import annotations

import math

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.keras.layers.activations import activate
from a1400.keras.registry import converts
from a1400.keras.tracing import Call


@converts("Identity", "InputLayer")
def _identity(c: Call) -> Tensor:
    return c.x


@converts("ActivityRegularization")
def _activity(c: Call) -> Tensor:
    return c.real  # the penalty itself is added for every layer that has one


@converts("Masking")
def _masking(c: Call) -> Tensor:
    x = c.x
    kept = x.not_equal(x.lift(np.asarray(c.layer.mask_value, x.dtype)))
    kept = kept.reduce("any", (x.rank - 1,), keepdims=True)
    y = kept.where(x, 0)
    c.tracing.masks.put(y, kept.squeeze(-1))
    return y


@converts("Dense")
def _dense(c: Call) -> Tensor:
    y = c.real @ c.weight(c.layer.kernel)
    if c.layer.bias is not None:
        y = y + c.weight(c.layer.bias)
    return activate(c, y, c.layer.activation)


@converts("EinsumDense")
def _einsum_dense(c: Call) -> Tensor:
    y = einsum(c, c.layer.equation, c.real, c.weight(c.layer.kernel))
    if c.layer.bias is not None:
        y = y + c.weight(c.layer.bias)
    return activate(c, y, c.layer.activation)


def einsum(c: Call, equation: str, a: Tensor, b: Tensor) -> Tensor:
    """Einstein summation of two tensors as one product; ``...`` stands for axes that both or one of them lead with."""
    left, right, result = _labels(c, equation, a.rank, b.rank)
    a, left = _summed(a, left, set(right) | set(result))
    b, right = _summed(b, right, set(left) | set(result))
    batch = [label for label in left if label in right and label in result]
    inner = [label for label in left if label in right and label not in result]
    rows = [label for label in left if label not in right]
    columns = [label for label in right if label not in left]
    size = {**dict(zip(right, b.shape)), **dict(zip(left, a.shape))}

    def arranged(x: Tensor, labels: str, *groups: list[str]) -> Tensor:
        order = [label for group in groups for label in group]
        shape = [size[label] for label in batch] + [math.prod(size[label] for label in g) for g in groups[1:]]
        return x.transpose([labels.index(label) for label in order]).reshape(shape)

    product = arranged(a, left, batch, rows, inner) @ arranged(b, right, batch, inner, columns)
    order = [*batch, *rows, *columns]
    return product.reshape([size[label] for label in order]).transpose([order.index(label) for label in result])


def _labels(c: Call, equation: str, rank_a: int, rank_b: int) -> tuple[str, str, str]:
    terms, _, result = equation.replace(" ", "").partition("->")
    left, comma, right = terms.partition(",")
    if not comma or "," in right:
        c.refuse(f"the equation {equation!r} is not one of two operands")
    free = iter("0123456789")
    counts = [rank - len(t.replace("...", "")) for t, rank in ((left, rank_a), (right, rank_b)) if "..." in t]
    dots = "".join(next(free) for _ in range(max(counts, default=0)))
    spread = [
        term.replace("...", dots[len(dots) - rank + len(term.replace("...", "")) :]) if "..." in term else term
        for term, rank in ((left, rank_a), (right, rank_b))
    ]
    left, right, result = spread[0], spread[1], result.replace("...", dots)
    if any(len(set(term)) != len(term) for term in (left, right, result)):
        c.refuse(f"the equation {equation!r} repeats an axis within one operand")
    return left, right, result


def _summed(x: Tensor, labels: str, needed: set[str]) -> tuple[Tensor, str]:
    axes = [i for i, label in enumerate(labels) if label not in needed]
    return x.sum(axes) if axes else x, "".join(label for label in labels if label in needed)


@converts("Embedding")
def _embedding(c: Call) -> Tensor:
    return c.weight(c.layer.embeddings).op("gather", c.x.cast("int32"), axis=0)
