"""``ai.onnx.ml``: features, linear models, support vectors and trees, as ONNX Runtime computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.frontends.building import check, f32, ints, model_of


def _check(op: str, *inputs: np.ndarray, outputs: int = 1, **attrs: Any) -> None:
    feeds = {f"x{i}": array for i, array in enumerate(inputs)}
    names = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, list(feeds), names, domain="ai.onnx.ml", **attrs)
    check(model_of([node], feeds, {}, names, opsets=[helper.make_opsetid("ai.onnx.ml", 3)]), feeds)


def test_features() -> None:
    x = f32(6, 3)
    _check("Scaler", x, offset=[0.5, 1.0, -1.0], scale=[2.0, 0.5, 1.0])
    _check("Scaler", ints(4, 3), offset=[1.0], scale=[0.5])
    for norm in ("MAX", "L1", "L2"):
        _check("Normalizer", np.abs(x), norm=norm)
    holes = x.copy()
    holes[1, 2] = holes[4, 0] = np.nan
    _check("Imputer", holes, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float("nan"))
    _check("Imputer", ints(5, 2), imputed_value_int64s=[7], replaced_value_int64=3)
    _check("FeatureVectorizer", x, f32(6, 2), inputdimensions=[3, 2])
    _check("OneHotEncoder", ints(7), cats_int64s=[3, -2, 0], zeros=1)


@pytest.mark.parametrize("how", ["NONE", "SOFTMAX", "LOGISTIC"])
def test_linear(how: str) -> None:
    x = f32(6, 3)
    many = {"coefficients": f32(12).tolist(), "intercepts": [0.1, 0.2, 0.3, -0.4], "post_transform": how}
    _check("LinearRegressor", x, targets=4, **{**many, "post_transform": "NONE"})
    _check("LinearClassifier", x, outputs=2, classlabels_ints=[4, 8, 1, 3], **many)
    _check(
        "LinearClassifier", x, outputs=2, classlabels_ints=[4, 8], coefficients=f32(3).tolist(), intercepts=[0.1],
        post_transform=how,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["LINEAR", "POLY", "RBF", "SIGMOID"])
def test_support_vectors(kind: str) -> None:
    _check(
        "SVMRegressor", f32(6, 3), kernel_type=kind, kernel_params=[0.3, 0.5, 2.0], n_supports=4,
        support_vectors=f32(12).tolist(), coefficients=f32(4).tolist(), rho=[0.25],
    )  # fmt: skip


_WAYS = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def _nodes(trees: int, modes: list[str]) -> dict[str, Any]:
    """Full trees of three levels over three features; splits meet the data's values, so that ties are decided too."""
    inner, rng = 7, np.random.default_rng(2)
    rows = [(tree, node) for tree in range(trees) for node in range(15)]
    leaf = [node >= inner for _, node in rows]
    return {
        "nodes_treeids": [t for t, _ in rows], "nodes_nodeids": [n for _, n in rows],
        "nodes_modes": ["LEAF" if end else modes[(t + n) % len(modes)] for (t, n), end in zip(rows, leaf)],
        "nodes_featureids": [0 if end else int(rng.integers(3)) for end in leaf],
        "nodes_values": [0.0 if end else float(rng.integers(-2, 3)) for end in leaf],
        "nodes_truenodeids": [0 if end else 2 * n + 1 for (_, n), end in zip(rows, leaf)],
        "nodes_falsenodeids": [0 if end else 2 * n + 2 for (_, n), end in zip(rows, leaf)],
        "nodes_missing_value_tracks_true": [int(t % 2) for t, _ in rows],
    }  # fmt: skip


def _leaves(kind: str, trees: int, targets: list[int], positive: bool) -> dict[str, Any]:
    ends = [(tree, node, target) for tree in range(trees) for node in range(7, 15) for target in targets]
    weights = f32(len(ends))
    return {
        f"{kind}_treeids": [t for t, _, _ in ends], f"{kind}_nodeids": [n for _, n, _ in ends],
        f"{kind}_ids": [i for _, _, i in ends], f"{kind}_weights": (abs(weights) / 6 if positive else weights).tolist(),
    }  # fmt: skip


def _rows() -> np.ndarray:
    x = ints(40, 3, low=-3, high=4).astype(np.float32)
    x[3, 1] = x[7, 0] = x[9, 2] = np.nan
    return x


@pytest.mark.parametrize("how", ["SUM", "AVERAGE", "MIN", "MAX"])
def test_trees_for_regression(how: str) -> None:
    modes = list(_WAYS) if how == "SUM" else ["BRANCH_LEQ"]
    _check(
        "TreeEnsembleRegressor", _rows(), n_targets=2, aggregate_function=how, base_values=[0.5, -1.0],
        **_nodes(3, modes), **_leaves("target", 3, [0, 1], False),
    )  # fmt: skip


@pytest.mark.parametrize("how", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_trees_for_classes(how: str) -> None:
    common = {"outputs": 2, **_nodes(3, ["BRANCH_LEQ", "BRANCH_LT"])}
    _check(
        "TreeEnsembleClassifier", _rows(), classlabels_int64s=[4, 2, 9], post_transform=how, **common,
        **_leaves("class", 3, [0, 1, 2], False),
    )  # fmt: skip
    for positive in (False, True):
        _check(
            "TreeEnsembleClassifier", _rows(), classlabels_int64s=[0, 1], **common, post_transform=how,
            **_leaves("class", 3, [0], positive),
        )  # fmt: skip
        _check(
            "TreeEnsembleClassifier", _rows(), classlabels_int64s=[0, 1], **common, post_transform="NONE",
            **_leaves("class", 3, [0, 1], positive),
        )  # fmt: skip
