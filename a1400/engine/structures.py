"""Inputs and outputs that are no plain tensors: sequences, optionals and strings.

A graph knows tensors of numbers only.  A dict is a vector of keys and one of values, which the host works on.  A
sequence ``s`` becomes inputs ``s[0]``, ``s[1]`` ...; an optional that holds
nothing has no input; strings are values that the graph is traced with, and what numbers come of them are inputs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from a1400.engine.feeds import as_array, check_shape
from a1400.errors import InputError
from a1400.frontends.signature import map_parts
from a1400.graph.records import Records


def leaves(name: str, info: Any, given: Any) -> dict[str, np.ndarray | None]:
    """The tensors that input ``name`` of :class:`~a1400.frontends.signature.ShapeDtype` ``info`` is made of, by name.

    None (where ``given`` is) stands for an optional that holds nothing.  Raises :class:`InputError`.
    """
    if given is None:
        if "optional" not in info.kind:
            needed = f"a {info.kind}" if info.kind != "tensor" else "strings"
            raise InputError(f"input {name!r} is missing, or None; the model needs {needed}")
        return {name: None}
    if "sequence" in info.kind:
        if not isinstance(given, (list, tuple)):
            raise InputError(f"input {name!r} is a list of arrays, not {type(given).__name__}")
        return {f"{name}[{i}]": _tensor(f"{name}[{i}]", item, info) for i, item in enumerate(given)}
    if info.kind == "map":
        return dict(zip(map_parts(name), _dictionary(name, given, info.dtype)))
    return {name: _tensor(name, given, info)}


def _dictionary(name: str, given: Any, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values of a dict as vectors."""
    if not isinstance(given, Mapping):
        raise InputError(f"input {name!r} is a dict, not {type(given).__name__}")
    texts = all(isinstance(key, str) for key in given)
    if not texts and not all(isinstance(key, (int, np.integer)) for key in given):
        raise InputError(f"the keys of input {name!r} are all strings or all integers")
    try:
        keys, values = np.empty(len(given), object if texts else np.int64), np.empty(len(given), dtype)
        keys[:], values[:] = list(given), list(given.values())
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"the values of input {name!r} are no numbers of type {dtype}") from None
    return keys, values


def _tensor(name: str, given: Any, info: Any) -> np.ndarray:
    if info.dtype == np.dtype(object):
        array = _strings(name, given)
    else:
        array = np.ascontiguousarray(as_array(name, given, info.dtype)).reshape(np.shape(given))
        if array.dtype != info.dtype:
            raise InputError(f"input {name!r} is {array.dtype}, the model needs {info.dtype}; convert with .astype()")
    if info.shape is not None:
        check_shape(name, array.shape, info.shape, {})
    return array


def _strings(name: str, given: Any) -> np.ndarray:
    array = np.asarray(given) if hasattr(given, "dtype") else np.asarray(given, object)
    if array.dtype.kind not in "OUS":
        raise InputError(f"input {name!r} is {array.dtype}, the model needs strings")
    made = np.empty(array.shape, object)
    for place, item in np.ndenumerate(array):
        text = item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else item
        if not isinstance(text, str):
            raise InputError(f"input {name!r} holds {type(item).__name__}, the model needs strings")
        made[place] = str(text)
    return made


def texts(arrays: Mapping[str, Any], files: Collection[str]) -> dict[str, np.ndarray]:
    """Those of ``arrays`` (None among them) that the host works on: strings, and inputs that are ``files``."""
    return {n: a for n, a in arrays.items() if a is not None and (a.dtype == object or n in files)}


def parts(structure: Mapping[str, Any], names: Collection[str]) -> frozenset[str]:
    """The graph's outputs that the outputs ``names`` are made of, but for strings."""

    def within(item: Any) -> Iterator[str]:
        if isinstance(item, str):
            yield item
        elif isinstance(item, list):
            for part in item:
                yield from within(part)

    return frozenset(part for name in names for part in within(structure[name]))


def flat(outputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Arrays only: a sequence ``s`` as ``s[0]``, ``s[1]`` ..., strings in NumPy's own type, no empty optionals."""
    found: dict[str, np.ndarray] = {}
    for name, item in outputs.items():
        if isinstance(item, list):
            found |= flat({f"{name}[{i}]": part for i, part in enumerate(item)})
        elif isinstance(item, dict):
            found[name] = np.array(list(item.values()))
        elif item is not None:
            found[name] = item.astype(str) if item.dtype == object else item
    return found


def assembled(structure: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs by name from the graph's, as :attr:`~a1400.graph.graph.Graph.results` says."""

    def place(item: Any) -> Any:
        if isinstance(item, str):
            return results[item]
        if isinstance(item, Records):
            return item.assembled(np.asarray(results[item.rows]))
        if isinstance(item, tuple):
            name, strings = item
            return np.asarray(strings[results[name]], object)
        if isinstance(item, list):
            return [place(part) for part in item]
        return None if item is None else item.copy()

    return {name: place(item) for name, item in structure.items()}
