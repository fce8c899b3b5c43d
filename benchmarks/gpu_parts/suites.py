"""The test suite on the GPU: through CUDA, through NVIDIA's own OpenCL, and under compute-sanitizer."""

from __future__ import annotations

import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from a1400.backends import registry
from benchmarks.gpu_parts.bench import Bench, Row

ROOT = Path(__file__).resolve().parents[2]
SUITES = {
    "spec cases": ("tests/kernels/test_conformance.py",),
    "engine": ("tests/engine",),
    "models": ("tests/models",),
}
_MOST_NAMES = 50


def cuda_rows(bench: Bench, deadline: float) -> Iterator[Row]:
    """The suites on the CUDA device."""
    yield from _rows(bench, "CUDA", bench.device.info.id, deadline)


def opencl_rows(bench: Bench, deadline: float) -> Iterator[Row]:
    """The suites on NVIDIA's OpenCL, where PyOpenCL and the driver's ICD are."""
    backend = registry.all_backends()["opencl"]
    found = [info for info in backend.devices() if "nvidia" in info.vendor.lower()]
    if not found:
        reasons = backend.problems() or ["no OpenCL platform of NVIDIA's is registered"]
        bench.notes.append(f"OpenCL is left out: {reasons[0]}")
    for info in found[:1]:
        yield from _rows(bench, "NVIDIA's OpenCL", info.id, deadline)


def _rows(bench: Bench, what: str, device: str, deadline: float) -> Iterator[Row]:
    if find_spec("pytest") is None:
        bench.notes.append("tests are left out: pytest is not installed")
        return
    for suite, paths in SUITES.items():
        yield f"{suite} through {what}", lambda p=paths: run_pytest(p, device, deadline)


def run_pytest(
    paths: Sequence[str], device: str, deadline: float, before: Sequence[str] = (), extra: Sequence[str] = ()
) -> dict[str, Any]:
    """Run tests on one device in a process of its own; counts, and the names of those that failed."""
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "results.xml"
        command = [*before, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={xml}"]
        environment = {**os.environ, "A1400_TEST_DEVICES": device, "PYTHONPATH": _path()}
        done, timed_out, seconds = run_command([*command, *extra, *paths], environment, deadline)
        row: dict[str, Any] = {"status": done.returncode, "wall": seconds}
        row |= junit(xml.read_bytes() if xml.is_file() else b"")
    if timed_out:
        row["failure"] = f"stopped after {seconds:.0f} s: time was up"
    elif row["failed"]:
        row["failure"] = f"{row['failed']} tests failed"
    elif done.returncode or not row["passed"]:
        row["failure"] = f"pytest ended with status {done.returncode} and {row['passed']} tests passed"
    if "failure" in row:
        row["tail"] = done.stdout[-2000:]
    row["output"] = done.stdout
    return row


def run_command(
    command: Sequence[str], environment: dict[str, str], deadline: float
) -> tuple[subprocess.CompletedProcess[str], bool, float]:
    """Run ``command`` with its children until ``deadline``; its output, whether it was stopped, and seconds."""
    begin = time.time()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", start_new_session=True,
    )  # fmt: skip
    timed_out = False
    try:
        output, _ = process.communicate(timeout=None if math.isinf(deadline) else max(1.0, deadline - begin))
    except subprocess.TimeoutExpired:
        timed_out = True
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
    return subprocess.CompletedProcess(command, process.returncode, output), timed_out, time.time() - begin


def _path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))


def junit(data: bytes) -> dict[str, Any]:
    """Counts of a report in JUnit's format, and which tests failed."""
    counts: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "failed_names": []}
    if not data:
        return counts
    for case in ElementTree.fromstring(data).iter("testcase"):
        kinds = {child.tag for child in case}
        if kinds & {"failure", "error"}:
            counts["failed"] += 1
            if len(counts["failed_names"]) < _MOST_NAMES:
                counts["failed_names"].append(f"{case.get('classname', '')}::{case.get('name', '')}")
        else:
            counts["skipped" if "skipped" in kinds else "passed"] += 1
    return counts


def sanitizer_rows(bench: Bench, deadline: float) -> Iterator[Row]:
    """The spec cases under compute-sanitizer."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        bench.notes.append("compute-sanitizer is left out: it is not on the path")
        return
    for check in ("memcheck", "racecheck"):
        yield f"spec cases under {check}", lambda c=check: sanitize(str(tool), c, bench.device.info.id, deadline)


def sanitize(tool: str, check: str, device: str, deadline: float) -> dict[str, Any]:
    """The spec cases under one of compute-sanitizer's tools; clean means that it reports no errors."""
    before = (tool, "--tool", check, "--error-exitcode", "99", "--target-processes", "all")
    row = run_pytest(SUITES["spec cases"], device, deadline, before)
    summaries = [int(n) for n in re.findall(r"ERROR SUMMARY: (\d+) error", row["output"])]
    summaries += [int(n) for n in re.findall(r"RACECHECK SUMMARY: (\d+) hazard", row["output"])]
    row["reported"] = sum(summaries) if summaries else None
    if row["reported"]:
        row["failure"] = f"{check} reports {row['reported']} errors"
    elif row["reported"] is None and "failure" not in row:
        row["failure"] = f"{check} printed no summary"
    return row
