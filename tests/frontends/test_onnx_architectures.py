"""Whole architectures, exported with random weights: the traced graph against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

from a1400.frontends.onnx import load_onnx
from a1400.graph.graph import evaluate
from tests.models.export import NAMES, export

CASES = [(n, False) for n in NAMES] + [(n, True) for n in ("resnet18", "bert", "llama", "speech_lstm", "detector")]


@pytest.mark.parametrize(("name", "dynamo"), CASES, ids=[f"{n}-{'dynamo' if d else 'script'}" for n, d in CASES])
def test_architecture(name: str, dynamo: bool) -> None:
    """Agrees to 1e-4 of each output's scale, for the exported shape and for another batch where that is dynamic."""
    import onnxruntime

    path, inputs = export(name, dynamo=dynamo)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = [o.name for o in session.get_outputs()]
    model = load_onnx(path)
    inputs = {n: inputs[n] for n in model.inputs}
    feeds = [inputs]
    if all(s.shape is not None and isinstance(s.shape[0], str) for s in model.inputs.values()):
        feeds.append({n: np.concatenate([a, a[::-1], a]) for n, a in inputs.items()})
    for feed in feeds:
        expected = dict(zip(outputs, session.run(outputs, feed)))
        graph = model.graph({n: a.shape for n, a in feed.items()})
        got = evaluate(graph, feed)
        for output, want in expected.items():
            assert got[output].shape == want.shape
            assert np.abs(got[output] - want).max() <= 1e-4 * np.abs(want).max(), output
