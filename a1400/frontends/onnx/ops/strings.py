"""Strings: worked on while tracing, as arrays of objects; they never reach a device."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np

from a1400 import dtypes
from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import STRINGS, translates
from a1400.graph.graph import Value

OBJECT = np.dtype(object)


def text(c: Ctx, i: int) -> np.ndarray:
    """Input ``i``, strings."""
    if c[i].dtype != OBJECT:
        raise GraphError(f"input {i} is {c[i].dtype} where strings are needed")
    return c.need(i, "what to do with strings")


def array_of(items: list[str], shape: tuple[int, ...]) -> np.ndarray:
    """Strings as an array."""
    made = np.empty(len(items), object)
    made[:] = items
    return made.reshape(shape)


def written(array: np.ndarray) -> np.ndarray:
    """Numbers as strings: truth values as 0 and 1, floats with eight digits, float64 with as many as it needs."""
    made = []
    for item in array.reshape(-1):
        if array.dtype.kind in "biu":
            made.append(str(int(item)))
        elif np.isfinite(np.float64(item)):
            digits = (15, 16, 17) if array.dtype == np.float64 else (8,)
            texts = [f"{float(item):.{n}g}" for n in digits]
            made.append(next((text for text in texts if float(text) == item), texts[-1]))
        else:
            made.append("NaN" if np.isnan(np.float64(item)) else "INF" if item > 0 else "-INF")
    return array_of(made, array.shape)


def numbers(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """What strings such as "3", "-1.5e3", "NaN" and "INF" say; raises :class:`GraphError` for others."""
    whole = dtypes.is_int(dtype)
    if not whole and not dtypes.is_float(dtype):
        raise GraphError(f"strings cannot become {dtype}")
    made = np.empty(array.shape, dtype)
    for place, item in np.ndenumerate(array):
        try:
            if "_" in item:  # Python's numbers may hold them
                raise ValueError(item)
            made[place] = int(item) if whole else float(item)
        except (ValueError, OverflowError):
            raise GraphError(f"the string {item[:40]!r} is no number of type {dtype}") from None
    return made


@translates("StringConcat", runs=STRINGS)
def string_concat(c: Ctx) -> Value:
    """Pairs joined; the operands broadcast."""
    return c.const(np.asarray(np.add(text(c, 0), text(c, 1)), object))


@translates("StringSplit", runs=STRINGS)
def string_split(c: Ctx) -> object:
    """Pieces along a new last axis, filled up with empty strings, and how many each string has."""
    x, limit = text(c, 0), c.attr("maxsplit", None, int)
    delimiter = c.text("delimiter", "") or None
    pieces = [s.split(delimiter, -1 if limit is None else limit) for s in x.reshape(-1)]
    most = max(map(len, pieces), default=0)
    filled = [piece for row in pieces for piece in [*row, *[""] * (most - len(row))]]
    counts = np.array(list(map(len, pieces)), np.int64).reshape(x.shape)
    return c.const(array_of(filled, (*x.shape, most))), c.const(counts)


@translates("RegexFullMatch", runs=STRINGS)
def regex_full_match(c: Ctx) -> Value:
    """Whether the pattern matches all of a string."""
    matches, x = _matcher(c, c.text("pattern")), text(c, 0)
    return c.const(np.array([matches(s) for s in x.reshape(-1)], np.bool_).reshape(x.shape))


def _matcher(c: Ctx, pattern: str) -> Callable[[str], bool]:
    """Whether a string matches: by RE2, as ONNX wants it, in time linear in the string for every pattern."""
    try:
        import re2
    except ImportError:
        raise c.unsupported("regular expressions need RE2: pip install google-re2") from None
    options = re2.Options()
    options.never_capture, options.log_errors = True, False
    try:
        compiled: Any = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else reason
        raise GraphError(f"the pattern {pattern!r} is no regular expression of RE2: {reason}") from None
    return lambda s: compiled.fullmatch(s.encode("utf-8", "surrogateescape")) is not None


@translates("StringNormalizer", runs=STRINGS)
def string_normalizer(c: Ctx) -> Value:
    """Stop words taken out, letters made upper or lower case, accents dropped; at least one string stays."""
    x, action = text(c, 0), c.text("case_change_action", "NONE")
    stops, exact = c.attr("stopwords", (), tuple), c.flag("is_case_sensitive")
    changes: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    change = changes.get(action)
    if change is None or x.ndim not in (1, 2) or (x.ndim == 2 and x.shape[0] != 1):
        raise GraphError(f"strings of shape [C] or [1, C] are needed, not {list(x.shape)} (action {action!r})")
    same: Callable[[str], str] = str if exact else str.lower
    dropped = {same(word) for word in stops}
    kept = [change(_plain(s)) for s in x.reshape(-1) if same(s) not in dropped] or [""]
    return c.const(array_of(kept, (len(kept),) if x.ndim == 1 else (1, len(kept))))


def _plain(s: str) -> str:
    """``s`` without accents."""
    return "".join(ch for ch in unicodedata.normalize("NFKD", s) if not unicodedata.combining(ch))
