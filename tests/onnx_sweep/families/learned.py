"""Models of classical machine learning (domain ai.onnx.ml)."""

from __future__ import annotations

import numpy as np

from tests.onnx_sweep.case import EXACT, SUMS, Draw, Node, Tolerance, sweep

DOMAIN = "ai.onnx.ml"
FLOAT = ("float",)


@sweep("Binarizer", tolerance=EXACT, types=FLOAT, domain=DOMAIN)
def binarizer(draw: Draw) -> Node:
    return Node([draw.values(draw.shape((1, 3), empty=0.0))], {"threshold": 0.25} if draw.chance(0.7) else {})


@sweep("Scaler", tolerance=SUMS, types=("float", "int32", "int64", "double"), domain=DOMAIN)
def scaler(draw: Draw) -> Node:
    rows, columns = draw.size(129), draw.size(129)
    one = draw.chance(0.2)
    offset, scale = (draw.rng.uniform(0.5, 2, 1 if one else columns).astype(np.float32).tolist() for _ in range(2))
    return Node([draw.values((rows, columns), -9, 9)], {"offset": offset, "scale": scale}, scale=9)


@sweep("Normalizer", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def normalizer(draw: Draw) -> Node:
    x = draw.values((draw.size(129), draw.size(129)), 0.1, 3)
    return Node([x], {"norm": draw.choose(["MAX", "L1", "L2"])})


@sweep("Imputer", tolerance=EXACT, types=FLOAT, domain=DOMAIN)
def imputer(draw: Draw) -> Node:
    rows, columns = draw.size(129), draw.size(65)
    x = draw.values((rows, columns), -9, 9)
    hole = draw.choose([np.nan, 3.0])
    x[draw.rng.random(x.shape) < 0.2] = hole
    many = draw.rng.uniform(-1, 1, columns if draw.chance(0.7) else 1).astype(np.float32).tolist()
    return Node([x], {"imputed_value_floats": many, "replaced_value_float": float(hole)})


@sweep("ArrayFeatureExtractor", tolerance=EXACT, types=("float", "double", "int32", "int64"), domain=DOMAIN)
def extractor(draw: Draw) -> Node:
    x = draw.values((draw.size(65), draw.size(65)), -9, 9)
    return Node([x, draw.rng.integers(0, x.shape[1], draw.size(33)).astype(np.int64)])


@sweep("OneHotEncoder", tolerance=EXACT, types=("float", "int64"), domain=DOMAIN)
def encoder(draw: Draw) -> Node:
    x = draw.rng.integers(0, 6, draw.shape((1, 2), 4000, empty=0.0)).astype(draw.dtype)
    return Node([x], {"cats_int64s": [int(v) for v in draw.rng.permutation(6)[: draw.integer(1, 6)]], "zeros": 1})


@sweep("LinearRegressor", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def regressor(draw: Draw) -> Node:
    rows, columns, targets = draw.size(129), draw.size(129), draw.choose([1, 2, 7, 17])
    attrs: dict[str, object] = {
        "coefficients": draw.values((targets * columns,), -1, 1).tolist(),
        "intercepts": draw.values((targets,), -1, 1).tolist(),
        "targets": targets,
    }
    return Node([draw.values((rows, columns), -1, 1)], attrs, scale=columns**0.5)


@sweep("LinearClassifier", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def classifier(draw: Draw) -> Node:
    rows, columns, classes = draw.size(129), draw.size(65), draw.choose([3, 5, 17])
    attrs: dict[str, object] = {
        "coefficients": draw.values((classes * columns,), -1, 1).tolist(),
        "intercepts": draw.values((classes,), -1, 1).tolist(),
        "classlabels_ints": [int(v) for v in draw.rng.permutation(100)[:classes]],
        "post_transform": draw.choose(["NONE", "SOFTMAX", "LOGISTIC"]),
        "multi_class": 1,
    }
    return Node([draw.values((rows, columns), -1, 1)], attrs, outputs=2, scale=columns**0.5)


def _trees(draw: Draw, columns: int, depth: int, count: int) -> dict[str, list]:
    """Full trees of that depth in heap order: node n has 2n + 1 (true) and 2n + 2 below it."""
    inner, every = 2**depth - 1, 2 ** (depth + 1) - 1
    nodes: dict[str, list] = {n: [] for n in ("treeids", "nodeids", "featureids", "values", "modes")}
    nodes |= {n: [] for n in ("truenodeids", "falsenodeids")}
    for tree in range(count):
        for at in range(every):
            leaf = at >= inner
            nodes["treeids"].append(tree)
            nodes["nodeids"].append(at)
            nodes["featureids"].append(0 if leaf else draw.integer(0, columns - 1))
            nodes["values"].append(0.0 if leaf else float(np.float32(draw.rng.uniform(-1, 1))))
            nodes["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            nodes["truenodeids"].append(0 if leaf else 2 * at + 1)
            nodes["falsenodeids"].append(0 if leaf else 2 * at + 2)
    return {f"nodes_{name}": values for name, values in nodes.items()}


@sweep("TreeEnsembleRegressor", tolerance=SUMS, types=FLOAT, domain=DOMAIN)
def forest(draw: Draw) -> Node:
    rows, columns, depth, count = draw.size(257), draw.choose([1, 3, 17, 33]), draw.integer(1, 5), draw.integer(1, 9)
    targets = draw.choose([1, 1, 3])
    leaves = [(tree, 2**depth - 1 + leaf) for tree in range(count) for leaf in range(2**depth)]
    attrs: dict[str, object] = {
        **_trees(draw, columns, depth, count),
        "target_treeids": [tree for tree, _ in leaves],
        "target_nodeids": [node for _, node in leaves],
        "target_ids": [draw.integer(0, targets - 1) for _ in leaves],
        "target_weights": draw.values((len(leaves),), -1, 1).tolist(),
        "n_targets": targets,
        "aggregate_function": draw.choose(["SUM", "AVERAGE"]),
    }
    return Node([draw.values((rows, columns), -1, 1)], attrs, scale=count)


@sweep(
    "SVMRegressor",
    tolerance=Tolerance("sums and exponentials in another order", rel=64.0, abs=64.0),
    types=FLOAT,
    domain=DOMAIN,
)
def svm(draw: Draw) -> Node:
    rows, columns, vectors = draw.size(129), draw.choose([1, 3, 17, 33]), draw.size(33)
    attrs: dict[str, object] = {
        "kernel_type": draw.choose(["LINEAR", "RBF", "POLY", "SIGMOID"]),
        "kernel_params": [0.3, 0.5, 2.0],
        "support_vectors": draw.values((vectors * columns,), -1, 1).tolist(),
        "coefficients": draw.values((vectors,), -1, 1).tolist(),
        "n_supports": vectors,
        "rho": [0.25],
    }
    return Node([draw.values((rows, columns), -1, 1)], attrs, scale=float(vectors * (1 + 0.3 * columns**0.5) ** 2))
