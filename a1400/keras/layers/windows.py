"""Where Keras's sliding windows go, and images whose channels come first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from a1400.graph.tensor import Tensor
from a1400.keras.tracing import Call


@dataclass(frozen=True)
class Windows:
    """Padding before and behind each spatial axis, and how many windows fit."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    out: tuple[int, ...]


def windows(
    sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str
) -> Windows:
    """Keras's ``valid``, ``same`` (the odd element of padding goes behind) and ``causal``."""
    low, high, out = [], [], []
    for n, k, s, d in zip(sizes, kernel, strides, dilations):
        extent = (k - 1) * d + 1
        before = behind = 0
        if padding == "same":
            total = max((-(-n // s) - 1) * s + extent - n, 0)
            before, behind = total // 2, total - total // 2
        elif padding == "causal":
            before = extent - 1
        low.append(before)
        high.append(behind)
        out.append((n + before + behind - extent) // s + 1)
    return Windows(tuple(low), tuple(high), tuple(out))


def channels_first(c: Call) -> bool:
    """Whether the layer's images are [N, C, *spatial]."""
    return bool(c.option("data_format") == "channels_first")


def channels_last(c: Call, x: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """``work`` done on [N, *spatial, C], whatever order the layer has."""
    if not channels_first(c):
        return work(x)
    y = work(x.transpose([0, *range(2, x.rank), 1]))
    return y.transpose([0, y.rank - 1, *range(1, y.rank - 1)])
