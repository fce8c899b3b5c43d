"""LabelEncoder: keys replaced by the values that belong to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx, Item, Spelled
from a1400.frontends.onnx.ops.registry import MAYBE_STRINGS, translates
from a1400.frontends.onnx.ops.strings import OBJECT, text
from a1400.frontends.onnx.spelled import spelled
from a1400.graph.graph import Value

_UNUSED = "_Unused"
#: how lists of keys or values are called, the type of their items, and what stands for a key that is not there
_LISTS = {"floats": (np.float32, "default_float", -0.0), "int64s": (np.int64, "default_int64", -1),
          "strings": (object, "default_string", _UNUSED)}  # fmt: skip


@translates("LabelEncoder", domain="ai.onnx.ml", runs=MAYBE_STRINGS)
def class_encoder(c: Ctx) -> Item:
    """The first form: strings to their places in a list of classes, or places to strings."""
    classes = c.attr("classes_strings", None, tuple)
    if classes is None:
        raise GraphError("attribute 'classes_strings' is missing")
    names, places = _array(classes, object), np.arange(len(classes), dtype=np.int64)
    if isinstance(c.inputs[0], Value) and c[0].dtype == OBJECT:
        return _encoded(c, names, _array([*places, c.integer("default_int64", -1)], np.int64))
    return _encoded(c, places, _array([*names, c.text("default_string", _UNUSED)], object))


@translates("CategoryMapper", domain="ai.onnx.ml", runs=MAYBE_STRINGS)
def category_mapper(c: Ctx) -> Item:
    """Strings to int64, or int64 to strings, by a list of pairs."""
    words, numbers = c.attr("cats_strings", (), tuple), c.ints("cats_int64s", ())
    if len(words) != len(numbers) or not words:
        raise GraphError(f"{len(words)} strings for {len(numbers)} numbers")
    known, counts = _array(words, object), np.array(numbers, np.int64)
    if isinstance(c.inputs[0], Value) and c[0].dtype != OBJECT:
        return _encoded(c, counts, _array([*known, c.text("default_string", _UNUSED)], object))
    return _encoded(c, known, _array([*counts, c.integer("default_int64", -1)], np.int64))


@translates("LabelEncoder", domain="ai.onnx.ml", since=2, runs=MAYBE_STRINGS)
def label_encoder(c: Ctx) -> Item:
    """Any keys to any values.  Of equal keys the last counts; NaN is a key as any other."""
    keys, values = _one_of(c, "keys"), _one_of(c, "values")
    if keys.shape != values.shape or not keys.size:
        raise GraphError(f"{keys.size} keys for {values.size} values")
    return _encoded(c, keys, np.concatenate([values, _default(c, values)]))


def _array(items: Any, dtype: Any) -> np.ndarray:
    made = np.empty(len(items), dtype)
    made[:] = items
    return made


def _one_of(c: Ctx, what: str) -> np.ndarray:
    tensor = c.attr(f"{what}_tensor", None, np.ndarray)
    if tensor is not None:
        return tensor.reshape(-1)
    for name, (dtype, _, _) in _LISTS.items():
        items = c.attr(f"{what}_{name}", None, tuple)
        if items is not None:
            return _array(items, dtype)
    raise GraphError(f"one of {what}_floats, {what}_int64s, {what}_strings and {what}_tensor is needed")


def _default(c: Ctx, values: np.ndarray) -> np.ndarray:
    """What stands for a key that is not there, one element."""
    given = c.attr("default_tensor", None, np.ndarray)
    if given is not None and c.attr("values_tensor") is not None:
        if given.size != 1 or given.dtype != values.dtype:
            raise GraphError(f"'default_tensor' is {given.dtype}{list(given.shape)}, not one {values.dtype}")
        return given.reshape(-1)
    kind = "strings" if values.dtype == OBJECT else "int64s" if values.dtype.kind in "iu" else "floats"
    _, name, otherwise = _LISTS[kind]
    return _array([otherwise if c.attr("values_tensor") is not None else c.attr(name, otherwise)], values.dtype)


def _encoded(c: Ctx, keys: np.ndarray, values: np.ndarray) -> Item:
    """values[i] for each element of the operand that is keys[i]; the last of ``values`` for all others."""
    found = places(c, keys)
    return spelled(c, found, values) if values.dtype == OBJECT else c.op("gather", c.const(values), found, axis=0)


def places(c: Ctx, keys: np.ndarray) -> Value:
    """Where each element of the operand, numbers or strings, stands in ``keys``, int32; their number for none."""
    operand = c.inputs[0]
    if keys.dtype == OBJECT:
        at = {key: i for i, key in enumerate(keys)}
        words = operand.table if isinstance(operand, Spelled) else text(c, 0)
        found = np.array([at.get(s, len(keys)) for s in words.reshape(-1)], np.int32).reshape(words.shape)
        known = c.const(found)
        return c.op("gather", known, operand.places, axis=0) if isinstance(operand, Spelled) else known
    x = c[0]
    if x.dtype != keys.dtype:
        raise GraphError(f"the operand is {x.dtype}, the keys are {keys.dtype}")
    return _places(c, x, keys)


def _places(c: Ctx, x: Value, keys: np.ndarray) -> Value:
    """Where each element of ``x`` stands in ``keys``, int32; their number for what is none: by bisection."""
    order = np.argsort(keys, kind="stable")  # NaN comes last
    ordered = keys[order]
    last = np.append(ordered[1:] != ordered[:-1], True) & (ordered == ordered)
    ordered, order = ordered[last], order[last].astype(np.int32)
    missing = c.scalar(keys.size, np.int32)
    found = c.expand(missing, x.shape)
    if ordered.size:
        table = c.const(ordered)
        base, size = c.expand(c.scalar(0, np.int32), x.shape), int(ordered.size)
        while size > 1:
            half = size // 2
            ahead = c.op("add", base, c.scalar(half, np.int32))
            base = c.op("where", c.op("le", c.op("gather", table, ahead, axis=0), x), ahead, base)
            size -= half
        same = c.op("eq", c.op("gather", table, base, axis=0), x)
        found = c.op("where", same, c.op("gather", c.const(order), base, axis=0), found)
    nans = np.flatnonzero(keys != keys)
    if nans.size:
        found = c.op("where", c.op("isnan", x), c.scalar(int(nans[-1]), np.int32), found)
    return found
