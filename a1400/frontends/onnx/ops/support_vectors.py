"""SVMClassifier (``ai.onnx.ml``): votes of classifiers for all pairs of classes, and probabilities from them."""

from __future__ import annotations

import itertools

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.ops.learned import DOMAIN, class_labels, kernels, labels_of, transformed
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value


@translates("SVMClassifier", domain=DOMAIN)
def svm_classifier(c: Ctx) -> object:
    """Labels [rows], and scores: of the classes where there are probabilities or no support vectors, else of pairs."""
    x = c.cast(c[0] if c[0].rank == 2 else c.reshape(c[0], (1, c[0].size)), np.float32)
    labels, how = class_labels(c, "classlabels_ints"), c.text("post_transform", "NONE")
    counts, rho = c.ints("vectors_per_class") or (), np.array(c.floats("rho", ()), np.float32)
    coefficients = np.array(c.floats("coefficients", ()), np.float32)
    probable = bool(counts and c.floats("prob_a", ()))
    if not rho.size or not coefficients.size or any(n < 0 for n in counts):
        raise GraphError("'rho', 'coefficients' or 'vectors_per_class' does not fit")
    if sum(counts):
        scores, ranked = _pairs(c, x, counts, coefficients, rho)
        if probable:
            scores = _probabilities(c, scores, len(counts))
    else:
        table = coefficients.reshape(len(labels), -1)
        scores = c.op("add", kernels(c, x, table, "LINEAR"), c.scalar(rho[0], x))
        ranked = scores
    best = c.op("arg_reduce", ranked, kind="argmax", axis=1, keepdims=False, select_last=False)
    found = labels_of(c, labels, best)
    if scores.shape[1] == 1 and how != "PROBIT":
        scores = c.concat([c.op("neg", scores), scores], 1)
        how = how if how == "LOGISTIC" else "NONE"
    return found, transformed(c, scores, how)


def _pairs(
    c: Ctx, x: Value, counts: tuple[int, ...], coefficients: np.ndarray, rho: np.ndarray
) -> tuple[Value, Value]:
    """Scores of the pairs of classes [rows, pairs], and the classes' votes [rows, classes]."""
    total, classes = sum(counts), len(counts)
    vectors = np.array(c.floats("support_vectors", ()), np.float32).reshape(total, -1)
    table = coefficients.reshape(classes - 1, total)
    pairs = list(itertools.combinations(range(classes), 2))
    if len(rho) < len(pairs) or vectors.shape[1] != x.shape[1]:
        raise GraphError(f"{len(rho)} thresholds for {len(pairs)} pairs, {vectors.shape[1]} columns for {x.shape[1]}")
    owner = np.repeat(np.arange(classes), counts)
    weights = np.zeros((total, len(pairs)), np.float32)
    first, second = np.zeros((2, len(pairs), classes), np.float32)
    for n, (i, j) in enumerate(pairs):
        weights[owner == i, n], weights[owner == j, n] = table[j - 1, owner == i], table[i, owner == j]
        first[n, i] = second[n, j] = 1
    scores = c.op("matmul", kernels(c, x, vectors), c.const(weights))
    scores = c.op("add", scores, c.const(rho[: len(pairs)]))
    for_first = c.cast(c.op("gt", scores, c.scalar(0, scores)), np.float32)
    # a vote for the second class of a pair is one less for the first
    votes = c.op("matmul", for_first, c.const(first - second))
    return scores, c.op("add", votes, c.const(second.sum(0)))


def _probabilities(c: Ctx, scores: Value, classes: int) -> Value:
    """Platt's sigmoids of the pairs' scores, coupled to probabilities of the classes [rows, classes]."""
    a, b = (np.array(c.floats(name, ()), np.float32) for name in ("prob_a", "prob_b"))
    if not len(a) == len(b) == scores.shape[1]:
        raise GraphError(f"{len(a)} and {len(b)} parameters of sigmoids for {scores.shape[1]} pairs")
    inner = c.op("add", c.op("mul", scores, c.const(a)), c.const(b))
    p = c.op("sigmoid", c.op("neg", inner))
    p = c.op("min", c.op("max", p, c.scalar(1e-7, p)), c.scalar(1 - 1e-7, p))
    both = c.concat([p, c.op("sub", c.scalar(1, p), p)], 1)
    place = np.zeros((classes, classes), np.int64)
    for n, (i, j) in enumerate(itertools.combinations(range(classes), 2)):
        place[i, j], place[j, i] = n, n + scores.shape[1]
    return c.op("pairwise_coupling", c.op("gather", both, c.const(place), axis=1))
