"""Metrics over several batches against Keras's, with and without weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.errors import InputError
from a1400.graph.graph import evaluate
from a1400.train import metrics
from tests.train.reference import array, build, keras

RNG = np.random.default_rng(17)
BATCHES = (8, 8, 5)


def _real(n: int) -> np.ndarray:
    return RNG.standard_normal((n, 4)).astype(np.float32)


def _share(n: int) -> np.ndarray:
    return RNG.uniform(0, 1, (n, 4)).astype(np.float32)


def _bits(n: int) -> np.ndarray:
    return RNG.integers(0, 2, (n, 4)).astype(np.float32)


def _one_hot(n: int) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[RNG.integers(0, 4, n)]


def _class(n: int) -> np.ndarray:
    return RNG.integers(0, 4, (n,)).astype(np.int32)


#: name, config, maker of targets, maker of predictions, whether weights are tried too
CASES: list[tuple[str, dict[str, Any], Any, Any, bool]] = [
    ("Accuracy", {}, _class, _class, True),
    ("BinaryAccuracy", {"threshold": 0.3}, _bits, _share, True),
    ("CategoricalAccuracy", {}, _one_hot, _share, True),
    ("SparseCategoricalAccuracy", {}, _class, _share, True),
    ("TopKCategoricalAccuracy", {"k": 2}, _one_hot, _share, True),
    ("SparseTopKCategoricalAccuracy", {"k": 3}, _class, _share, True),
    ("MeanSquaredError", {}, _real, _real, True),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, _class, _real, True),
    ("RootMeanSquaredError", {}, _real, _real, True),
    ("CosineSimilarity", {}, _real, _real, True),
    ("Precision", {}, _bits, _share, True),
    ("Precision", {"thresholds": [0.2, 0.5, 0.8]}, _bits, _share, False),
    ("Recall", {"thresholds": 0.6, "class_id": 2}, _bits, _share, True),
    ("TruePositives", {}, _bits, _share, True),
    ("FalseNegatives", {"thresholds": [0.3, 0.9]}, _bits, _share, False),
    ("FalsePositives", {}, _bits, _share, True),
    ("TrueNegatives", {}, _bits, _share, True),
    ("AUC", {}, _bits, _share, True),
    ("AUC", {"curve": "PR", "num_thresholds": 50}, _bits, _share, False),
    ("AUC", {"summation_method": "majoring", "from_logits": True, "num_thresholds": 20}, _bits, _real, False),
    ("AUC", {"curve": "PR", "summation_method": "minoring", "thresholds": [0.1, 0.4, 0.5]}, _bits, _share, False),
    ("MeanIoU", {"num_classes": 4}, _class, _class, True),
    ("MeanIoU", {"num_classes": 4, "sparse_y_pred": False, "ignore_class": 1}, _class, _share, False),
    ("IoU", {"num_classes": 4, "target_class_ids": [0, 3]}, _class, _class, False),
    ("BinaryIoU", {"target_class_ids": [1], "threshold": 0.3}, _bits, _share, False),
    ("OneHotIoU", {"num_classes": 4, "target_class_ids": [0, 2]}, _one_hot, _share, True),
    ("OneHotMeanIoU", {"num_classes": 4, "ignore_class": 3}, _one_hot, _share, False),
    ("LogCoshError", {}, _real, _real, True),
    ("PearsonCorrelation", {}, _real, _real, True),
    ("ConcordanceCorrelation", {}, _real, _real, True),
    ("PrecisionAtRecall", {"recall": 0.6}, _bits, _share, True),
    ("RecallAtPrecision", {"precision": 0.6, "num_thresholds": 21}, _bits, _share, True),
    ("SensitivityAtSpecificity", {"specificity": 0.4, "class_id": 1}, _bits, _share, True),
    ("SpecificityAtSensitivity", {"sensitivity": 0.5, "num_thresholds": 1}, _bits, _share, True),
    ("F1Score", {}, _one_hot, _share, False),
    ("F1Score", {"average": "weighted", "threshold": 0.4}, _bits, _share, True),
    ("FBetaScore", {"average": "micro", "beta": 2.0}, _one_hot, _share, False),
    ("R2Score", {}, _real, _real, True),
    ("R2Score", {"class_aggregation": "variance_weighted_average", "num_regressors": 2}, _real, _real, False),
]


@pytest.mark.parametrize(("name", "config", "target", "prediction", "weigh"), CASES,
                         ids=[f"{c[0]}-{'-'.join(c[1])}" for c in CASES])  # fmt: skip
def test_three_batches(name: str, config: dict[str, Any], target: Any, prediction: Any, weigh: bool) -> None:
    for weighted in (False, True)[: 1 + weigh]:
        ours, theirs = metrics.from_name(name, **config), getattr(keras.metrics, name)(**config)
        assert ours.result() == 0
        for n in BATCHES:
            t, p = target(n), prediction(n)
            # Keras counts pairs of classes with whole weights only
            w = (RNG.integers(1, 4, n) if "IoU" in name else RNG.uniform(0.2, 2, n)).astype(np.float32)
            w = w if weighted else None
            theirs.update_state(t, p, w)
            ours.add(evaluate(*build(ours.parts, t, p, w)))
        np.testing.assert_allclose(ours.result(), array(theirs.result()), rtol=3e-5, atol=1e-6)
    ours.reset()
    assert ours.result() == 0


def test_masks_have_no_weight() -> None:
    ours = metrics.from_name("mean_squared_error")
    mask = np.array([[True, False], [True, True]])
    t, p = np.zeros((2, 2, 3), np.float32), np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    got = evaluate(*build(lambda t, p, m: ours.parts(t, p, None, m), t, p, mask))
    squares = (p**2).mean(-1)
    assert got["total"] == pytest.approx((squares * mask).mean(1).sum()) and got["count"] == pytest.approx(1.5)


def test_accuracy_is_chosen_by_shapes() -> None:
    for target, prediction, kind in (
        ((5,), (5, 10), metrics.SparseCategoricalAccuracy), ((5, 10), (5, 10), metrics.CategoricalAccuracy),
        ((5, 1), (5, 1), metrics.BinaryAccuracy), ((5, 1), (5, 10), metrics.SparseCategoricalAccuracy),
    ):  # fmt: skip
        made = metrics.from_name("accuracy", np.empty(target), np.empty(prediction))
        assert type(made) is kind and made.name == "accuracy"
    assert isinstance(metrics.from_name("mae"), metrics.OfLoss) and metrics.from_name("mae").name == "mae"
    with pytest.raises(InputError, match="no metric"):
        metrics.from_name("accuracies")
