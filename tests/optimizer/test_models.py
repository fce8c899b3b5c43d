"""Exported architectures: what is left of them, and that they still compute the same."""

from __future__ import annotations

import pytest

from a1400.frontends.onnx import load_onnx
from a1400.optimizer import optimize
from tests.optimizer.graphs import compare, count, well_formed

pytest.importorskip("torch")
pytest.importorskip("transformers")

#: name -> nodes of some kinds that must be left (transposes: the edges, and four per attention for its heads)
EXPECTED = {
    "resnet18": {"transpose": 1, "pointwise": 0},
    "mobilenet_v2": {"transpose": 1, "pointwise": 0},
    "efficientnet": {"transpose": 1},
    "convnext": {"transpose": 1, "pointwise": 0, "layer_norm": 10},
    "unet": {"transpose": 2, "pointwise": 0},
    "detector": {"transpose": 1},
    "bert": {"attention": 2, "transpose": 8, "softmax": 0, "layer_norm": 5},
    "gpt2": {"attention": 2, "transpose": 8, "softmax": 0},
    "llama": {"attention": 2, "rms_norm": 5, "expand": 0},
    "t5_encoder": {"attention": 2, "rms_norm": 5, "softmax": 0},
    "vit": {"attention": 2, "transpose": 9},
    "swin": {"attention": 4, "softmax": 0},
    "segformer": {"attention": 4, "pointwise": 0},
    "wav2vec2": {"attention": 2, "softmax": 0},
    "whisper_encoder": {"attention": 2, "pointwise": 0},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_model(name: str) -> None:
    from tests.models.export import export

    path, inputs = export(name)
    model, memo = load_onnx(path), {}
    shapes = {k: v.shape for k, v in inputs.items()}
    graph = model.graph(shapes)
    report = compare(graph, {k: v for k, v in inputs.items() if k in graph.inputs}, tolerance=1e-4, memo=memo)
    assert {op: count(graph, op) for op in EXPECTED[name]} == EXPECTED[name], f"{report}\n{graph}"
    again = model.graph(shapes)
    optimize(again, memo=memo)
    well_formed(again)
    arrays = {id(c.data) for c in graph.constants() if c.size > 1}
    assert {id(c.data) for c in again.constants() if c.size > 1} == arrays
