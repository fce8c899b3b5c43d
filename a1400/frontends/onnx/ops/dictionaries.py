"""Dicts (``ai.onnx.ml``): what a run is given as one becomes a vector, and scores become a list of them."""

from __future__ import annotations

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx, Dictionary
from a1400.frontends.onnx.ops.registry import DICTS, ITEMS, translates
from a1400.frontends.onnx.ops.strings import OBJECT, numbers, written
from a1400.graph.graph import Value
from a1400.graph.records import Records

_DOMAIN = "ai.onnx.ml"
#: entries of a vector that CastMap makes
_LONGEST = 1 << 24


def _given(c: Ctx) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values of the dict that is input 0."""
    item = c.inputs[0]
    if not isinstance(item, Dictionary):
        raise GraphError("input 0 is no map")
    return c.need_value(item.keys, "the keys of a map"), c.need_value(item.values, "the values of a map")


@translates("ZipMap", domain=_DOMAIN, runs=ITEMS)
def zip_map(c: Ctx) -> object:
    """A list of dicts, one for each row of [n, classes] (or for [classes]), from class to number."""
    x = c[0]
    words, counts = c.attr("classlabels_strings", None, tuple), c.ints("classlabels_int64s")
    if words is None and counts is None:
        raise GraphError("one of classlabels_strings and classlabels_int64s is needed")
    keys = np.empty(len(words or counts or ()), object if words else np.int64)
    keys[:] = words or counts
    rows = c.reshape(x, (1, x.size)) if x.rank == 1 else x
    if rows.rank != 2 or rows.shape[1] != len(keys):
        raise GraphError(f"{len(keys)} classes for numbers of shape {list(x.shape)}")
    return (Records(rows, keys),)


@translates("DictVectorizer", domain=_DOMAIN, runs=DICTS)
def dict_vectorizer(c: Ctx) -> Value:
    """[1, n]: what the dict says for each key of the vocabulary, 0 (or an empty string) where it says nothing."""
    words, counts = c.attr("string_vocabulary", None, tuple), c.ints("int64_vocabulary")
    if (words is None) == (counts is None):
        raise GraphError("one of string_vocabulary and int64_vocabulary is needed")
    keys, values = _given(c)
    if (keys.dtype == OBJECT) != (words is not None) and keys.size:
        raise GraphError("the map's keys and the vocabulary are not of one type")
    found = dict(zip(keys.tolist(), values))
    made = np.empty((1, len(words or counts or ())), values.dtype)
    made[0] = [found.get(key, "" if values.dtype == OBJECT else 0) for key in words or counts or ()]
    return c.const(made)


@translates("CastMap", domain=_DOMAIN, runs=DICTS)
def cast_map(c: Ctx) -> Value:
    """[1, n]: the values of a map from int64 in the order of the keys, as strings, floats or int64.

    DENSE: one after the other; SPARSE: at the keys' places in a row of ``max_map`` zeros.
    """
    keys, values = _given(c)
    to, form = c.text("cast_to", "TO_FLOAT"), c.text("map_form", "DENSE")
    if to not in ("TO_FLOAT", "TO_STRING", "TO_INT64") or form not in ("DENSE", "SPARSE"):
        raise GraphError(f"cast_to {to!r} with map_form {form!r}")
    if keys.dtype == OBJECT or (keys < 0).any():
        raise GraphError("the keys of the map are integers from 0 on")
    dtype = {"TO_FLOAT": np.dtype(np.float32), "TO_STRING": OBJECT, "TO_INT64": np.dtype(np.int64)}[to]
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    if dtype == OBJECT:
        cast = values if values.dtype == OBJECT else written(values)
    else:
        cast = numbers(values, dtype) if values.dtype == OBJECT else values.astype(dtype)
    if form == "DENSE":
        return c.const(cast.reshape(1, -1))
    count = c.integer("max_map", 1)
    if not 0 < count <= _LONGEST or (keys >= count).any():
        raise GraphError(f"keys up to {keys.max(initial=0)} do not fit into a row of {count}")
    made = np.full((1, count), "" if dtype == OBJECT else 0, dtype)
    made[0, keys] = cast
    return c.const(made)
