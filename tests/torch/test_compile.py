"""``torch.compile(..., backend="a1400")`` on every device: steps of training, memory, shapes, errors."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import a1400
import a1400.torch
from a1400.backends.base import Device
from a1400.torch.compiled import CompiledGraph
from a1400.torch.options import Options


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)


class _Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(20, 64), nn.LayerNorm(64), nn.Linear(64, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(F.gelu(self.norm(self.first(x))))


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(30, 16), nn.Linear(16, 5)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, activation="gelu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.embedding(x)).mean(1))


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.GroupNorm(4, 12), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(12, 5),
    )  # fmt: skip


_NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "perceptron": (_Perceptron, lambda: torch.randn(8, 20)),
    "convolutional": (_convolutional, lambda: torch.randn(8, 3, 12, 12)),
    "transformer": (_Transformer, lambda: torch.randint(0, 30, (8, 6))),
}


def _options(device: Device) -> dict[str, Any]:
    return {"device": device.info.id}


@pytest.mark.parametrize("name", _NETWORKS)
def test_five_steps_of_training_are_those_of_eager_pytorch(name: str, device: Device) -> None:
    make, inputs = _NETWORKS[name]
    eager, x, y = make(), inputs(), torch.randint(0, 5, (8,))
    own = copy.deepcopy(eager)
    losses: list[list[float]] = []
    for model, run in ((eager, eager), (own, torch.compile(own, backend="a1400", options=_options(device)))):
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        losses.append([])
        for _ in range(5):
            loss = F.cross_entropy(run(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    for (key, a), b in zip(own.state_dict().items(), eager.state_dict().values()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def test_memory_that_is_shared_is_used_in_place(device: Device) -> None:
    if not device.shares_memory:
        pytest.skip("the device has memory of its own")
    seen: list[np.ndarray] = []
    wrap = device.wrap

    def watched(array: np.ndarray) -> Any:
        seen.append(array)
        return wrap(array)

    x, w = torch.randn(64, 200), torch.randn(200, 300)
    run = torch.compile(lambda x, w: (x @ w).t(), backend="a1400", options=_options(device))
    run(x, w)
    try:
        device.wrap = watched  # type: ignore[method-assign]
        again = torch.randn(64, 200)
        y = run(again, w)
    finally:
        del device.wrap
    places = {array.ctypes.data for array in seen}
    assert again.data_ptr() in places
    assert y.stride() == (1, 300)
    torch.testing.assert_close(y, (again @ w).t(), rtol=1e-4, atol=1e-4)


def test_operators_that_are_not_supported_are_listed_or_left_to_pytorch(device: Device) -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.special.airy_ai(x.sin()) * 2 + torch.special.scaled_modified_bessel_k0(x.exp())

    with pytest.raises(Exception, match=r"(?s)airy_ai.*bessel_k0"):
        torch.compile(function, backend="a1400", options=_options(device))(torch.rand(5))
    torch._dynamo.reset()
    run = torch.compile(function, backend="a1400", options={**_options(device), "fallback": "torch"})
    x = torch.rand(5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.testing.assert_close(run(x), function(x))
    assert len([w for w in caught if "aten.special_airy_ai" in str(w.message)]) == 1


def test_a_dynamic_batch_is_compiled_once(device: Device) -> None:
    graphs: list[CompiledGraph] = []
    make = CompiledGraph.__init__

    def counted(self: CompiledGraph, *args: Any, **keywords: Any) -> None:
        graphs.append(self)
        make(self, *args, **keywords)

    layer = nn.Linear(6, 4)
    run = torch.compile(lambda x: layer(x).flatten() * x.shape[0], backend="a1400", options=_options(device))
    try:
        CompiledGraph.__init__ = counted  # type: ignore[method-assign]
        with torch.no_grad():
            for batch in (5, 3, 9, 2):
                x = torch.randn(batch, 6)
                torch._dynamo.mark_dynamic(x, 0)
                torch.testing.assert_close(run(x), layer(x).flatten() * batch)
    finally:
        CompiledGraph.__init__ = make  # type: ignore[method-assign]
    assert len(graphs) == 1 and len(graphs[0].programs) >= 4


def test_an_optimizer_s_step_is_compiled(device: Device) -> None:
    ours, theirs = nn.Linear(6, 4), nn.Linear(6, 4)
    theirs.load_state_dict(ours.state_dict())
    own = torch.optim.AdamW(ours.parameters(), 0.01)
    steps = (torch.compile(own.step, backend="a1400", options=_options(device)),
             torch.optim.AdamW(theirs.parameters(), 0.01).step)  # fmt: skip
    x = torch.randn(5, 6)
    for _ in range(3):
        for model, step in zip((ours, theirs), steps):
            model.zero_grad()
            model(x).square().sum().backward()
            step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_writes_in_place_reach_the_caller(device: Device) -> None:
    def function(x: torch.Tensor, cache: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        cache[:, 1:3] += x
        cache.index_copy_(0, at, x[:1] @ torch.ones(2, 4))
        return cache[0]

    x, at = torch.randn(3, 2), torch.tensor([2])
    ours, theirs = torch.zeros(3, 4), torch.zeros(3, 4)
    y = torch.compile(function, backend="a1400", options=_options(device))(x, ours, at)
    torch.testing.assert_close(y, function(x, theirs, at))
    torch.testing.assert_close(ours, theirs)
    ours[0, 0] = 7.0
    assert y[0] == 7.0  # a view of the cache, as in eager PyTorch


def test_dropout_repeats_with_the_seed_and_its_gradient_is_its_mask(device: Device) -> None:
    run = torch.compile(lambda x: F.dropout(x, 0.3), backend="a1400", options=_options(device))
    x = torch.ones(4000, requires_grad=True)
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        y = run(x)
        (g,) = torch.autograd.grad(y.sum(), x)
        assert torch.equal(g, y.detach())
        made.append(y.detach())
    assert torch.equal(made[0], made[1]) and not torch.equal(made[0], made[2])
    assert abs(float((made[0] != 0).float().mean()) - 0.7) < 0.03


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(Exception, match="there is no option 'fall_back'"):
        torch.compile(lambda x: x + 1, backend="a1400", options={"fall_back": "torch"})(torch.ones(2))
    with pytest.raises(Exception, match="'torch', not 'eager'"):
        Options.read({"fallback": "eager"})


def test_a_loaded_module_gives_what_it_gives_in_pytorch(device: Device) -> None:
    model, x = _Transformer().eval(), torch.randint(0, 30, (4, 6))
    batch = torch.export.Dim("batch", min=2, max=64)
    loaded = a1400.load(model, (x,), dynamic_shapes=({0: batch},), device=device.info.id)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), model(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(loaded(x[:3].numpy()), model(x[:3]), rtol=1e-5, atol=1e-5)


def test_the_package_does_not_import_pytorch_by_itself() -> None:
    code = "import sys, a1400, a1400.engine.model, a1400.backends.registry; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
