"""The tasks' networks as functions of tensors, for ``a1400.Trainer`` without Keras; weights keep Keras's layouts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from a1400.graph.tensor import Tensor
from a1400.train.network import FunctionNetwork
from benchmarks.train_parts.tasks import HEADS, HIDDEN, LAYERS, SEQUENCE, Weights

Tensors = Mapping[str, Tensor]


def build(name: str, weights: Weights) -> FunctionNetwork:
    """The network of task ``name`` with ``weights``; it gives logits."""
    if name == "tutorial_cnn":
        return FunctionNetwork(cnn, {"x": ((None, 28, 28, 1), np.float32)}, weights)
    return FunctionNetwork(transformer, {"x": ((None, SEQUENCE), np.int32)}, weights)


def _dense(x: Tensor, weights: Tensors, name: str) -> Tensor:
    """A dense layer on the last axis; several axes of a kernel count as one."""
    kernel, bias = weights[f"{name}.kernel"], weights[f"{name}.bias"]
    width = int(np.prod(bias.shape))
    return x @ kernel.reshape((x.shape[-1], width)) + bias.reshape((width,))


def cnn(inputs: Tensors, weights: Tensors, *_: Any) -> Tensor:
    """The tutorial's CNN."""
    x = inputs["x"]
    for number in range(3):
        kernel = weights[f"conv{number}.kernel"].transpose((3, 2, 0, 1))
        x = x.op("conv", kernel, strides=(1, 1), dilations=(1, 1), low=(0, 0), high=(0, 0), groups=1)
        x = (x + weights[f"conv{number}.bias"]).relu()
        halved = tuple(n // 2 for n in x.shape[1:3])
        x = x.op(
            "pool", kind="max", kernel=(2, 2), strides=(2, 2), dilations=(1, 1), low=(0, 0), high=(0, 0), out=halved,
            count_include_pad=False,
        )  # fmt: skip
    hidden = _dense(x.reshape((x.shape[0], x.shape[-1])), weights, "dense").relu()  # 1 x 1 pixels are left
    return _dense(hidden, weights, "head")


def transformer(inputs: Tensors, weights: Tensors, *_: Any) -> Tensor:
    """The causal language model."""
    def norm(x: Tensor, name: str) -> Tensor:
        return x.op("layer_norm", weights[f"{name}.scale"], weights[f"{name}.bias"], axis=x.rank - 1, eps=1e-3)

    def heads(x: Tensor, name: str) -> Tensor:
        split = _dense(x, weights, name).reshape((*x.shape[:2], HEADS, HIDDEN // HEADS))
        return split.transpose((0, 2, 1, 3))

    x = weights["embedding"].op("gather", inputs["x"], axis=0)
    for block in range(LAYERS):
        n = norm(x, f"{block}.before")
        query, key, value = (heads(n, f"{block}.{part}") for part in ("query", "key", "value"))
        mixed = query.op("attention", key, value, scale=(HIDDEN // HEADS) ** -0.5, causal=True)
        x = x + _dense(mixed.transpose((0, 2, 1, 3)).reshape(x.shape), weights, f"{block}.joined")
        wide = _dense(norm(x, f"{block}.between"), weights, f"{block}.wide")
        x = x + _dense(wide * 0.5 * (1.0 + (wide * 0.5**0.5).op("erf")), weights, f"{block}.narrow")
    return _dense(norm(x, "after"), weights, "head")
