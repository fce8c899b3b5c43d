"""TfIdfVectorizer: how often each n-gram of a pool occurs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.registry import MAYBE_STRINGS, translates
from a1400.graph.graph import Value


def _pool(c: Ctx) -> list[np.ndarray]:
    """The pool's n-grams, an array [count, n] for each n from 1."""
    words, texts = c.ints("pool_int64s"), c.attr("pool_strings", None, tuple)
    if (words is None) == (texts is None):
        raise GraphError("a pool of either numbers or strings is needed")
    pool = np.array(words, np.int64) if texts is None else np.array(texts, object)
    starts = [*(c.ints("ngram_counts") or ()), pool.size]
    grams = []
    for n, (start, end) in enumerate(pairwise(starts), 1):
        if not 0 <= start <= end <= pool.size or (end - start) % n:
            raise GraphError(f"{end - start} items of the pool are no {n}-grams")
        grams.append(pool[start:end].reshape(-1, n))
    return grams


@translates("TfIdfVectorizer", runs=MAYBE_STRINGS)
def tfidf(c: Ctx) -> Value:
    """Occurrences in each row of x[C] or x[N, C], as counts, weights where there are any, or their product."""
    x, mode = c[0], c.text("mode")
    shortest, longest, skips = (c.integer(n) for n in ("min_gram_length", "max_gram_length", "max_skip_count"))
    grams, columns = _pool(c), c.ints("ngram_indexes")
    if columns is None or len(columns) != sum(map(len, grams)) or mode not in ("TF", "IDF", "TFIDF"):
        raise GraphError("'ngram_indexes' or 'mode' does not fit the pool")
    if x.rank not in (1, 2) or not 1 <= shortest <= longest or skips < 0:
        raise GraphError(f"{shortest}- to {longest}-grams with skips up to {skips} of {list(x.shape)}")
    rows = c.reshape(x, (1, *x.shape)) if x.rank == 1 else x
    weights = c.floats("weights")
    factors = np.ones(len(columns), np.float32) if weights is None else np.array(weights, np.float32)
    if len(factors) != len(columns) or sorted(columns) != list(range(len(columns))):
        raise GraphError("'ngram_indexes' is no order of the pool, or 'weights' are not one for each n-gram")
    parts = []
    for n, wanted in enumerate(grams, 1):
        if not len(wanted):
            continue
        count: Value = c.expand(c.scalar(0, np.float32), (rows.shape[0], len(wanted)))
        # items further apart than a row is long are in none
        farthest = min(skips, rows.shape[1] // (n - 1)) if n > 1 else 0
        for skip in range(farthest + 1) if shortest <= n <= longest else ():
            places = rows.shape[1] - (n - 1) * (skip + 1)
            if places > 0:
                count = c.op("add", count, _found(c, rows, wanted, skip + 1, places))
        parts.append(count)
    found = c.concat(parts, 1) if parts else c.const(np.zeros((rows.shape[0], 0), np.float32))
    order = np.argsort(np.array(columns, np.int64), kind="stable")
    found = c.op("gather", found, c.const(order), axis=1)
    factor = c.const(factors)
    if mode == "IDF":
        found = c.op("where", c.op("gt", found, c.scalar(0, found)), c.expand(factor, found.shape), c.scalar(0, found))
    elif mode == "TFIDF":
        found = c.op("mul", found, factor)
    return c.reshape(found, found.shape[1:]) if x.rank == 1 else found


def _found(c: Ctx, rows: Value, wanted: np.ndarray, step: int, places: int) -> Value:
    """How often each of wanted[count, n] stands in rows[N, C] with its items ``step`` apart: f32 [N, count]."""
    hit: Value | None = None
    for k in range(wanted.shape[1]):
        piece = c.reshape(c.slice(rows, 1, k * step, places), (rows.shape[0], 1, places))
        item = wanted[:, k].reshape(-1, 1)
        same = c.op("eq", piece, c.const(item if item.dtype == object else item.astype(rows.dtype)))
        hit = same if hit is None else c.op("and", hit, same)
    assert hit is not None
    return c.reduce("sum", c.cast(hit, np.float32), (2,), keepdims=False)
