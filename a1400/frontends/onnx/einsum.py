"""Einstein summation decomposed into transpose, reshape, matmul, mul and reduce."""

from __future__ import annotations

import math
from collections.abc import Sequence

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.graph.graph import Value


def einsum(c: Ctx, equation: str, operands: Sequence[Value]) -> Value:
    """The value of ``equation`` over ``operands``, contracted from left to right."""
    terms, output = _parse(equation.replace(" ", ""), [v.rank for v in operands])
    sizes: dict[str, int] = {}
    for labels, v in zip(terms, operands):
        for label, n in zip(labels, v.shape):
            if sizes.get(label, 1) != n and n != 1 and sizes.get(label, 1) != 1:
                raise GraphError(f"einsum {equation!r}: index {label!r} is both {sizes[label]} and {n}")
            sizes[label] = max(sizes.get(label, 1), n) if n != 0 else 0
    unknown = [label for label in output if label not in sizes]
    if unknown:
        raise GraphError(f"einsum {equation!r}: output index {unknown[0]!r} is in no operand")
    parts = [_diagonal(c, v, labels) for v, labels in zip(operands, terms)]
    x, labels = parts[0]
    for i, (y, other) in enumerate(parts[1:], start=1):
        later = set(output).union(*(p[1] for p in parts[i + 1 :]))
        x, labels = _contract(c, x, labels, y, other, later)
    x, labels = _sum_out(c, x, labels, set(output))
    x = c.transpose(x, [labels.index(label) for label in output])
    return c.expand(x, [sizes[label] for label in output])


def _parse(equation: str, ranks: list[int]) -> tuple[list[list[str]], list[str]]:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise GraphError(f"einsum {equation!r} has {len(terms)} terms for {len(ranks)} operands")
    widest = 0
    for term, rank in zip(terms, ranks):
        named = len(term.replace("...", ""))
        if named > rank or (named != rank and "..." not in term):
            raise GraphError(f"einsum {equation!r}: term {term!r} does not fit an operand of rank {rank}")
        widest = max(widest, rank - named)
    # ellipsis axes get numbered names, counted from the right, so that they broadcast as in NumPy
    dots = [f"#{i}" for i in range(widest)]

    def labels(term: str, count: int) -> list[str]:
        before, found, after = term.partition("...")
        return [*before, *(dots[widest - count :] if found else []), *after]

    parsed = [labels(t, r - len(t.replace("...", ""))) for t, r in zip(terms, ranks)]
    if arrow:
        output = labels(right, widest)
    else:
        letters = [ch for term in parsed for ch in term if not ch.startswith("#")]
        output = [*dots, *sorted(ch for ch in set(letters) if letters.count(ch) == 1)]
    if len(set(output)) != len(output):
        raise GraphError(f"einsum {equation!r}: an output index is repeated")
    return parsed, output


def _diagonal(c: Ctx, x: Value, labels: list[str]) -> tuple[Value, list[str]]:
    """Merge axes that carry the same label."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            n = x.shape[first]
            if x.shape[second] != n:
                raise GraphError(f"einsum: index {label!r} is both {n} and {x.shape[second]} in one operand")
            rest = [d for d in range(x.rank) if d not in (first, second)]
            x = c.transpose(x, (*rest, first, second))
            x = c.reshape(x, (*x.shape[:-2], n * n))
            x = c.slice(x, x.rank - 1, 0, n, n + 1)
            labels = [labels[d] for d in rest] + [label]
    return x, labels


def _sum_out(c: Ctx, x: Value, labels: list[str], keep: set[str]) -> tuple[Value, list[str]]:
    axes = [d for d, label in enumerate(labels) if label not in keep]
    if not axes:
        return x, labels
    return c.reduce("sum", x, axes, keepdims=False), [label for label in labels if label in keep]


def _contract(c: Ctx, x: Value, a: list[str], y: Value, b: list[str], later: set[str]) -> tuple[Value, list[str]]:
    """Multiply two operands and sum the indices that nothing later needs."""
    # an axis of size 1 in one operand only broadcasts: treat it as absent there
    x, a = _drop_broadcast(c, x, a, dict(zip(b, y.shape)))
    y, b = _drop_broadcast(c, y, b, dict(zip(a, x.shape)))
    x, a = _sum_out(c, x, a, later | set(b))
    y, b = _sum_out(c, y, b, later | set(a))
    shared = [label for label in a if label in b]
    inner = [label for label in shared if label not in later]
    batch = [label for label in shared if label in later]
    free_a = [label for label in a if label not in b]
    free_b = [label for label in b if label not in a]
    size = {**dict(zip(a, x.shape)), **dict(zip(b, y.shape))}
    # free labels of one operand that nothing needs any more were summed above, so all free labels survive
    x = c.transpose(x, [a.index(label) for label in (*batch, *free_a, *inner)])
    y = c.transpose(y, [b.index(label) for label in (*batch, *inner, *free_b)])
    lead = tuple(size[label] for label in batch)

    def count(labels: list[str]) -> int:
        return math.prod(size[label] for label in labels)

    result = [*batch, *free_a, *free_b]
    if not inner:
        x = c.reshape(x, (*lead, *(size[label] for label in free_a), *[1] * len(free_b)))
        y = c.reshape(y, (*lead, *[1] * len(free_a), *(size[label] for label in free_b)))
        return c.op("mul", x, y), result
    product = c.op(
        "matmul", c.reshape(x, (*lead, count(free_a), count(inner))), c.reshape(y, (*lead, count(inner), count(free_b)))
    )
    product = c.cast(product, x.dtype)  # bytes sum up wider; a sum that wraps around is the same in either order
    return c.reshape(product, tuple(size[label] for label in result)), result


def _drop_broadcast(c: Ctx, x: Value, labels: list[str], other: dict[str, int]) -> tuple[Value, list[str]]:
    kept = [d for d, label in enumerate(labels) if not (x.shape[d] == 1 and other.get(label, 1) != 1)]
    if len(kept) == len(labels):
        return x, labels
    return c.reshape(x, [x.shape[d] for d in kept]), [labels[d] for d in kept]
