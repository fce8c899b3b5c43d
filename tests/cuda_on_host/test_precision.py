"""Float32 graphs with a precision on CUDA: the kernels of tensor cores are taken where the architecture has them."""

from __future__ import annotations

import numpy as np
import pytest

import a1400
from a1400.backends import registry
from a1400.engine.executor import DeviceWeights, ExecutionContext
from a1400.engine.explain import Explanation
from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.graph.graph import Value, evaluate
from a1400.optimizer import optimize
from tests.cuda_on_host.backend import MODELS, HostCudaBackend
from tests.engine.test_precision import _error
from tests.models import test_precision as whole_models

F32 = np.dtype(np.float32)
#: largest error by the output's scale
BOUND = {"fp32": 2e-5, "tf32": 2e-3, "fp16": 3e-3, "bf16": 2e-2}


def _weight(g: Graph, rng: np.random.Generator, *shape: int) -> Value:
    return g.constant((rng.standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32))


def _block() -> tuple[Graph, dict[str, np.ndarray]]:
    """A convolution whose pixels are the tokens of one transformer block."""
    rng, g = np.random.default_rng(5), Graph("block")
    image = g.input("image", (1, 8, 8, 16), F32)
    kernel = g.constant((rng.standard_normal((128, 16, 3, 3)) / 12).astype(np.float32))
    window = {"strides": (1, 1), "dilations": (1, 1), "low": (1, 1), "high": (1, 1), "groups": 1}
    pixels = g.op("max", g.op("conv", image, kernel, **window), g.constant(np.float32(0)))
    x = g.op("reshape", pixels, shape=(64, 128))
    n = g.op("layer_norm", x, _weight(g, rng, 128), _weight(g, rng, 128), axis=1, eps=1e-5)
    heads = [
        g.op("transpose", g.op("reshape", g.op("matmul", n, _weight(g, rng, 128, 128)), shape=(1, 64, 2, 64)),
             perm=(0, 2, 1, 3))
        for _ in range(3)
    ]  # fmt: skip
    seen = g.op("transpose", g.op("attention", *heads, scale=0.125), perm=(0, 2, 1, 3))
    merged = g.op("matmul", g.op("reshape", seen, shape=(64, 128)), _weight(g, rng, 128, 128))
    x = g.op("add", x, merged)
    g.output("y", g.op("matmul", g.op("tanh", x), _weight(g, rng, 128, 64)))
    return g, {"image": rng.standard_normal(image.shape).astype(np.float32)}


def _kind(variant: str) -> str:
    return variant.split("_")[0]


@pytest.mark.parametrize("precision", BOUND)
@pytest.mark.parametrize("index", range(len(MODELS)), ids=[str(m) for m in MODELS])
def test_block(index: int, precision: str, host_backend: HostCudaBackend) -> None:
    device, capability = host_backend.open(index), MODELS[index].capability
    g, feeds = _block()
    want = evaluate(g, feeds)["y"]
    allow = frozenset({"tf32"}) if precision == "tf32" else frozenset[str]()
    report = optimize(g, info=device.info, precision=precision)
    plan = make_plan(g, report, device, WeightStore(), None, allow)

    used: dict[str, set[str]] = {}
    for launch in plan.launches:
        used.setdefault(launch.call.spec.name, set()).add(_kind(launch.call.variant.name))
    half, tensor = precision in ("fp16", "bf16"), capability >= 80
    plain = {"gpu"}
    if half and tensor:
        assert used["attention"] == {"hopper" if capability >= 90 else "tensor"}, used
        assert used["gemm"] <= {"hopper", "tensor"} and used["conv"] <= {"hopper", "tensor"}, used
        assert capability >= 90 or "hopper" not in used["gemm"] | used["conv"]
    elif precision == "tf32" and tensor:
        assert used["gemm"] == used["conv"] == {"tf32"} and used["attention"] == plain, used
    else:
        assert used["gemm"] == used["conv"] == used["attention"] == plain, used
    # products read and write half types directly: the only cast is the input's
    assert (report.narrowing.casts if report.narrowing else 0) == (1 if half else 0)
    facts = Explanation("block", device.info.name, {}, [plan], precision).to_dict()["precision"]
    assert bool(facts.get("tf32_kernels")) == (precision == "tf32" and tensor)

    got = ExecutionContext(plan, device, DeviceWeights(device)).run(feeds)["y"]
    assert got.dtype == F32
    error = _error(got, want)
    assert error <= BOUND[precision], f"{error:.1e} of the output's scale"


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("name", ["bert", "mobilenet_v2"])
def test_architecture(
    name: str, precision: str, host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "_instances", lambda: (host_backend,))
    whole_models._check(name, precision, host_backend.open(0).info)


def test_tf32_model_on_tensor_cores(host_backend: HostCudaBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_instances", lambda: (host_backend,))
    path, feeds = whole_models.export("bert")
    model = a1400.load(path, device=host_backend.open(0).info.id, precision="tf32")
    errors = whole_models._errors(model.run(feeds), whole_models._float32("bert"))
    # rounded for sure, and by no more than tf32's eleven bits explain
    assert all(1e-6 < e < 2e-3 for e in errors.values()), errors
    facts = model.explain().to_dict()["precision"]
    assert sum(facts["tf32_kernels"].values()) >= 8 and len(facts["tf32_nodes"]) >= 8
