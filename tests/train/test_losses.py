"""Losses against Keras's: values, every reduction, and the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from a1400.autodiff import gradients
from a1400.errors import InputError
from a1400.graph.graph import Graph, evaluate
from a1400.graph.tensor import Tensor
from a1400.train import losses
from tests.train.reference import array, build, keras, scalar

RNG = np.random.default_rng(11)


def _real(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _share(*shape: int) -> np.ndarray:
    return RNG.uniform(0.05, 0.95, shape).astype(np.float32)


def _classes(count: int, *shape: int) -> np.ndarray:
    return RNG.integers(0, count, shape).astype(np.int32)


def _distribution(*shape: int) -> np.ndarray:
    x = _share(*shape)
    return x / x.sum(-1, keepdims=True)


def _bits(*shape: int) -> np.ndarray:
    return RNG.integers(0, 2, shape).astype(np.float32)


def _unit(*shape: int) -> np.ndarray:
    x = _real(*shape)
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


#: name, config, target, prediction
CASES: list[tuple[str, dict[str, Any], np.ndarray, np.ndarray]] = [
    ("MeanSquaredError", {}, _real(6, 3), _real(6, 3)),
    ("MeanSquaredError", {}, _real(6), _real(6, 1)),
    ("MeanAbsoluteError", {}, _real(6, 3), _real(6, 3)),
    ("MeanAbsolutePercentageError", {}, _real(6, 3), _real(6, 3)),
    ("MeanSquaredLogarithmicError", {}, _share(6, 3), _share(6, 3)),
    ("Huber", {"delta": 0.7}, _real(6, 3), _real(6, 3)),
    ("LogCosh", {}, _real(6, 3), _real(6, 3)),
    ("Poisson", {}, _share(6, 3), _share(6, 3)),
    ("KLDivergence", {}, _distribution(6, 3), _distribution(6, 3)),
    ("Hinge", {}, _bits(6, 3), _real(6, 3)),
    ("Hinge", {}, _bits(6, 3) * 2 - 1, _real(6, 3)),
    ("SquaredHinge", {}, _bits(6, 3), _real(6, 3)),
    ("CategoricalHinge", {}, np.eye(3, dtype=np.float32)[_classes(3, 6)], _real(6, 3)),
    ("CosineSimilarity", {}, _real(6, 3), _real(6, 3)),
    ("Dice", {}, _bits(2, 3, 4), _share(2, 3, 4)),
    ("Dice", {"axis": (1, 2)}, _bits(2, 3, 4), _share(2, 3, 4)),
    ("Tversky", {"alpha": 0.3, "beta": 0.6}, _bits(2, 3, 4), _share(2, 3, 4)),
    ("BinaryCrossentropy", {}, _bits(6, 3), _share(6, 3)),
    ("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, _bits(6, 3), 4 * _real(6, 3)),
    ("BinaryFocalCrossentropy", {"apply_class_balancing": True}, _bits(6, 3), _share(6, 3)),
    ("BinaryFocalCrossentropy", {"from_logits": True, "gamma": 1.5}, _bits(6, 3), _real(6, 3)),
    ("CategoricalCrossentropy", {"label_smoothing": 0.2}, np.eye(4, dtype=np.float32)[_classes(4, 6)], _share(6, 4)),
    ("CategoricalCrossentropy", {"from_logits": True}, _distribution(6, 4), 3 * _real(6, 4)),
    ("CategoricalCrossentropy", {"from_logits": True, "axis": 1}, _distribution(2, 4, 3), _real(2, 4, 3)),
    ("CategoricalFocalCrossentropy", {}, np.eye(4, dtype=np.float32)[_classes(4, 6)], _distribution(6, 4)),
    ("SparseCategoricalCrossentropy", {}, _classes(4, 6), _distribution(6, 4)),
    ("SparseCategoricalCrossentropy", {"from_logits": True}, _classes(4, 6, 1), 3 * _real(6, 4)),
    ("SparseCategoricalCrossentropy", {"from_logits": True, "ignore_class": 2}, _classes(4, 3, 5), _real(3, 5, 4)),
    ("SparseCategoricalCrossentropy", {"ignore_class": 0}, _classes(4, 3, 5), _distribution(3, 5, 4)),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.7}, _classes(4, 6), _distribution(6, 4)),
    ("Circle", {"gamma": 8}, np.array([0, 1, 0, 2, 1, 0]), _unit(6, 5)),
    ("Circle", {"remove_diagonal": False, "margin": 0.2}, np.array([[0], [1], [0], [2]]), _unit(4, 5)),
    ("CTC", {}, np.array([[2, 3, 1], [4, 4, 0], [0, 0, 0]]), 2 * _real(3, 6, 5)),
]
IDS = [f"{name}-{'-'.join(config)}" for name, config, _, _ in CASES]


@pytest.mark.parametrize(("name", "config", "target", "prediction"), CASES, ids=IDS)
def test_values_and_gradient(name: str, config: dict[str, Any], target: np.ndarray, prediction: np.ndarray) -> None:
    import torch

    theirs = getattr(keras.losses, name)(**config)
    p = torch.tensor(prediction, requires_grad=True)
    want = theirs(torch.tensor(target), p)
    want.backward()

    def make(t: Tensor, x: Tensor) -> dict[str, Tensor]:
        loss = losses.from_name(name, **config)(t, x)
        (d,) = gradients(x.graph, loss.value, [x.value])
        assert d is not None
        return {"loss": loss, "d": Tensor(x.graph, d)}

    got = evaluate(*build(make, target, prediction))
    assert got["loss"].shape == () and got["loss"].dtype == np.float32
    np.testing.assert_allclose(got["loss"], want.detach().numpy(), rtol=2e-6, atol=2e-7)
    assert p.grad is not None
    grad = p.grad.numpy()
    np.testing.assert_allclose(got["d"], grad, rtol=2e-5, atol=2e-6 * max(np.abs(grad).max(), 1e-3))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_reductions_weights_and_masks(reduction: str, masked: bool) -> None:
    target, prediction, weight = _real(4, 5, 3), _real(4, 5, 3), _share(4, 5)
    mask = RNG.integers(0, 2, (4, 5)).astype(bool) if masked else None
    y = keras.ops.convert_to_tensor(prediction)
    if mask is not None:
        y._keras_mask = keras.ops.convert_to_tensor(mask)
    want = array(keras.losses.MeanSquaredError(reduction=reduction)(target, y, weight))
    loss = losses.MeanSquaredError(reduction=reduction)
    got = scalar(lambda t, p, w, m: loss(t, p, w, m), target, prediction, weight, mask)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_softmax_and_sigmoid_are_seen_through() -> None:
    logits, classes = np.array([[60.0, -60.0, 0.0]], np.float32), np.array([1], np.int64)
    loss = losses.from_name("sparse_categorical_crossentropy")
    assert scalar(lambda t, x: loss(t, x.softmax()), classes, logits) == pytest.approx(120)
    one, low, binary = np.ones((1, 1), np.float32), -logits[:, :1], losses.from_name("bce")
    assert scalar(lambda t, x: binary(t, x.sigmoid()), one, low) == 60
    # a softmax over other axes than the classes' is none
    graph, feeds = build(lambda t, x: loss(t, x.softmax(0)), classes, logits)
    assert not any(n.op == "softmax_cross_entropy" for n in graph.nodes)
    assert np.isfinite(evaluate(graph, feeds)["y"])


def test_ctc_with_a_blank_and_times_of_its_own() -> None:
    import torch

    logits, labels = _real(3, 7, 4), np.array([[0, 2, 2], [1, 3, 3], [2, 3, 3]], np.int64)
    times = np.array([7, 4, 2])
    mask = np.arange(7) < times[:, None]
    want = torch.nn.functional.ctc_loss(
        torch.tensor(logits).log_softmax(-1).movedim(1, 0), torch.tensor(labels), torch.tensor(times),
        torch.tensor([3, 1, 1]), blank=3, reduction="none",
    )  # fmt: skip
    loss = losses.CTC(blank=-1, reduction="none")
    got = scalar(lambda t, x, m: loss(t, x, None, m), labels, logits, mask)
    np.testing.assert_allclose(got, want, rtol=2e-6)
    unfit = losses.CTC(blank=1, reduction="none")
    found = scalar(unfit, np.array([[2, 2], [2, 9]]), np.zeros((2, 2, 4), np.float32))
    assert found[0] == np.inf and np.isnan(found[1])
    graph = Graph()
    x = Tensor(graph, graph.input("x", (2, 2, 4), np.dtype(np.float32)))
    y = losses.CTC(blank=1, zero_infinity=True)(x.lift(np.array([[2, 2], [2, 1]])).cast(np.int32), x)
    (back,) = gradients(graph, y.value, [x.value])
    assert back is not None
    graph.output("y", y.value)
    graph.output("d", back)
    made = evaluate(graph, {"x": np.zeros((2, 2, 4), np.float32)})
    assert made["y"] > 0 and not made["d"][0].any() and made["d"][1].any() and np.isfinite(made["d"]).all()
    with pytest.raises(InputError, match=r"labels \[B, S\]"):
        scalar(losses.CTC(), labels, logits[0])


def test_names() -> None:
    for name in ("mse", "MAE", "kld", "categorical_crossentropy", "Huber", "log_cosh"):
        assert isinstance(losses.from_name(name), losses.Loss)
    with pytest.raises(InputError, match="no loss"):
        losses.from_name("ctc_of_mine")
    with pytest.raises(InputError, match="no reduction"):
        losses.MeanSquaredError(reduction="median")
    mine = losses.Function(lambda t, p: (t - p).abs(), reduction="sum")
    assert scalar(mine, np.ones(3, np.float32), np.zeros(3, np.float32)) == 3
