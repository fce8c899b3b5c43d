"""The GPU script without a GPU: its command line, its processes, its journal, the test suites it runs, its report."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from a1400.backends import registry
from benchmarks import gpu
from benchmarks.common import document as documents
from benchmarks.gpu_parts import machine, parts, report, runner, suites
from benchmarks.gpu_parts.bench import Bench
from benchmarks.gpu_parts.parts import Journal
from tests.cuda_on_host.backend import HostCudaBackend, describe

ROOT = Path(__file__).parents[2]
PROLOGUE = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from benchmarks.gpu_parts.bench import Bench
from benchmarks.gpu_parts.parts import Journal, run
"""


# ---- the command line ---------------------------------------------------------------------------------
def test_parts_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    def chosen(*words: str) -> list[str]:
        return gpu.chosen_parts(gpu.arguments(words))

    assert chosen() == [name for name in parts.PARTS if name != "sanitizer"]
    assert chosen("--only", "attention, gemm") == ["ceilings", "gemm", "attention"]
    assert chosen("--only", "gemm", "--skip", "ceilings") == ["gemm"]
    assert chosen("--only", "sanitizer") == ["sanitizer"]
    for words in (["--only", "nonsense"], ["--minutes", "0"], ["--minutes", "x"], ["--seconds", "inf"], ["stray"]):
        with pytest.raises(SystemExit) as left:
            gpu.arguments(words)
        assert left.value.code == 2
    assert "there is no part nonsense; the parts are tests, " in capsys.readouterr().err


def test_no_gpu_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    if registry.all_backends()["cuda"].devices():
        pytest.skip("there is an NVIDIA GPU here")
    out = tmp_path / "out.json"
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--output", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout and not out.exists()
    assert done.stderr.startswith("there is no NVIDIA GPU cuda:0 here to measure: ") and done.stderr.count("\n") == 1


# ---- processes ----------------------------------------------------------------------------------------
def child(tmp_path: Path, body: str) -> tuple[list[str], Path]:
    script, journal = tmp_path / "child.py", tmp_path / "part.jsonl"
    script.write_text(PROLOGUE + body + f"\nsys.exit(run('part', bench, Journal(Path({str(journal)!r}), 'part'), "
                      "float(sys.argv[1]), rows))\n")  # fmt: skip
    return [sys.executable, str(script), "inf"], journal


CRASHES = """
class Device:
    alive = True
    def stream(self):
        if not self.alive:
            raise RuntimeError("the context is lost")
        return self
    def alloc(self, nbytes): return None
    def write(self, buffer, array): self.array = array.copy()
    def read(self, buffer, array): array[:] = self.array

bench = Bench(Device())
bench.notes.append("a note")

def lost():
    bench.device.alive = False
    raise RuntimeError("an illegal address")

def rows(bench, deadline):
    yield "good", lambda: {"value": 1}
    yield "aborts", os.abort
    yield "hangs", lambda: time.sleep(600)
    yield "raises", lambda: 1 / 0
    yield "loses the device", lost
    yield "exits", lambda: os._exit(7)
    yield "last", lambda: {"value": float("nan")}
"""


def test_each_row_that_goes_wrong_costs_itself_alone(tmp_path: Path) -> None:
    command, journal = child(tmp_path, CRASHES)
    shown: list[str] = []
    result = runner.run_part("part", command, journal, math.inf, quiet=15.0, show=shown.append)
    got = {row["row"]: row.get("failure") for row in result["rows"]}
    assert got == {
        "good": None,
        "aborts": "the process died of signal 6 (SIGABRT) in this row",
        "hangs": "the process did nothing for 15 s and was stopped in this row",
        "raises": "ZeroDivisionError: division by zero",
        "loses the device": "RuntimeError: an illegal address",
        "exits": "the process ended with status 7 in this row",
        "last": None,
    }
    assert result["notes"] == ["a note"] and not result["problems"] and not result["left_out"]
    assert "  good: done" in shown and any("SIGABRT" in line for line in shown)


def test_a_process_that_never_starts(tmp_path: Path) -> None:
    command, journal = child(tmp_path, "raise SystemExit(5)")
    result = runner.run_part("part", command, journal, math.inf)
    assert result["problems"] == ["the process ended with status 5 outside of any row"] and not result["rows"]


def test_time_that_is_up_is_told(tmp_path: Path) -> None:
    body = "bench = Bench(None)\ndef rows(bench, deadline):\n    for i in range(3): yield f'row {i}', lambda: {}\n"
    command, journal = child(tmp_path, body)
    result = runner.run_part("part", [*command[:2], str(time.time() - 1)], journal, math.inf)
    assert result["left_out"] == ["row 0", "row 1", "row 2"] and not result["rows"] and not result["problems"]
    sleepy = "bench = Bench(None)\ndef rows(bench, deadline):\n    yield 'sleeps', lambda: time.sleep(600)\n"
    (tmp_path / "late").mkdir()
    command, journal = child(tmp_path / "late", sleepy)
    result = runner.run_part("part", command, journal, time.time() - 15)
    assert result["left_out"] == ["sleeps"] and result["problems"] == ["time was up"]


def test_a_journal_survives_a_torn_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j", "part")
    assert journal.read() == [] and journal.finished() == set()
    journal.write("done", "a", value=1)
    Journal(tmp_path / "j", "other").write("done", "b")
    with (tmp_path / "j").open("a") as file:
        file.write('{"part": "part", "sta')
    assert [e["row"] for e in journal.read()] == ["a"] and journal.finished() == {"a"}


# ---- suites -------------------------------------------------------------------------------------------
TESTS = """
import os, time
import pytest
def test_good(): assert os.environ["A1400_TEST_DEVICES"] == "cuda:0"
def test_bad(): assert False
def test_slow():
    if os.environ.get("SLEEPY"): time.sleep(600)
@pytest.mark.skip(reason="x")
def test_skipped(): pass
@pytest.fixture
def broken(): raise ValueError
def test_error(broken): pass
"""


def test_suites_count_what_pytest_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "test_it.py"
    path.write_text(TESTS)
    row = suites.run_pytest([str(path)], "cuda:0", math.inf, extra=["-c", "/dev/null"])
    assert (row["passed"], row["failed"], row["skipped"]) == (2, 2, 1) and row["failure"] == "2 tests failed"
    assert [name.rpartition("::")[2] for name in row["failed_names"]] == ["test_bad", "test_error"]
    good = suites.run_pytest([f"{path}::test_good"], "cuda:0", math.inf, extra=["-c", "/dev/null"])
    assert "failure" not in good and good["passed"] == 1 and good["status"] == 0
    none = suites.run_pytest([f"{path}::test_nothing"], "cuda:0", math.inf, extra=["-c", "/dev/null"])
    assert none["failure"] == "pytest ended with status 4 and 0 tests passed"
    monkeypatch.setenv("SLEEPY", "1")
    late = suites.run_pytest([str(path)], "cuda:0", time.time() + 5, extra=["-c", "/dev/null"])
    assert late["failure"].startswith("stopped after ") and late["wall"] < 60


def test_sanitizer_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"passed": 3, "failed": 0, "skipped": 0, "status": 0}

    def check(output: str, **more: Any) -> dict[str, Any]:
        monkeypatch.setattr(suites, "run_pytest", lambda *a: {**given, "output": output, **more})
        return suites.sanitize("compute-sanitizer", "memcheck", "cuda:0", math.inf)

    assert "failure" not in check("3 passed\n========= ERROR SUMMARY: 0 errors\n")
    assert check("========= ERROR SUMMARY: 2 errors\n========= ERROR SUMMARY: 1 error\n")["reported"] == 3
    assert check("========= RACECHECK SUMMARY: 4 hazards displayed\n")["failure"] == "memcheck reports 4 errors"
    assert check("3 passed")["failure"] == "memcheck printed no summary"


# ---- the report ---------------------------------------------------------------------------------------
def timing(median: float) -> dict[str, Any]:
    return {"median": median, "low": 0.9 * median, "high": 1.1 * median, "best": 0.8 * median, "samples": 9,
            "repeat": 3, "how": "graph"}  # fmt: skip


def document(**found: list[dict[str, Any]]) -> report.Document:
    facts = {**machine.facts(describe(0)), "device": "A GPU"}
    empty = {"notes": [], "left_out": [], "problems": []}
    return {"facts": facts, "options": {}, "parts": {name: {"rows": rows, **empty} for name, rows in found.items()}}


def rows_of_a_run() -> report.Document:
    seconds = {"a1400": timing(2e-3), "cuBLAS": timing(1.6e-3), "PyTorch": timing(1.5e-3)}
    product = {"row": "8192 x 8192 x 8192, bf16", "dtype": "bf16", "bound": "compute", "flops": 1.2e12, "bytes": 4e8,
               "seconds": seconds, "error": 1e-3, "kernels": ["gemm/hopper"], "not_timed": {}}  # fmt: skip
    copy = {"row": "copy", "ceiling": True, "flops": 0.0, "bytes": 2e9, "seconds": {"copy": timing(5e-4)}}
    norm = {"row": "softmax", "dtype": "fp16", "bound": "memory", "flops": 0.0, "bytes": 1e9,
            "seconds": {"a1400": timing(3e-4)}, "not_timed": {"PyTorch": "RuntimeError: none"}}  # fmt: skip
    bad = {"row": "layer norm", "dtype": "fp16", "failure": "wrong answer: error nan", "error": math.nan}
    whole = {"row": "ResNet-50", "dtype": "fp16", "bound": "model", "flops": 0.0, "bytes": 0.0, "batch": 32,
             "seconds": {"a1400": timing(1e-2), "a1400, host arrays": timing(5e-3), "PyTorch eager": timing(2e-2)},
             "per_second": {"a1400": 3200.0}}  # fmt: skip
    tests = {"row": "spec cases through CUDA", "passed": 5, "failed": 1, "skipped": 2, "failure": "1 tests failed",
             "failed_names": ["a::b"], "tail": f"{ROOT}/tests/x.py:1: assert"}  # fmt: skip
    return document(tests=[tests], ceilings=[copy], gemm=[product], memory=[norm, bad], models=[whole])


def test_rates_ratios_and_goals() -> None:
    made = report.finish(rows_of_a_run())
    product = made["parts"]["gemm"]["rows"][0]
    assert product["tflops"]["a1400"] == pytest.approx(600) and product["peer"] == "PyTorch"
    assert product["ratio_to_peer"] == pytest.approx(0.75)
    assert made["ceilings"] == {"copy": pytest.approx(4e12), "bf16": pytest.approx(8e14)}
    assert product["ratio_to_ceiling"] == pytest.approx(0.75)
    softmax = made["parts"]["memory"]["rows"][0]
    assert softmax["gbps"]["a1400"] == pytest.approx(1e9 / 3e-4 * 1e-9)
    assert softmax["ratio_to_ceiling"] == pytest.approx(2.5e-4 / 3e-4)
    whole = made["parts"]["models"]["rows"][0]
    assert whole["ratio_to_peer"] == pytest.approx(2.0) and "ratio_to_ceiling" not in whole
    goals = [(g["measured"], g["met"]) for g in made["goals"]]
    assert goals == [(pytest.approx(0.75), False), (0.0, False), (None, None)]  # a row that failed meets no goal
    assert made["failures"] == [
        "tests: spec cases through CUDA: 1 tests failed", "memory: layer norm: wrong answer: error nan",
    ]  # fmt: skip


def test_without_a_copy_there_is_no_ceiling() -> None:
    given = rows_of_a_run()
    del given["parts"]["ceilings"]
    made = report.finish(given)
    product = made["parts"]["gemm"]["rows"][0]
    assert "ratio_to_ceiling" not in product and "ratio_to_peer" in product
    assert made["goals"][1]["measured"] == 0.0


def test_json_is_strict_and_knows_no_paths(tmp_path: Path) -> None:
    path = tmp_path / "new" / "gpu.json"
    documents.write(report.finish(rows_of_a_run()), path)
    text = path.read_text()

    def refuse(word: str) -> None:
        raise AssertionError(word)

    back = json.loads(text, parse_constant=refuse)
    assert back["parts"]["memory"]["rows"][1]["error"] is None
    assert str(ROOT) not in text and back["parts"]["tests"]["rows"][0]["tail"] == "tests/x.py:1: assert"
    assert {"device", "date", "libraries", "python", "cuda_driver_api"} <= set(back["facts"])
    assert [p.name for p in path.parent.iterdir()] == ["gpu.json"]


@pytest.mark.parametrize("width", [200, 80])
def test_the_tables_say_it_all(width: int) -> None:
    made = report.finish(rows_of_a_run())
    made["parts"]["gemm"]["left_out"] = ["x", "y"]
    made["parts"]["gemm"]["notes"] = ["a note"]
    file = io.StringIO()
    report.show(made, Console(file=file, width=width, highlight=False))
    text = " ".join(file.getvalue().split())
    for words in ("75%", "note: a note", "left out, as time was up: 2 rows", "0%: NOT met", "not measured",
                  "FAILED memory: layer norm: wrong answer: error nan"):  # fmt: skip
        assert words in text, words
    if width == 200:
        for words in ("2 ms ±10.0% 600 TFLOP/s", "cuBLAS 1.6 ms 750 TFLOP/s", "3333 GB/s", "3200/s", "gemm/hopper",
                      "PyTorch not timed: RuntimeError: none"):  # fmt: skip
            assert words in text, words


def test_slugs() -> None:
    assert documents.slug("NVIDIA H200 (144 GB)") == "nvidia_h200_144_gb" and documents.slug("/../") == "unknown"


# ---- all together -------------------------------------------------------------------------------------
def test_a_whole_run_on_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The executor stands in for the GPU, in this process: rows, journal, document and tables fit each other."""
    backend = HostCudaBackend()
    if problems := backend.problems():
        pytest.skip("the CUDA sources cannot run on this host: " + " ".join(problems))
    from benchmarks.gpu_parts import kernels

    def rows(bench: Bench, deadline: float) -> Any:
        yield "softmax", lambda: kernels.softmax(bench, "fp32", 5, 33)
        yield "broken", lambda: kernels.softmax(bench, "fp99", 5, 33)

    def in_process(part: str, command: list[str], journal: Path, deadline: float, quiet: float) -> dict[str, Any]:
        assert command[2:4] == ["--child", part] and deadline == math.inf
        bench = Bench(backend.open(0), seconds=0.001)
        kept = Journal(journal, part)
        assert parts.run(part, bench, kept, deadline, rows) == 0
        return runner.collect(kept.read())

    monkeypatch.setattr(registry, "all_backends", lambda: {"cuda": backend})
    monkeypatch.setattr(runner, "run_part", in_process)
    out = tmp_path / "gpu.json"
    assert gpu.main(["--only", "memory", "--output", str(out)]) == 1
    made = json.loads(out.read_text())
    assert list(made["parts"]) == ["ceilings", "memory"]
    assert made["facts"]["device"].startswith("CUDA sources on the host")
    assert made["failures"] == ["ceilings: broken: KeyError: 'fp99'", "memory: broken: KeyError: 'fp99'"]
    assert made["parts"]["memory"]["rows"][0]["gbps"]["a1400"] > 0
    printed = capsys.readouterr().out
    assert "FAILED memory: broken: KeyError: 'fp99'" in printed and str(out) in printed
    assert gpu.main(["--device", "cuda:9"]) == 2


def test_whole_models_small(tmp_path: Path) -> None:
    """On any OpenCL device: PyTorch's network and the exported file have the same weights, and agree."""
    from benchmarks.gpu_parts import models

    found = registry.all_backends()["opencl"].devices()
    if not found:
        pytest.skip("no OpenCL device is here")
    bench = Bench(registry.all_backends()["opencl"].open(found[0].index), seconds=0.001)
    for name, batch, precision in (("unet", 1, "fp32"), ("bert", 3, "fp16")):
        row = models.network(bench, name, "small", batch, precision)
        assert "failure" not in row, row["failure"]
        assert 0 < row["error"] < row["tolerance"] and row["batch"] == batch
        assert set(row["seconds"]) == {"a1400"} and row["per_second"]["a1400"] > 0 and row["launches"] > 5
        assert row["hot"][0]["seconds"] >= row["hot"][1]["seconds"] > 0
        assert "PyTorch" in row["not_timed"] and "ONNX Runtime CUDA" in row["not_timed"]
