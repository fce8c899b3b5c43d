"""The script that compares engines on the CPU: its processes, answers, figures and report, on the smallest model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from a1400.backends.base import DeviceInfo
from benchmarks import cpu, zoo
from benchmarks.cpu_parts import engines, goals, measure, report
from benchmarks.cpu_parts.engines import BASE, ENGINES, Engine
from benchmarks.zoo import reference
from benchmarks.zoo.__main__ import main as zoo_main
from benchmarks.zoo.flops import count

HERE = "tests.benchmarks.fake_engines"
MODEL = "tutorial_mnist"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("zoo")
    zoo.build(MODEL, made)
    return made


def engine(name: str, **more: Any) -> Engine:
    return Engine(name, name, f"{HERE}:{name}", **more)


def named(name: str) -> Engine:
    return next(e for e in ENGINES if e.name == name)


# ---- the zoo ------------------------------------------------------------------------------------------
def test_a_model_is_built_once_with_inputs_and_facts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = zoo.build(MODEL, folder)
    before = built.path.stat().st_mtime_ns
    assert zoo_main([MODEL, "--folder", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(built.path) and built.path.stat().st_mtime_ns == before
    feeds = built.feeds()
    assert {k: (v.shape, v.dtype) for k, v in feeds.items()} == {"x": ((1, 1, 28, 28), np.float32)}
    # 3x3 convolutions from 1 to 32, 64 and 128 channels on 28, 14 and 7 pixels, then 1152 to 64 to 10
    layers = 28**2 * 9 * 32 + 14**2 * 9 * 32 * 64 + 7**2 * 9 * 64 * 128 + 1152 * 64 + 64 * 10
    assert built.flops == 2 * layers
    assert built.weights == 4 * (9 * 32 + 32 + 9 * 32 * 64 + 64 + 9 * 64 * 128 + 128 + 1152 * 64 + 64 + 640 + 10)
    zoo_main(["--list", "--folder", str(folder)])
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(zoo.NAMES) and "0.015 GFLOP" in told[0] and "not built yet" in told[1]
    with pytest.raises(SystemExit):
        zoo_main(["nonsense"])


def test_every_name_has_a_recipe_and_back() -> None:
    from benchmarks.zoo import language, vision

    made = {n: f for module in (vision, language) for n, f in vars(module).items()
            if callable(f) and getattr(f, "__module__", "") == module.__name__ and not n.startswith("_")}  # fmt: skip
    assert sorted(made) == sorted(zoo.NAMES) and all(f.__doc__ for f in made.values())
    with pytest.raises(KeyError, match="the zoo has no nonsense"):
        zoo.recipe("nonsense")


class _All(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wide = torch.nn.ConvTranspose2d(4, 6, 3, 2)
        self.rnn = torch.nn.LSTM(8, 16, bidirectional=True)

    def forward(self, x: torch.Tensor, s: torch.Tensor, q: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.wide(x), self.rnn(s)[0], torch.nn.functional.scaled_dot_product_attention(q, q, q)


def test_operations_of_what_fused_kernels_would_hide() -> None:
    inputs = torch.zeros(1, 4, 5, 7), torch.zeros(3, 1, 8), torch.zeros(1, 2, 10, 16)
    transposed = 5 * 7 * 4 * 6 * 9
    recurrent = 2 * 3 * 4 * 16 * (8 + 16)
    attention = 2 * 2 * 10 * 10 * 16
    assert count(_All().eval(), inputs) == 2 * (transposed + recurrent + attention)


def test_the_reference_is_float64_of_the_same_weights(folder: Path) -> None:
    built = zoo.build(MODEL, folder)
    with np.load(reference.in_child(MODEL, folder)) as archive:
        true = archive["000"]
    got = onnxruntime.InferenceSession(str(built.path), providers=["CPUExecutionProvider"]).run(None, built.feeds())[0]
    assert true.dtype == np.float64 and 0 < np.abs(got - true).max() < 1e-6 * np.abs(true).max()


# ---- a run --------------------------------------------------------------------------------------------
def test_a_run_of_good_and_bad_engines(
    folder: Path, tmp_path: Path, device_info: DeviceInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each one that goes wrong costs its own cell, and the rest has all its figures."""
    label = f"{device_info.name} {device_info.platform}".lower()
    platforms = ("intel", "pocl") if device_info.kind == "cpu" else ()
    ours = next((f"a1400-{p}" for p in platforms if engines.is_of(label, p)), None)
    takers = [*([named(ours)] if ours else []), named(BASE), engine("slower"), engine("wrong"), engine("raises"),
              engine("aborts"), engine("hangs", patience=4.0), engine("absent", packages=("no-such-package",)),
              engine("dear", slow=True)]  # fmt: skip
    out = tmp_path / "new" / "cpu.json"
    common = ["--models", MODEL, "--folder", str(folder), "--output", str(out)]
    status = cpu.main([*common, "--rounds", "2", "--quick", "--reference"], takers)
    said = capsys.readouterr().out
    assert status == 1 and "absent is left out: no-such-package is not installed" in said
    document = json.loads(out.read_text())
    row = document["models"][MODEL]
    cells = row["engines"]
    assert list(cells) == [*([ours] if ours else []), BASE, "slower", "wrong", "raises", "aborts", "hangs"]
    assert cells["wrong"]["failure"].startswith("wrong answer: ") and "median" not in cells["wrong"]
    assert cells["raises"]["failure"] == "NotImplementedError: no such operator"
    assert cells["aborts"]["failure"] == "died of signal 6 (SIGABRT)" and "median" not in cells["aborts"]
    assert cells["hangs"]["failure"] == "did nothing for 4 s and was stopped"
    assert len(document["failures"]) == 4
    for name in [BASE, "slower", *([ours] if ours else [])]:
        cell = cells[name]
        assert 0 < cell["best"] <= cell["median"] and len(cell["rounds"]) == 2 and cell["runs"] >= 6
        assert cell["gflops"] == pytest.approx(row["flops"] / cell["median"] * 1e-9)
        assert cell["of_peak"] == pytest.approx(cell["gflops"] / row["peak_gflops"])
        assert cell["error_reference"] < 1e-6 and "start" not in cell
    assert cells["slower"]["ratio"] < 0.5 and cells["slower"]["error"] == 0 and cells["slower"]["best"] > 0.02
    if ours:
        assert cells[ours]["launches"] > 0 and cells[ours]["programs"] > 0 and cells[ours]["error"] < 1e-4
    text = out.with_suffix(".md").read_text()
    assert text in said and "| tutorial CNN 28x28x1 (0.0151) |" in text and "## Failures" in text
    with Image.open(out.with_suffix(".png")) as picture:
        assert picture.format == "PNG" and picture.width > 500 and len(picture.convert("RGB").getcolors(1 << 24)) > 20
    # another run keeps what it does not measure, and what is there can be shown again
    document["models"] = {"resnet18": row}
    out.write_text(json.dumps(document))
    assert cpu.main([*common, "--rounds", "1", "--quick", "--update", "--engines", BASE], takers) == 1
    assert list(json.loads(out.read_text())["models"]) == [MODEL, "resnet18"]
    assert cpu.main([*common, "--show"], takers) == 1
    assert cpu.main(["--output", str(tmp_path / "none.json"), "--show"], takers) == 2


def test_cold_and_warm_starts(folder: Path) -> None:
    row = measure.model(zoo.build(MODEL, folder), [named(BASE)], measure.Plan(1, 1, seconds=0.001))
    cell = row["engines"][BASE]
    for kind in ("cold", "warm"):
        start = cell["start"][kind]
        assert start["load"] > 0 and start["first_run"] > 0 and 20e6 < start["peak_memory"] < 2e9
        assert goals.ready(cell, kind) == start["load"] + start["first_run"]
    assert cell["peak_memory"] >= cell["start"]["warm"]["peak_memory"] and "failure" not in cell


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--models", "nonsense"], ["--engines", "nonsense"], ["--rounds", "0"], ["--minutes", "nan"], ["x"]):
        with pytest.raises(SystemExit) as left:
            cpu.main(words)
        assert left.value.code == 2
    assert "there is no nonsense; there are tutorial_mnist, " in capsys.readouterr().err
    assert cpu.main(["--output", str(tmp_path / "a.json")], [engine("absent", packages=("no-such-package",))]) == 2
    out = tmp_path / "b.json"
    assert cpu.main(["--models", MODEL, "--minutes", "1e-9", "--output", str(out)], [named(BASE)]) == 0
    assert json.loads(out.read_text())["left_out"] == [MODEL]
    assert f"Left out, as time was up: {MODEL}." in capsys.readouterr().out


def test_a_model_that_cannot_be_built_costs_itself(folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "zoo"
    bad.write_text("not a folder")
    out = tmp_path / "c.json"
    assert cpu.main(["--models", MODEL, "--folder", str(bad), "--output", str(out)], [named(BASE)]) == 1
    document = json.loads(out.read_text())
    assert not document["models"] and document["failures"][0].startswith(f"{MODEL}: its files cannot be made here (")
    assert "NotADirectoryError" in document["failures"][0] or "FileExistsError" in document["failures"][0]


# ---- figures ------------------------------------------------------------------------------------------
def test_errors_of_outputs() -> None:
    a = np.array([1.0, -4.0], np.float32)
    assert measure.error([a], [a]) == 0 and measure.error([a + 1], [a]) == 0.25
    assert measure.error([a, a + 1], [a, a]) == 0.25 and measure.error([a[:1]], [a]) == math.inf
    assert measure.error([a], [a, a]) == math.inf and measure.error([a * np.nan], [a]) == math.inf
    assert measure.error([a * np.nan, a], [a, a]) == math.inf and measure.error([a * 0], [a * 0]) == 0
    assert measure.error([np.zeros((0, 2))], [np.zeros((0, 2))]) == 0


def test_ratios_are_of_rounds_that_both_ran_in() -> None:
    cells: dict[str, Any] = {"a": {}, BASE: {}, "failed": {"failure": "x"}, "peak": {"flops": 1e9}}
    row: dict[str, Any] = {"flops": 8e9, "engines": cells}
    times = {"a": {0: [9.0, 1.0, 2.0], 2: [4.0]}, BASE: {0: [4.0], 1: [100.0], 2: [4.0]}, "failed": {0: [1.0]},
             "peak": {0: [0.05]}}  # fmt: skip
    measure.figures(row, times)
    assert sorted(cells) == ["a", "failed", BASE] and row["peak_gflops"] == pytest.approx(20)
    assert cells["a"]["median"] == 3 and cells["a"]["best"] == 2 and cells["a"]["runs"] == 4
    assert (cells["a"]["low"], cells["a"]["high"]) == (2.5, 3.5)
    assert cells["a"]["ratio"] == 1.5 and cells[BASE]["ratios"] == {"a": pytest.approx((0.5 + 1) / 2)}
    assert cells["a"]["of_peak"] == pytest.approx(8 / 3 / 20) and "median" not in cells["failed"]


def _rows(speed: float, **more: Any) -> dict[str, Any]:
    """A row for each model, in which a1400 has ``speed`` times ONNX Runtime's."""
    made = {}
    for name, title in zoo.NAMES.items():
        ours = {"median": 1 / speed, "low": 0.9 / speed, "high": 1.1 / speed, "gflops": 1.0, "error": 2e-5,
                "ratios": {BASE: speed, "openvino": speed, "torch": speed}, "peak_memory": 3e8, "launches": 9,
                "programs": 4, "start": {k: {"load": 0.5, "first_run": 0.25} for k in ("cold", "warm")}}  # fmt: skip
        cells = {"a1400-intel": {**ours, **more}, BASE: {"median": 1.0, "low": 1.0, "high": 1.0, "peak_memory": 2.6e8}}
        for cell in cells.values():
            if BASE in cell.get("ratios", {}):
                cell["ratio"] = cell["ratios"][BASE]
        made[name] = {"title": title, "flops": 1e9, "engines": cells, "peak_gflops": 200.0}
    return made


def _document(rows: dict[str, Any]) -> dict[str, Any]:
    facts = {"device": "A CPU", "threads": 2, "versions": {"onnxruntime": "1"}, "date": "2026-01-02", "commit": "abc"}
    return report.finish({"facts": facts, "models": rows})


def test_goals() -> None:
    fast = _document(_rows(4.0))
    assert {g["met"] for g in fast["goals"]} == {True, None} and not fast["failures"]
    assert [g["goal"] for g in fast["goals"] if g["met"] is None] == [
        "PoCL, geometric mean of the speed on Intel's runtime", "slowest model, of tinygrad's speed",
        "largest error on PoCL, of the output's scale",
    ]  # fmt: skip
    assert fast["means"]["a1400-intel"]["mean"] == pytest.approx(4) and fast["means"]["a1400-intel"]["models"] == 26
    rows = _rows(1.2, peak_memory=3.2e8, error=2e-4)
    rows["fsrcnn"]["engines"]["a1400-intel"]["ratios"][BASE] = 0.5
    rows["yolo"]["engines"]["a1400-intel"] = {"failure": "died"}
    slow = _document(rows)
    told = {g["goal"]: g for g in slow["goals"]}
    for words in ("geometric mean, of ONNX Runtime's speed", "ResNet-18, of ONNX Runtime's speed",
                  "ResNet-50's peak memory, of ONNX Runtime's", "largest error on Intel, of the output's scale"):
        assert told[words]["met"] is False, words
    lowest = told["slowest model, of ONNX Runtime's speed"]
    assert (lowest["measured"], lowest["of"], lowest["met"]) == (0.5, "fsrcnn", False)
    assert told["YOLO-style detector 320x320, of ONNX Runtime's speed"]["met"] is None
    assert told["BERT-base, 128 tokens, of ONNX Runtime's speed"]["met"] is True
    assert slow["failures"] == ["yolo: a1400, Intel: died"]
    text = report.markdown(slow)
    for words in ("at least 0.95x; 0.50x (fsrcnn): **not met**", "at most 1.0e-04; 2.0e-04", "| failed |",
                  "0.75 / 0.75, 320", "833 ±10%", "Measured fp32 peak: 200 to 200 GFLOP/s"):
        assert words in text, words


def test_platforms_are_told_apart() -> None:
    intel, pocl = "amd epyc intel(r) opencl", "cpu-amd portable computing language"
    assert engines.is_of(intel, "intel") and not engines.is_of(intel, "pocl")
    assert engines.is_of(pocl, "pocl") and not engines.is_of(f"{pocl} intel", "intel")
    assert not engines.is_of("oclgrind simulator intel", "intel")
    device = {"name": "AMD EPYC", "platform": "Intel(R) OpenCL"}
    assert engines.missing(named("a1400-intel"), [device]) is None
    assert engines.missing(named("a1400-pocl"), [device]) == "there is no OpenCL CPU device of pocl"
