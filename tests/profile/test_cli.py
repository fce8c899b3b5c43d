"""``a1400 profile`` as a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from a1400.backends.base import DeviceInfo
from a1400.cli.app import app
from a1400.profile import Roofline
from tests.engine import onnx_models
from tests.profile.conftest import cnn

Cli = Callable[..., Any]


@pytest.fixture
def cli(peaks: Roofline, device_info: DeviceInfo) -> Cli:
    """Run ``a1400 profile`` on the device under test, briefly."""

    def run(*arguments: object) -> Any:
        words = ["profile", *map(str, arguments), "--runs", "2", "--warmup", "1", "--device", device_info.id]
        return CliRunner().invoke(app, words)

    return run


def test_tables(cli: Cli, tmp_path: Path) -> None:
    result = cli(cnn(tmp_path / "m.onnx"))
    assert result.exit_code == 0, result.stderr
    for word in ("GFLOP/s", "GB/s", "of roof", "where the time goes", "kernels", "profiling costs", "pointwise"):
        assert word in result.stdout
    assert "\x1b" not in result.stdout and "\u202e" not in result.stdout
    for what in ("launch", "kernel", "op", "node"):
        assert cli(tmp_path / "m.onnx", "--by", what, "--top", 1).exit_code == 0
    assert "1 more" not in result.stdout and " more (--top 0" in cli(tmp_path / "m.onnx", "--top", 1).stdout
    assert cli(tmp_path / "m.onnx", "--by", "colour").exit_code == 2


def test_json_and_files(cli: Cli, tmp_path: Path, device_info: DeviceInfo) -> None:
    model = onnx_models.mlp(tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.ones((6, 32), np.float32))
    trace, html = tmp_path / "t.json", tmp_path / "p.html"
    result = cli(model, "--input", tmp_path / "x.npy", "--json", "--trace", trace, "--html", html,
                 "--device", device_info.id, "--precision", "fp16")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert [one["device"]["id"] for one in document["profiles"]] == [device_info.id] * 2
    for one in document["profiles"]:
        assert one["shapes"] == {"x": [6, 32]} and one["precision"] == "fp16" and one["runs"] == 2
        assert one["launches"] and all(x["seconds"] > 0 and "share" in x for x in one["launches"])
        assert one["total"]["launches"] == len(one["launches"])
    assert {e["pid"] for e in json.loads(trace.read_text())["traceEvents"]} == {1, 2}
    assert html.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_sizes_from_options(cli: Cli, tmp_path: Path) -> None:
    model = onnx_models.mlp(tmp_path / "m.onnx")
    one = json.loads(cli(model, "--json", "--dim", "batch=5").stdout)["profiles"][0]
    assert one["shapes"] == {"x": [5, 32]}
    other = json.loads(cli(model, "--json", "--shape", "x=7x32", "--disable", "fusion").stdout)["profiles"][0]
    assert other["shapes"] == {"x": [7, 32]} and len(other["launches"]) > len(one["launches"])


def test_a_file_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:
    result = cli(onnx_models.mlp(tmp_path / "m.onnx"), "--html", tmp_path / "no" / "page.html")
    assert result.exit_code == 1 and "cannot write" in result.stderr and "Traceback" not in result.stderr
