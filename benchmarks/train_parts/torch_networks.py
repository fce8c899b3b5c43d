"""The tasks' networks for PyTorch, with Keras's weights."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.train_parts.tasks import HEADS, HIDDEN, LAYERS, Weights


def build(name: str, weights: Weights) -> nn.Module:
    """The network of task ``name``."""
    return {"tutorial_cnn": Cnn, "transformer": Transformer}[name](weights)


def _tensor(array: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(np.ascontiguousarray(array)))


def _linear(weights: Weights, name: str) -> nn.Linear:
    """A dense layer; several axes of a kernel count as one."""
    kernel, bias = weights[f"{name}.kernel"], weights[f"{name}.bias"]
    layer = nn.utils.skip_init(nn.Linear, kernel.size // bias.size, bias.size)
    layer.weight, layer.bias = _tensor(kernel.reshape(-1, bias.size).T), _tensor(bias.reshape(-1))
    return layer


def _norm(weights: Weights, name: str) -> nn.LayerNorm:
    layer = nn.LayerNorm(HIDDEN, eps=1e-3)  # Keras's default
    layer.weight, layer.bias = _tensor(weights[f"{name}.scale"]), _tensor(weights[f"{name}.bias"])
    return layer


class Cnn(nn.Module):
    """Takes pictures [N, H, W, 1]."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.convs = nn.ModuleList()
        for number in range(3):
            kernel = weights[f"conv{number}.kernel"].transpose(3, 2, 0, 1)
            conv = nn.utils.skip_init(nn.Conv2d, kernel.shape[1], kernel.shape[0], 3)
            conv.weight, conv.bias = _tensor(kernel), _tensor(weights[f"conv{number}.bias"])
            self.convs.append(conv)
        self.dense, self.head = _linear(weights, "dense"), _linear(weights, "head")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.permute(0, 3, 1, 2)
        for conv in self.convs:
            x = functional.max_pool2d(functional.relu(conv(x)), 2)
        return self.head(functional.relu(self.dense(x.flatten(1))))  # 1 x 1 pixels are left: any layout is the same


class Block(nn.Module):
    """Pre-norm attention and a GELU network."""

    def __init__(self, weights: Weights, number: int) -> None:
        super().__init__()
        self.before, self.between = _norm(weights, f"{number}.before"), _norm(weights, f"{number}.between")
        for part in ("query", "key", "value", "joined", "wide", "narrow"):
            setattr(self, part, _linear(weights, f"{number}.{part}"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = self.before(x)
        q, k, v = (p(n).unflatten(-1, (HEADS, -1)).transpose(1, 2) for p in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.joined(mixed.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.wide(self.between(x))))


class Transformer(nn.Module):
    """Takes tokens [N, T]; gives scores [N, vocabulary, T], as PyTorch's loss wants them."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(weights["embedding"]), freeze=False)
        self.blocks = nn.Sequential(*(Block(weights, number) for number in range(LAYERS)))
        self.after, self.head = _norm(weights, "after"), _linear(weights, "head")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.after(self.blocks(self.embedding(x)))).transpose(1, 2)
