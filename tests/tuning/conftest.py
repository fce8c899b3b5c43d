"""Models and a cache folder for the tests of ``a1400 tune``."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper as h


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("A1400_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def softmax_model(tmp_path: Path) -> Path:
    """One softmax over rows of 400."""
    shape = [64, 400]
    graph = h.make_graph(
        [h.make_node("Softmax", ["x"], ["y"], axis=-1)], "softmax",
        [h.make_tensor_value_info("x", T.FLOAT, shape)], [h.make_tensor_value_info("y", T.FLOAT, shape)],
    )  # fmt: skip
    path = tmp_path / "softmax.onnx"
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), path)
    return path
