"""What is trained: two networks with their first weights and batches, the same numbers for every engine.

Weights are in Keras's layouts (kernels ``[height, width, in, out]`` and ``[in, out]``), by name, in the order in which
Keras lists them; pictures are channels-last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASSES, VOCABULARY = 10, 2048
LAYERS, HIDDEN, HEADS, SEQUENCE = 4, 256, 4, 128
#: Adam's rate, epsilon and decay of the second moment, Keras's defaults.  Keras adds epsilon to the root of a moment
#: that is not yet corrected for its start at zero, PyTorch and tinygrad add it to the root of a corrected one: an
#: epsilon divided by the root of the correction, step by step, gives them the same formula
RATE, EPSILON, SECOND = 1e-3, 1e-7, 0.999

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Task:
    """A training step: ``flops`` counts forward and backward as three times the forward products and convolutions."""

    name: str
    title: str
    flops: float
    weights: Callable[[np.random.Generator], Weights]
    batch: Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]


def cnn_weights(rng: np.random.Generator) -> Weights:
    """The tutorial's CNN: Conv 32 - pool - Conv 64 - pool - Conv 128 - pool - Dense 128 - Dense 10."""
    made: Weights = {}
    for number, (inner, outer) in enumerate([(1, 32), (32, 64), (64, 128)]):
        made[f"conv{number}.kernel"] = rng.normal(0, (2 / (9 * inner)) ** 0.5, (3, 3, inner, outer))
        made[f"conv{number}.bias"] = np.zeros(outer)
    for name, inner, outer in (("dense", 128, 128), ("head", 128, CLASSES)):
        made[f"{name}.kernel"] = rng.normal(0, inner**-0.5, (inner, outer))
        made[f"{name}.bias"] = np.zeros(outer)
    return {name: array.astype(np.float32) for name, array in made.items()}


def transformer_weights(rng: np.random.Generator) -> Weights:
    """A causal language model: embedding, pre-norm blocks of attention and a GELU network, norm, projection."""
    made: Weights = {"embedding": rng.normal(0, 0.05, (VOCABULARY, HIDDEN))}
    width = HIDDEN // HEADS

    def dense(name: str, kernel: tuple[int, ...], bias: tuple[int, ...]) -> None:
        made[f"{name}.kernel"] = rng.normal(0, 0.05, kernel)
        made[f"{name}.bias"] = np.zeros(bias)

    def norm(name: str) -> None:
        made[f"{name}.scale"], made[f"{name}.bias"] = np.ones(HIDDEN), np.zeros(HIDDEN)

    for block in range(LAYERS):
        norm(f"{block}.before")
        for part in ("query", "key", "value"):
            dense(f"{block}.{part}", (HIDDEN, HEADS, width), (HEADS, width))
        dense(f"{block}.joined", (HEADS, width, HIDDEN), (HIDDEN,))
        norm(f"{block}.between")
        dense(f"{block}.wide", (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,))
        dense(f"{block}.narrow", (4 * HIDDEN, HIDDEN), (HIDDEN,))
    norm("after")
    dense("head", (HIDDEN, VOCABULARY), (VOCABULARY,))
    return {name: array.astype(np.float32) for name, array in made.items()}


def pictures(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """128 pictures of 28 x 28 greys, and their classes."""
    return rng.random((128, 28, 28, 1), np.float32), rng.integers(0, CLASSES, 128).astype(np.int32)


def tokens(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """8 sequences of 128 tokens, and the token behind each."""
    rows = rng.integers(0, VOCABULARY, (8, SEQUENCE + 1)).astype(np.int32)
    return np.ascontiguousarray(rows[:, :-1]), np.ascontiguousarray(rows[:, 1:])


def _cnn_flops() -> float:
    products = 26 * 26 * 32 * 9 + 11 * 11 * 64 * 9 * 32 + 3 * 3 * 128 * 9 * 64 + 128 * 128 + 128 * CLASSES
    return 3 * 2 * 128 * products


def _transformer_flops() -> float:
    rows = 8 * SEQUENCE
    products = LAYERS * (12 * HIDDEN * HIDDEN + 2 * SEQUENCE * HIDDEN) + HIDDEN * VOCABULARY
    return 3 * 2 * rows * products


TASKS = {
    task.name: task
    for task in (
        Task("tutorial_cnn", "tutorial CNN 28x28x1, batch 128, Adam", _cnn_flops(), cnn_weights, pictures),
        Task("transformer", "transformer: 4 layers, hidden 256, sequence 128, batch 8, Adam", _transformer_flops(),
             transformer_weights, tokens),
    )
}  # fmt: skip


def write(task: Task, path: Path) -> None:
    """The task's weights and batch as the ``.npz`` that engines read."""
    x, y = task.batch(np.random.default_rng(1))
    np.savez(path, x=x, y=y, **{f"weight:{k}": v for k, v in task.weights(np.random.default_rng(0)).items()})


def read(feeds: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, Weights]:
    """Batch and weights out of what :func:`write` wrote."""
    marked = "weight:"
    return feeds["x"], feeds["y"], {k[len(marked) :]: v for k, v in feeds.items() if k.startswith(marked)}
