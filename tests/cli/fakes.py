"""A model that needs no device: what the command line does around a model is tested with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from a1400.backends.base import DeviceInfo

DEVICE = DeviceInfo(
    backend="opencl",
    index=0,
    name="Pretend CPU",
    vendor="Nobody",
    platform="Imaginary OpenCL",
    driver="1.0",
    kind="cpu",
    memory=8 * 10**9,
    max_allocation=10**9,
    local_memory=32768,
    compute_units=2,
    max_group_size=256,
    alignment=128,
    fp16=False,
    fp64=True,
    subgroups=True,
    integer_dot=False,
    unified_memory=True,
)


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of an input or output."""

    shape: tuple[int | str | None, ...] | None
    dtype: np.dtype


class Told:
    """Stands for an Explanation and a MemoryReport."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts

    def to_dict(self) -> dict[str, Any]:
        return self.facts

    def __str__(self) -> str:
        return "\n".join(f"{k}: {v}" for k, v in self.facts.items())


def spec(shape: tuple[int | str | None, ...] | None, dtype: Any = np.float32) -> Spec:
    return Spec(shape, np.dtype(dtype))


class FakeModel:
    """Its one output says which class was asked for: the mean of the first input, times ten, rounded."""

    device = DEVICE
    precision = "fp32"

    def __init__(self, inputs: Mapping[str, Spec] | None = None, classes: int = 10) -> None:
        self.inputs = dict(inputs or {"image": spec(("batch", 1, 8, 8))})
        self.outputs = {"scores": spec(("batch", classes))}
        self.metadata: dict[str, str] = {}
        self.classes = classes
        self.calls: list[dict[str, np.ndarray]] = []
        self.prepared: list[dict[str, Any]] = []

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append(dict(feeds))
        first = next(iter(feeds.values())).astype(np.float64)
        rows = first.reshape(first.shape[0] if first.ndim else 1, -1).mean(axis=1)
        scores = np.zeros((len(rows), self.classes), np.float32)
        scores[np.arange(len(rows)), np.clip(np.rint(rows * 10), 0, self.classes - 1).astype(int)] = 5
        return {"scores": scores}

    def prepare(self, shapes: Mapping[str, Any]) -> None:
        self.prepared.append(dict(shapes))

    def explain(self) -> Told:
        return Told({"launches": 3, "host_nodes": 0})

    def memory(self) -> Told:
        return Told({"arena": 1024, "naive": 4096})
