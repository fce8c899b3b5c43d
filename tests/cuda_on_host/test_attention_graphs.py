"""Half-precision attention in graphs: which variant each architecture is given, and the answer."""

from __future__ import annotations

import pytest

from a1400.engine.plan import make_plan
from a1400.engine.weight_store import WeightStore
from a1400.graph import Graph
from a1400.optimizer import optimize
from tests.cuda_on_host.backend import MODELS, HostCudaBackend
from tests.engine import test_lowering
from tests.engine.graphs import GRAPHS

VARIANTS = {
    "attention_encoder_half": {90: "hopper_d64", 80: "tensor_d64", 75: "gpu_d64"},
    "attention_decoder_bfloat": {90: "hopper_d64", 80: "tensor_d64", 75: "gpu_d64"},
    "attention_step_half": {90: "decode_d64", 80: "decode_d64", 75: "decode_d64"},
    "attention_odd_half": {90: "tensor_d64", 80: "tensor_d64", 75: "gpu_d64"},
}


@pytest.mark.parametrize("index", range(len(MODELS)), ids=[str(m) for m in MODELS])
@pytest.mark.parametrize("name", VARIANTS)
def test_graph(name: str, index: int, host_backend: HostCudaBackend) -> None:
    device = host_backend.open(index)
    g = Graph(name)
    GRAPHS[name](g)
    plan = make_plan(g, optimize(g, info=device.info), device, WeightStore(), None)
    chosen = [x.call.variant.name for x in plan.launches if x.call.spec.name == "attention"]
    assert chosen == [VARIANTS[name][MODELS[index].capability]]
    test_lowering.test_graph(name, True, device)
