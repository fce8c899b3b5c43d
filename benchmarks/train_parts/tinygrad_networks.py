"""The tasks' networks for tinygrad, with Keras's weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tinygrad import Tensor
from tinygrad.nn.optim import LAMB

from benchmarks.train_parts.tasks import EPSILON, HEADS, HIDDEN, LAYERS, Weights

Network = Callable[[Any], Any]


class Adam(LAMB):  # type: ignore[misc]
    """tinygrad's Adam with Keras's place for epsilon; make it with ``adam=True``."""

    @property
    def eps(self) -> Any:
        """Asked for after ``b2_t`` was brought up to date."""
        return EPSILON / (1 - self.b2_t).sqrt()

    @eps.setter
    def eps(self, _: float) -> None:
        pass


def build(name: str, weights: Weights) -> tuple[Network, list[Any]]:
    """The network of task ``name``, which gives logits, and its parameters; several axes of a kernel count as one."""
    made = {}
    for key, array in weights.items():
        if array.ndim == 4:
            array = array.transpose(3, 2, 0, 1)
        elif array.ndim == 3:
            array = array.reshape(-1, weights[key.replace("kernel", "bias")].size)
        elif key.endswith("bias"):
            array = array.reshape(-1)
        made[key] = Tensor(np.ascontiguousarray(array)).realize()

    def dense(x: Any, key: str) -> Any:
        return x @ made[f"{key}.kernel"] + made[f"{key}.bias"]

    def norm(x: Any, key: str) -> Any:
        return x.layernorm(eps=1e-3) * made[f"{key}.scale"] + made[f"{key}.bias"]

    def cnn(x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        for number in range(3):
            x = x.conv2d(made[f"conv{number}.kernel"], made[f"conv{number}.bias"]).relu().max_pool2d((2, 2))
        return dense(dense(x.flatten(1), "dense").relu(), "head")

    def transformer(x: Any) -> Any:
        x = made["embedding"][x]
        for block in range(LAYERS):
            n = norm(x, f"{block}.before")
            query, key, value = (
                dense(n, f"{block}.{part}").reshape(*x.shape[:2], HEADS, HIDDEN // HEADS).transpose(1, 2)
                for part in ("query", "key", "value")
            )
            mixed = query.scaled_dot_product_attention(key, value, is_causal=True)
            x = x + dense(mixed.transpose(1, 2).flatten(2), f"{block}.joined")
            x = x + dense(dense(norm(x, f"{block}.between"), f"{block}.wide").gelu("none"), f"{block}.narrow")
        return dense(norm(x, "after"), "head")

    return {"tutorial_cnn": cnn, "transformer": transformer}[name], list(made.values())
