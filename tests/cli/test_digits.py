"""The main job on real input: the shipped digits model on every device, through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/image_classification"
PICTURES = sorted((EXAMPLE / "pictures").glob("*.png"))


@pytest.mark.parametrize("batch", [1, 4])
def test_pictures_are_recognised(cli, device_info, tmp_path, batch):
    out = tmp_path / "out.npz"
    arguments = ["--device", device_info.id, "--batch", batch, "--save", out, "--json"]
    result = cli("run", EXAMPLE / "digits.onnx", "--input", *PICTURES, *arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["device"]["id"] == device_info.id
    right = [re.search(r"digit-(\d)", row["input"])[1] for row in document["results"]]
    assert [row["top"][0]["label"] for row in document["results"]] == right == list("0123456789")
    with np.load(out) as saved:
        assert saved["scores"].shape == (10, 10)


def test_scores_agree_with_onnx_runtime(cli, device_info, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    images = np.random.default_rng(0).random((5, 1, 8, 8), np.float32)
    np.save(tmp_path / "x.npy", images)
    result = cli(
        "run",
        EXAMPLE / "digits.onnx",
        "-i",
        tmp_path / "x.npy",
        "--device",
        device_info.id,
        "--save",
        tmp_path / "y.npz",
    )
    assert result.exit_code == 0, result.stderr
    session = onnxruntime.InferenceSession(str(EXAMPLE / "digits.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": images})
    with np.load(tmp_path / "y.npz") as saved:
        np.testing.assert_allclose(saved["scores"], expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_explain_shows_no_node_on_the_host(cli, device_info):
    result = cli("explain", EXAMPLE / "digits.onnx", "--device", device_info.id, "--json")
    assert result.exit_code == 0, result.stderr
    explanation = json.loads(result.stdout)["explanation"]
    assert explanation["host_nodes"] == 0 and explanation["launches"] >= 1


def test_bench_compares_with_onnx_runtime(cli, device_info):
    pytest.importorskip("onnxruntime")
    arguments = ["--device", device_info.id, "--rounds", 3, "--json"]
    result = cli("bench", EXAMPLE / "digits.onnx", *arguments)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert set(document["speed"]) == {"a1400", "onnxruntime"}
    assert document["differences"][0]["relative"] < 1e-4
    assert {name: one["error"] for name, one in document["start"].items()} == dict.fromkeys(document["start"])
