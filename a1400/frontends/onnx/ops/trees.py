"""Ensembles of decision trees (``ai.onnx.ml``): all rows walk all trees at once, one comparison deeper each step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from a1400.errors import GraphError
from a1400.frontends.onnx.compaction import I32, I64
from a1400.frontends.onnx.context import Ctx
from a1400.frontends.onnx.forest import MODES, Forest
from a1400.frontends.onnx.ops.learned import DOMAIN, class_labels, labels_of, transformed
from a1400.frontends.onnx.ops.registry import translates
from a1400.graph.graph import Value

_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def _features(c: Ctx) -> Value:
    x = c[0]
    if x.rank == 1:
        x = c.reshape(x, (1, x.size))
    if x.rank != 2:
        raise GraphError(f"rows of features are needed, not {list(x.shape)}")
    return x if x.dtype.kind == "f" else c.cast(x, np.float32)


def _walk(c: Ctx, x: Value, forest: Forest, roots: list[int]) -> Value:
    """The leaf of each row of ``x`` in each tree, i32 ``[rows, trees]``."""
    if max(forest.feature) >= x.shape[1] or min(forest.feature) < 0:
        raise GraphError(f"a tree asks for feature {max(forest.feature)} of {x.shape[1]}")
    tables = [
        c.const(np.array(column, dtype)) for column, dtype in (
            (forest.feature, I32), (forest.split, x.dtype), (forest.yes, I32), (forest.no, I32),
            (forest.nan, np.dtype(np.uint8)),
        )
    ]  # fmt: skip
    at = c.expand(c.const(np.array([roots], I32)), (x.shape[0], len(roots)))
    for _ in range(forest.depth(roots)):
        feature, split, yes, no, nan = (c.op("gather", table, at, axis=0) for table in tables)
        value = c.op("gather_elements", x, feature, axis=1)
        missing = c.op("and", c.op("isnan", value), c.op("gt", nan, c.scalar(0, nan)))
        at = c.op("where", c.op("or", c.op("le", value, split), missing), yes, no)
    return at


def _gathered(
    c: Ctx, leaves: Value, count: int, targets: int, weights: list[tuple[int, int, float]], how: str, dtype: np.dtype
) -> Value:
    """Weights of the leaves by target, over all trees: ``[rows, targets]``; ``weights`` are (leaf, target, weight)."""
    empty = {"MIN": np.inf, "MAX": -np.inf}.get(how, 0.0)
    table = np.full((count, targets), empty, dtype)
    for leaf, target, weight in weights:
        if not 0 <= target < targets:
            raise GraphError(f"a leaf adds to target {target} of {targets}")
        here = table[leaf, target]
        table[leaf, target] = {"MIN": min(here, weight), "MAX": max(here, weight)}.get(how, here + weight)
    each = c.op("gather", c.const(table), leaves, axis=0)
    kind = {"MIN": "min", "MAX": "max", "AVERAGE": "mean"}.get(how, "sum")
    found = c.reduce(kind, each, (1,), keepdims=False)
    if empty:  # nothing was said about a target
        found = c.op("where", c.op("eq", found, c.scalar(empty, found)), c.scalar(0, found), found)
    return found


def _numbers(c: Ctx, name: str) -> np.ndarray | None:
    """A list of floats, or the tensor of doubles that newer opsets allow instead."""
    tensor = c.attr(f"{name}_as_tensor", None, np.ndarray)
    listed = c.floats(name)
    if tensor is not None:
        return tensor.reshape(-1)
    return None if listed is None else np.array(listed, np.float32)


def _named_forest(c: Ctx) -> tuple[Forest, list[int], dict[tuple[int, int], int]]:
    """The forest of the older operators, its roots, and (tree, node) to a number in the forest."""
    trees, nodes, modes = c.ints("nodes_treeids", ()), c.ints("nodes_nodeids", ()), c.attr("nodes_modes", (), tuple)
    yes, no, features = (c.ints(f"nodes_{n}", ()) for n in ("truenodeids", "falsenodeids", "featureids"))
    splits = _numbers(c, "nodes_values")
    nan = c.ints("nodes_missing_value_tracks_true") or (0,) * len(nodes)
    if splits is None or not len(trees) == len(nodes) == len(modes) == len(yes) == len(no) == len(splits) == len(nan):
        raise GraphError("the lists of the tree's nodes have different lengths")
    rows = {key: i for i, key in enumerate(zip(trees, nodes))}
    forest, places = Forest(), {}  # type: Forest, dict[tuple[int, int], int]

    def build(key: tuple[int, int]) -> None:
        """Children before parents, without recursion: trees may be deep."""
        stack, entered = [key], set()  # type: list[tuple[int, int]], set[tuple[int, int]]
        while stack:
            key = stack[-1]
            row = rows.get(key)
            if row is None:
                raise GraphError(f"tree {key[0]} has no node {key[1]}")
            children = [(key[0], yes[row]), (key[0], no[row])] if modes[row] != "LEAF" else []
            waiting = [child for child in children if child not in places]
            if key in places or not waiting:
                stack.pop()
                if key not in places:
                    places[key] = forest.leaf() if not children else forest.node(
                        MODES.index(modes[row]), features[row], float(splits[row]), places[children[0]],
                        places[children[1]], bool(nan[row]), splits.dtype,
                    )  # fmt: skip
                continue
            if key in entered:
                raise GraphError(f"tree {key[0]} comes back to node {key[1]}")
            entered.add(key)
            stack += waiting

    below = {(t, n) for t, m, y, f in zip(trees, modes, yes, no) if m != "LEAF" for n in (y, f)}
    roots = [key for key in rows if key not in below]
    for root in roots:
        build(root)
    return forest, [places[root] for root in roots], places


def _named_weights(c: Ctx, kind: str, places: dict[tuple[int, int], int]) -> tuple[list[tuple[int, int, float]], bool]:
    """(leaf, target, weight) of the older operators, and whether no weight is negative."""
    weights = _numbers(c, f"{kind}_weights")
    ids, trees, nodes = (c.ints(f"{kind}_{n}", ()) for n in ("ids", "treeids", "nodeids"))
    if weights is None or not len(ids) == len(trees) == len(nodes) == len(weights):
        raise GraphError("the lists of the tree's weights have different lengths")
    listed = [(places[t, n], int(i), float(w)) for i, t, n, w in zip(ids, trees, nodes, weights) if (t, n) in places]
    return listed, bool((weights >= 0).all())


def _plus(c: Ctx, scores: Value, base: np.ndarray | None) -> Value:
    return scores if base is None else c.op("add", scores, c.const(base.astype(scores.dtype).reshape(1, -1)))


@translates("TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble_regressor(c: Ctx) -> Value:
    """``[rows, targets]``, the trees' weights taken together."""
    x = _features(c)
    forest, roots, places = _named_forest(c)
    weights, _ = _named_weights(c, "target", places)
    leaves, how = _walk(c, x, forest, roots), c.text("aggregate_function", "SUM")
    scores = _gathered(c, leaves, len(forest.yes), c.integer("n_targets", 1), weights, how, x.dtype)
    scores = _plus(c, scores, _numbers(c, "base_values"))
    return c.cast(transformed(c, scores, c.text("post_transform", "NONE")), np.float32)


@translates("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(c: Ctx) -> object:
    """Labels ``[rows]`` and scores ``[rows, classes]``."""
    x, labels = _features(c), class_labels(c, "classlabels_int64s")
    forest, roots, places = _named_forest(c)
    weights, positive = _named_weights(c, "class", places)
    used = {target for _, target, _ in weights}
    base, how = _numbers(c, "base_values"), c.text("post_transform", "NONE")
    leaves = _walk(c, x, forest, roots)
    if len(labels) > 2 or len(used) > 1:
        scores = _plus(c, _gathered(c, leaves, len(forest.yes), len(labels), weights, "SUM", x.dtype), base)
        best = c.op("arg_reduce", scores, kind="argmax", axis=1, keepdims=False, select_last=False)
        if len(labels) == 2:  # ONNX Runtime asks the second score alone
            best = c.op("gt", c.reshape(c.slice(scores, 1, 1, 1), (x.shape[0],)), c.scalar(0, scores))
        return labels_of(c, labels, best), c.cast(transformed(c, scores, how), np.float32)
    weights = [(leaf, 0, weight) for leaf, _, weight in weights]
    score = _gathered(c, leaves, len(forest.yes), 1, weights, "SUM", x.dtype)
    score = _plus(c, score, None if base is None else base[-1:])
    if len(labels) == 1:  # whatever it is called, ONNX Runtime says 1 or 0
        above = c.cast(c.op("gt", score, c.scalar(0, score)), I64)
        scores = transformed(c, score, how) if how == "PROBIT" else score
        return c.reshape(above, (x.shape[0],)), c.cast(scores, np.float32)
    second = c.cast(c.op("gt", score, c.scalar(0.5 if positive else 0.0, score)), I64)
    first = c.op("sub", c.scalar(1, score), score) if positive and how != "LOGISTIC" else c.op("neg", score)
    pair = c.concat([first, score], 1)
    if how == "PROBIT":  # that has no counterpart
        pair = transformed(c, score, how)
    pair = transformed(c, pair, how) if how == "LOGISTIC" else pair
    return labels_of(c, labels, c.reshape(second, (x.shape[0],))), c.cast(pair, np.float32)


@translates("TreeEnsemble", since=5, domain=DOMAIN)
def tree_ensemble(c: Ctx) -> Value:
    """``[rows, targets]`` of trees given by node numbers, with comparisons with sets."""
    x = _features(c)
    splits, modes = (c.attr(n, None, np.ndarray) for n in ("nodes_splits", "nodes_modes"))
    weights, targets = c.attr("leaf_weights", None, np.ndarray), c.ints("leaf_targetids", ())
    yes, no, features, roots = (
        c.ints(n, ()) for n in ("nodes_truenodeids", "nodes_falsenodeids", "nodes_featureids", "tree_roots")
    )
    yes_leaf, no_leaf = c.ints("nodes_trueleafs", ()), c.ints("nodes_falseleafs", ())
    nan = c.ints("nodes_missing_value_tracks_true") or (0,) * len(yes)
    sets = _sets(c.attr("membership_values", None, np.ndarray), modes)
    forest = Forest()
    leaves = [forest.leaf() for _ in targets]
    places: dict[int, int] = {}

    def child(i: int, is_leaf: int) -> int:
        return leaves[i] if is_leaf else places[i]

    def make(i: int) -> int:
        ways = child(yes[i], yes_leaf[i]), child(no[i], no_leaf[i])
        if i in sets:
            return forest.member(features[i], sets[i], *ways, bool(nan[i]), splits.dtype)
        return forest.node(int(modes[i]), features[i], float(splits[i]), *ways, bool(nan[i]), splits.dtype)

    _children_first(
        roots, lambda i: [n for n, leaf in ((yes[i], yes_leaf[i]), (no[i], no_leaf[i])) if not leaf],
        lambda i: places.update({i: make(i)}), places,
    )  # fmt: skip
    # a tree of one leaf is a node whose ways both lead there
    at = _walk(c, x, forest, [places[root] for root in roots])
    listed = [(leaf, int(t), float(w)) for leaf, t, w in zip(leaves, targets, weights)]
    how = _AGGREGATES[c.integer("aggregate_function", 1)]
    scores = _gathered(c, at, len(forest.yes), c.integer("n_targets", 1), listed, how, x.dtype)
    return transformed(c, scores, _TRANSFORMS[c.integer("post_transform", 0)])


def _children_first(
    roots: tuple[int, ...], children: Callable[[int], list[int]], make: Callable[[int], None], made: dict[int, int]
) -> None:
    for root in roots:
        stack, entered = [root], set()  # type: list[int], set[int]
        while stack:
            waiting = [n for n in children(stack[-1]) if n not in made]
            if stack[-1] in made or not waiting:
                if stack[-1] not in made:
                    make(stack[-1])
                stack.pop()
            elif stack[-1] in entered:
                raise GraphError(f"the trees come back to node {stack[-1]}")
            else:
                entered.add(stack[-1])
                stack += waiting


def _sets(values: np.ndarray | None, modes: np.ndarray) -> dict[int, list[float]]:
    """Node to the members that it compares with: the nodes' lists one after the other, each ended by a NaN."""
    asking = [i for i, mode in enumerate(modes) if MODES[int(mode)] == "BRANCH_MEMBER"]
    if values is None:
        values = np.zeros(0, np.float32)
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) != len(asking):
        raise GraphError(f"{len(asking)} nodes compare with sets, and {len(ends)} sets are given")
    starts = [0, *(ends[:-1] + 1)]
    return {i: [float(v) for v in values[a:b]] for i, a, b in zip(asking, starts, ends)}
