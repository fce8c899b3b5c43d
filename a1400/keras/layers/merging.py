"""Layers that join several tensors."""

from __future__ import annotations

from collections.abc import Callable

from a1400.graph.tensor import Tensor
from a1400.keras.registry import converts
from a1400.keras.tracing import F32, Call


def _aligned(c: Call) -> list[Tensor]:
    """Tensors of lower rank get axes of 1 behind the batch's, as Keras gives them."""
    parts = [x.cast(F32) for x in c.many]
    rank = max(x.rank for x in parts)
    return [x.reshape((*x.shape[:1], *(1,) * (rank - x.rank), *x.shape[1:])) for x in parts]


def _folded(c: Call, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    first, *rest = _aligned(c)
    for x in rest:
        first = step(first, x)
    return first


@converts("Add")
def _add(c: Call) -> Tensor:
    return _folded(c, lambda a, b: a + b)


@converts("Subtract")
def _subtract(c: Call) -> Tensor:
    return _folded(c, lambda a, b: a - b)


def _masked(c: Call) -> list[tuple[Tensor, Tensor | None]]:
    """Tensors with their masks, as wide as they are; Keras reshapes tensors of other ranks, and loses their masks."""
    parts = _aligned(c)
    if len({x.rank for x in c.many}) > 1:
        return [(x, None) for x in parts]
    masks = [c.tracing.masks.get(x) for x in c.many]
    return [(x, None if m is None else m.expand_dims(-1).expand(x.shape)) for x, m in zip(parts, masks)]


@converts("Multiply")
def _multiply(c: Call) -> Tensor:
    """What is masked counts as 1; where everything is, the product is 0."""
    parts = _masked(c)
    if all(m is None for _, m in parts):
        return _folded(c, lambda a, b: a * b)
    first, *rest = [x if mask is None else mask.where(x, 1.0) for x, mask in parts]
    for x in rest:
        first = first * x
    some = _any([mask for _, mask in parts])
    return _noted(c, first if some is None else some.where(first, 0.0), some)


def _any(masks: list[Tensor | None]) -> Tensor | None:
    """What any of them lets pass; None where one is missing."""
    found: Tensor | None = None
    for mask in masks:
        if mask is None:
            return None
        found = mask if found is None else found | mask
    return found


def _noted(c: Call, result: Tensor, mask: Tensor | None) -> Tensor:
    if mask is not None:
        c.tracing.masks.put(result, mask.reduce("any", (mask.rank - 1,)))
    return result


def _chosen(c: Call, step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What is masked takes no part, as long as there is something else."""
    (found, seen), *rest = _masked(c)
    for x, mask in rest:
        x = x if mask is None else mask.where(x, found)
        found = found if seen is None else seen.where(found, x)
        seen = None if mask is None or seen is None else seen | mask
        found = step(found, x)
    return _noted(c, found, seen)


@converts("Average")
def _average(c: Call) -> Tensor:
    return _folded(c, lambda a, b: a + b) / float(len(c.many))


@converts("Maximum")
def _maximum(c: Call) -> Tensor:
    return _chosen(c, lambda a, b: a.op("max", b))


@converts("Minimum")
def _minimum(c: Call) -> Tensor:
    return _chosen(c, lambda a, b: a.op("min", b))


@converts("Concatenate")
def _concatenate(c: Call) -> Tensor:
    parts = c.many
    if len({x.dtype for x in parts}) > 1:
        parts = [x.cast(F32) for x in parts]
    first, *rest = parts
    return first.op("concat", *rest, axis=c.layer.axis % first.rank) if rest else first


@converts("Dot")
def _dot(c: Call) -> Tensor:
    parts = [x.cast(F32) for x in c.many]
    if len(parts) != 2:
        c.refuse(f"it is called on {len(parts)} tensors instead of 2")
    a, b = parts
    axes = c.layer.axes
    i, j = (axes, axes) if isinstance(axes, int) else axes
    i, j = i % a.rank, j % b.rank
    if c.layer.normalize:
        a, b = _unit(a, i), _unit(b, j)
    a = a.transpose([*(d for d in range(a.rank) if d != i), i])
    b = b.transpose([0, j, *(d for d in range(1, b.rank) if d != j)])
    left, right = a.shape[1:-1], b.shape[2:]
    rows, columns = (a.shape[0], _count(left), a.shape[-1]), (b.shape[0], b.shape[1], _count(right))
    shape = (a.shape[0], *left, *right)
    return (a.reshape(rows) @ b.reshape(columns)).reshape(shape if len(shape) > 1 else (*shape, 1))


def _count(sizes: tuple[int, ...]) -> int:
    count = 1
    for n in sizes:
        count *= n
    return count


def _unit(x: Tensor, axis: int) -> Tensor:
    return x * (x * x).sum((axis,), keepdims=True).op("max", 1e-14).rsqrt()
