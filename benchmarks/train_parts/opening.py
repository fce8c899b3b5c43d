"""How each engine prepares a training step: runs in that engine's own process (see ``cpu_parts/opening.py``).

The first run makes three steps and gives the three losses, which are compared; every later run is one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.cpu_parts.opening import Feeds, Opened, Opening, _device
from benchmarks.train_parts.tasks import RATE, read

FIRST = 3


class Steps:
    """Calls ``step``, which gives a loss: three times at first, then once."""

    def __init__(self, step: Callable[[], float]) -> None:
        self._step, self._first = step, True

    def __call__(self) -> list[np.ndarray]:
        count, self._first = FIRST if self._first else 1, False
        return [np.array([self._step() for _ in range(count)])]


def a1400_intel(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """A Keras model accelerated by a1400, on Intel's OpenCL runtime."""
    yield from _a1400(job, feeds, "intel")


def a1400_pocl(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """A Keras model accelerated by a1400, on PoCL."""
    yield from _a1400(job, feeds, "pocl")


def _a1400(job: Mapping[str, Any], feeds: Feeds, platform: str) -> Opening:
    import a1400.keras
    from benchmarks.train_parts import keras_networks

    yield None
    x, y, weights = read(feeds)
    model = a1400.keras.accelerate(keras_networks.build(job["name"], weights), device=_device(platform))
    keras_networks.compiled(model)
    yield Opened(Steps(lambda: float(np.ravel(model.train_on_batch(x, y))[0])))


def keras(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """Plain Keras on the backend that the environment names."""
    import keras as library

    from benchmarks.train_parts import keras_networks

    if library.backend.backend() == "torch":
        import torch

        torch.set_num_threads(job["threads"])
    yield None
    x, y, weights = read(feeds)
    model = keras_networks.compiled(keras_networks.build(job["name"], weights))

    def step() -> float:
        model.reset_metrics()  # the loss is a running mean otherwise
        return float(np.ravel(model.train_on_batch(x, y))[0])

    yield Opened(Steps(step))


def torch_eager(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """PyTorch as it comes, with its fused Adam."""
    yield from _torch(job, feeds, whole=False)


def torch_compile(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """``torch.compile`` of the network and its loss."""
    yield from _torch(job, feeds, whole=True)


def _torch(job: Mapping[str, Any], feeds: Feeds, whole: bool) -> Opening:
    import torch

    from benchmarks.train_parts import torch_networks

    torch.set_num_threads(job["threads"])
    yield None
    x, y, weights = read(feeds)
    network = torch_networks.build(job["name"], weights)
    optimizer = torch.optim.Adam(network.parameters(), RATE, eps=1e-7, fused=True)  # Keras's epsilon
    inputs, targets = torch.from_numpy(np.array(x)), torch.from_numpy(y.astype(np.int64))

    def loss_of(inputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(network(inputs), targets)

    call: Any = torch.compile(loss_of) if whole else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = call(inputs, targets)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    yield Opened(Steps(step))


def tinygrad(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """tinygrad under its TinyJit; the tutorial's CNN alone."""
    from tinygrad import Tensor, TinyJit
    from tinygrad.nn.optim import Adam

    yield None
    if job["name"] != "tutorial_cnn":
        raise NotImplementedError("tinygrad's form of this network is not written")
    x, y, weights = read(feeds)
    made = {}
    for name, array in weights.items():
        moved = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
        made[name] = Tensor(np.ascontiguousarray(moved), requires_grad=True)
    optimizer = Adam(list(made.values()), RATE, eps=1e-7)
    inputs, targets = Tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2))), Tensor(y)

    @TinyJit
    @Tensor.train()
    def step() -> Any:
        optimizer.zero_grad()
        h = inputs
        for number in range(3):
            h = h.conv2d(made[f"conv{number}.kernel"], made[f"conv{number}.bias"]).relu().max_pool2d((2, 2))
        h = (h.flatten(1) @ made["dense.kernel"] + made["dense.bias"]).relu()
        scores = h @ made["head.kernel"] + made["head.bias"]
        loss = scores.sparse_categorical_crossentropy(targets).backward()
        return loss.realize(*optimizer.schedule_step())

    yield Opened(Steps(lambda: float(step().item())))
