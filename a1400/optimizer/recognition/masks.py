"""Attention masks: from what exporters write to what the attention op takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from a1400.graph.graph import Value
from a1400.optimizer.recognition.match import either_way, made_by, operand
from a1400.optimizer.rewriter import Rewriter
from a1400.optimizer.scalars import uniform

#: added to a score, this hides a key as surely as minus infinity (unless a row hides all its keys)
HIDES = -1e8


@dataclass
class Mask:
    """What hides keys: a value that broadcasts to the scores (bool: False hides; else added), and/or causality."""

    value: Value | None = None
    causal_offset: int | None = None


def hides(value: Value) -> bool:
    """True for a constant number that means "not this key"."""
    number = uniform(value)
    if number is None:
        return False
    lowest = -6e4 if value.dtype == np.float16 else HIDES
    return float(number) <= lowest


def _visible_pattern(walk: Rewriter, value: Value) -> np.ndarray | None:
    """A constant mask without leading dimensions as booleans; None when it is not one of plain visible/hidden."""
    if value.data is None or value.rank < 2 or math.prod(value.shape[:-2]) != 1 or value.size == 0:
        return None
    plane = value.data.reshape(value.shape[-2:])
    if plane.dtype == np.bool_:
        return plane
    lowest = -6e4 if plane.dtype == np.float16 else HIDES
    shown, hidden = plane == 0, plane.astype(np.float32) <= lowest
    return shown if bool(np.all(shown | hidden)) else None


def causal_offset(walk: Rewriter, value: Value, queries: int, keys: int) -> int | None:
    """The offset of a constant causal mask over ``[queries, keys]`` (``keys - 1`` or more: nothing is hidden)."""
    if value.data is None:
        return None
    key = ("causal", id(walk.memo.canonical(value.data)), queries, keys)
    if key not in walk.memo.table:
        walk.memo.table[key] = _find_offset(_visible_pattern(walk, value), queries, keys)
    found: int | None = walk.memo.table[key]
    return found


def _find_offset(plane: np.ndarray | None, queries: int, keys: int) -> int | None:
    if plane is None:
        return None
    if plane.all():
        return keys - 1
    if plane.shape != (queries, keys):
        return None
    offset = int(np.count_nonzero(plane[0])) - 1
    # a row that hides all its keys is 0 with a boolean mask but an average with a finite additive one: leave it
    if offset < 0:
        return None
    expected = np.arange(keys)[None, :] <= np.arange(queries)[:, None] + offset
    return offset if np.array_equal(plane, expected) else None


def simplify(walk: Rewriter, value: Value, queries: int, keys: int) -> Mask:
    """The cheapest form of a mask: minus infinity under a condition is the condition, causality is a number."""
    value = _as_condition(value)
    both = made_by(value, "and")
    if both is not None and value.dtype == np.bool_:
        for constant, other in either_way(both):
            offset = causal_offset(walk, constant, queries, keys)
            if offset is not None:
                inner = simplify(walk, other, queries, keys)
                return _merge(inner, offset, keys)
    offset = causal_offset(walk, value, queries, keys)
    if offset is not None:
        return _merge(Mask(), offset, keys)
    return Mask(value)


def _merge(mask: Mask, offset: int, keys: int) -> Mask:
    if offset >= keys - 1:
        return mask
    known = mask.causal_offset
    return Mask(mask.value, offset if known is None else min(known, offset))


def _as_condition(value: Value) -> Value:
    """``where(c, 0, -inf)`` is the condition c."""
    chosen = made_by(value, "where")
    if chosen is None or uniform(chosen.inputs[1]) != 0:
        return value
    hidden = uniform(chosen.inputs[2])
    condition = operand(chosen)
    # only minus infinity: a row that a finite number hides wholly is an average, not 0
    if hidden is None or float(hidden) != -math.inf or condition.shape != value.shape:
        return value
    return condition
