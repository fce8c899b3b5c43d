"""``ai.onnx.ml`` by composition: features brought into form, linear models, support vectors for regression."""

from __future__ import annotations

import math

import numpy as np

from a1400.errors import GraphError, InputError
from a1400.frontends.onnx.compaction import I32, I64
from a1400.frontends.onnx.context import Ctx, Item
from a1400.frontends.onnx.ops.labels import places
from a1400.frontends.onnx.ops.registry import MAYBE_STRINGS, translates
from a1400.frontends.onnx.ops.strings import OBJECT
from a1400.frontends.onnx.spelled import spelled
from a1400.graph.graph import Value

DOMAIN = "ai.onnx.ml"
_WINITZKI = 0.147


def class_labels(c: Ctx, name: str) -> np.ndarray:
    """The labels of a classifier, int64 or strings; ``name`` is the attribute of those that are integers."""
    labels, words = c.ints(name), c.attr("classlabels_strings", None, tuple)
    if labels is None and words is None:
        raise GraphError(f"one of {name} and classlabels_strings is needed")
    made = np.empty(len(labels or words or ()), np.int64 if labels else object)
    made[:] = labels or words
    return made


def labels_of(c: Ctx, labels: np.ndarray, index: Value) -> Item:
    """The label of each index."""
    if labels.dtype == OBJECT:
        return spelled(c, c.cast(index, I32), labels)
    return c.op("gather", c.const(labels), c.cast(index, I64), axis=0)


def transformed(c: Ctx, scores: Value, how: str) -> Value:
    """Scores ``[rows, n]`` after a ``post_transform``."""
    if how == "NONE":
        return scores
    if how == "SOFTMAX":
        return c.op("softmax", scores, axis=1)
    if how == "LOGISTIC":
        return c.op("sigmoid", scores)
    if how == "SOFTMAX_ZERO":  # zeros stay zeros, and take no part
        zero = c.op("eq", scores, c.scalar(0, scores))
        soft = c.op("softmax", c.op("where", zero, c.scalar(-np.inf, scores), scores), axis=1)
        return c.op("where", zero, c.scalar(0, scores), soft)
    if how == "PROBIT":
        return _probit(c, scores)
    raise GraphError(f"there is no post_transform {how!r}")


def _probit(c: Ctx, p: Value) -> Value:
    """Where the normal distribution reaches ``p``, as ONNX's tools compute it: by Winitzki's approximation (2008) of
    the inverse error function, whose error is up to 0.002."""
    x = c.op("sub", c.op("mul", p, c.scalar(2, p)), c.scalar(1, p))
    rest = c.op("sub", c.scalar(1, p), c.op("mul", x, x))
    log = c.op("log", rest)
    half = c.op("add", c.op("mul", log, c.scalar(0.5, p)), c.scalar(2 / (math.pi * _WINITZKI), p))
    root = c.op("sqrt", c.op("sub", c.op("mul", half, half), c.op("mul", log, c.scalar(1 / _WINITZKI, p))))
    far = c.op("mul", c.op("sqrt", c.op("sub", root, half)), c.scalar(math.sqrt(2), p))
    signed = c.op("where", c.op("lt", x, c.scalar(0, p)), c.op("neg", far), far)
    return c.op("where", c.op("eq", rest, c.scalar(0, p)), c.scalar(0, p), signed)


def _row(c: Ctx, values: tuple[float, ...], x: Value) -> Value:
    """Numbers of a list in the dtype of ``x``: one for all, or one per column."""
    if len(values) not in (1, x.shape[-1] if x.rank else 1):
        raise GraphError(f"{len(values)} numbers for {x.shape[-1]} columns")
    return c.const(np.array(values, x.dtype))


@translates("Scaler", domain=DOMAIN)
def scaler(c: Ctx) -> Value:
    """``(x - offset) * scale``."""
    x = c.cast(c[0], np.float32)
    offset, scale = c.floats("offset", (0.0,)), c.floats("scale", (1.0,))
    return c.op("mul", c.op("sub", x, _row(c, offset, x)), _row(c, scale, x))


@translates("Normalizer", domain=DOMAIN)
def normalizer(c: Ctx) -> Value:
    """Each row over its largest element, its sum of magnitudes or its length; a row of zeros stays."""
    x, norm = c.cast(c[0], np.float32), c.text("norm", "MAX")
    if norm not in ("MAX", "L1", "L2"):
        raise GraphError(f"there is no norm {norm!r}")
    size = c.reduce({"MAX": "max", "L1": "l1", "L2": "l2"}[norm], x, (x.rank - 1,))
    return c.op("div", x, c.op("where", c.op("eq", size, c.scalar(0, size)), c.scalar(1, size), size))


@translates("Imputer", domain=DOMAIN)
def imputer(c: Ctx) -> Value:
    """One value replaced, NaN among them."""
    x = c[0]
    if x.dtype.kind == "f":
        wanted, values = c.number("replaced_value_float", 0.0), c.floats("imputed_value_floats")
    else:
        wanted, values = c.integer("replaced_value_int64", 0), c.ints("imputed_value_int64s")
    if values is None:
        raise GraphError(f"there is no value to put into {x}")
    missing = c.op("isnan", x) if wanted != wanted else c.op("eq", x, c.scalar(wanted, x))
    return c.op("where", missing, _row(c, values, x), x)


@translates("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(c: Ctx) -> Value:
    """The first columns of each input, side by side, as float32."""
    parts = c.tensors()
    sizes = c.ints("inputdimensions") or tuple(x.shape[-1] for x in parts)
    rows = [c.cast(x if x.rank == 2 else c.reshape(x, (1, x.size)), np.float32) for x in parts]
    return c.concat([c.slice(x, 1, 0, min(n, x.shape[1])) for x, n in zip(rows, sizes)], 1)


@translates("OneHotEncoder", domain=DOMAIN, runs=MAYBE_STRINGS)
def one_hot_encoder(c: Ctx) -> Value:
    """1 where an element is the category, on a new last axis; with zeros=0 every element must be one."""
    categories, words = c.ints("cats_int64s"), c.attr("cats_strings", None, tuple)
    if categories is None and words is None:
        raise GraphError("one of cats_int64s and cats_strings is needed")
    count = len(categories or words or ())
    if words:
        keys = np.empty(count, object)
        keys[:] = words
        x = places(c, keys)  # strings become numbers on the host
        known = c.const(np.arange(count, dtype=x.dtype))
    else:
        x, known = c.cast(c[0], I64), c.const(np.array(categories, np.int64))
    same = c.op("eq", c.reshape(x, (*x.shape, 1)), known)
    encoded = c.cast(same, np.float32)
    if not c.integer("zeros", 1) and x.size:
        found = c.reduce("max", c.reshape(encoded, (x.size, count)), (1,), keepdims=False)
        if c.need_value(c.reduce("min", found, (0,), keepdims=False), "whether all are categories", keep=[encoded]) < 1:
            raise InputError("an element is none of the encoder's categories, which zeros=0 forbids")
    return encoded


def _product(c: Ctx, x: Value, rows: int) -> Value:
    """Rows of ``x`` times the rows of the coefficients, plus the intercepts."""
    weights = np.array(c.floats("coefficients", ()), x.dtype)
    if rows < 1 or weights.size != rows * x.shape[-1]:
        raise GraphError(f"{weights.size} coefficients for {rows} times {x.shape[-1]}")
    y = c.op("matmul", x, c.const(np.ascontiguousarray(weights.reshape(rows, -1).T)))
    intercepts = c.floats("intercepts")
    return y if intercepts is None else c.op("add", y, _row(c, intercepts, y))


@translates("LinearRegressor", domain=DOMAIN)
def linear_regressor(c: Ctx) -> Value:
    """``x . coefficients + intercepts``."""
    x = c[0] if c[0].rank == 2 else c.reshape(c[0], (1, c[0].size))
    y = _product(c, c.cast(x, np.float32), c.integer("targets", 1))
    return transformed(c, y, c.text("post_transform", "NONE"))


@translates("LinearClassifier", domain=DOMAIN)
def linear_classifier(c: Ctx) -> object:
    """Labels and scores; one score for two classes is completed as ONNX Runtime does it."""
    x = c[0] if c[0].rank == 2 else c.reshape(c[0], (1, c[0].size))
    x, labels = c.cast(x, np.float32), class_labels(c, "classlabels_ints")
    how = c.text("post_transform", "NONE")
    scores = _product(c, x, len(c.floats("coefficients", ())) // max(x.shape[1], 1))
    if scores.shape[1] == 1:
        if len(labels) != 2:
            raise GraphError(f"one score is for two classes, not for {len(labels)}")
        positive = c.op("gt", scores, c.scalar(0, scores))
        best = c.reshape(c.cast(positive, I64), (x.shape[0],))
        if how == "LOGISTIC":
            scores = c.concat([c.op("neg", scores), scores], 1)
        elif how != "PROBIT":  # that has no counterpart
            scores, how = c.concat([c.op("sub", c.scalar(1, scores), scores), scores], 1), "NONE"
    else:
        best = c.op("arg_reduce", scores, kind="argmax", axis=1, keepdims=False, select_last=False)
    return labels_of(c, labels, best), transformed(c, scores, how)


@translates("SVMRegressor", domain=DOMAIN)
def svm_regressor(c: Ctx) -> Value:
    """A weighted sum of kernels with the support vectors."""
    x = c.cast(c[0] if c[0].rank == 2 else c.reshape(c[0], (1, c[0].size)), np.float32)
    count, rho = c.integer("n_supports", 0), c.floats("rho", (0.0,))[0]
    coefficients = np.array(c.floats("coefficients", ()), np.float32)
    if count:
        vectors = np.array(c.floats("support_vectors", ()), np.float32).reshape(count, -1)
        y = c.op("matmul", kernels(c, x, vectors), c.const(coefficients.reshape(count, 1)))
    else:
        y = kernels(c, x, coefficients.reshape(1, -1))
    y = c.op("add", y, c.scalar(rho, y))
    if c.integer("one_class", 0):
        above = c.op("gt", y, c.scalar(0, y))
        return c.op("where", above, c.scalar(1, y), c.scalar(-1, y))
    return transformed(c, y, c.text("post_transform", "NONE"))


def kernels(c: Ctx, x: Value, vectors: np.ndarray, kind: str | None = None) -> Value:
    """The kernel function of each row of ``x`` with each of ``vectors``."""
    kind = kind or c.text("kernel_type", "LINEAR")
    gamma, coefficient, degree = (*c.floats("kernel_params", ()), 0.0, 0.0, 0.0)[:3]
    products = c.op("matmul", x, c.const(np.ascontiguousarray(vectors.T)))
    if kind == "LINEAR":
        return products
    if kind == "RBF":
        wide = c.op("sub", c.reshape(x, (x.shape[0], 1, x.shape[1])), c.const(vectors[None]))
        return c.op("exp", c.op("mul", c.reduce("sum_square", wide, (2,), keepdims=False), c.scalar(-gamma, x)))
    inner = c.op("add", c.op("mul", products, c.scalar(gamma, x)), c.scalar(coefficient, x))
    if kind == "POLY":
        return c.op("pow", inner, c.scalar(degree, x))
    if kind == "SIGMOID":
        return c.op("tanh", inner)
    raise GraphError(f"there is no kernel_type {kind!r}")
