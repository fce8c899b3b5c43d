"""How each engine prepares a training step: runs in that engine's own process (see ``cpu_parts/opening.py``).

The first run makes three steps and gives the three losses, which are compared; every later run is one step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.cpu_parts.opening import Feeds, Opened, Opening, _device
from benchmarks.train_parts.tasks import EPSILON, RATE, SECOND, read

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


def trainer_intel(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """``a1400.Trainer`` on Intel's OpenCL runtime, without Keras and PyTorch."""
    import a1400
    from a1400.train.losses import SparseCategoricalCrossentropy
    from a1400.train.optimizers import Adam
    from benchmarks.train_parts import own_networks

    yield None
    x, y, weights = read(feeds)
    network = own_networks.build(job["name"], weights)
    loss = SparseCategoricalCrossentropy(from_logits=True)
    trainer = a1400.Trainer(network, loss, Adam(RATE), device=_device("intel"))
    yield Opened(Steps(lambda: trainer.train_on_batch(x, y)["loss"]))


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
    optimizer = torch.optim.Adam(network.parameters(), RATE, fused=True)
    count = itertools.count(1)
    inputs, targets = torch.from_numpy(np.array(x)), torch.from_numpy(y.astype(np.int64))

    def loss_of(inputs: Any, targets: Any) -> Any:
        return torch.nn.functional.cross_entropy(network(inputs), targets)

    call: Any = torch.compile(loss_of) if whole else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = call(inputs, targets)
        loss.backward()
        optimizer.param_groups[0]["eps"] = EPSILON / (1 - SECOND ** next(count)) ** 0.5
        optimizer.step()
        return float(loss.detach())

    yield Opened(Steps(step))


def tinygrad(job: Mapping[str, Any], feeds: Feeds) -> Opening:
    """tinygrad under its TinyJit."""
    from tinygrad import Tensor, TinyJit
    from tinygrad.helpers import Context

    from benchmarks.train_parts import tinygrad_networks

    yield None
    x, y, weights = read(feeds)
    network, parameters = tinygrad_networks.build(job["name"], weights)
    optimizer = tinygrad_networks.Adam(parameters, RATE, b1=0.9, b2=SECOND, adam=True)
    inputs, targets = Tensor(x).realize(), Tensor(y).realize()

    @TinyJit
    def step() -> Any:
        optimizer.zero_grad()
        loss = network(inputs).sparse_categorical_crossentropy(targets).backward()
        return loss.realize(*optimizer.schedule_step())

    def run() -> float:
        with Context(TRAINING=1):
            return float(step().item())

    yield Opened(Steps(run))
