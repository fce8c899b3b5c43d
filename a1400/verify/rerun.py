"""Run the launch of a repro file once more and judge it as it was judged before."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from a1400.backends.base import Device
from a1400.errors import A1400Error
from a1400.kernels.accuracy import compare, figures
from a1400.kernels.launches import Finding, LoadedLaunch, repeated
from a1400.verify.judge import failed, judged
from a1400.verify.repro import Repro, parse, read
from a1400.verify.results import PASS, Result
from a1400.verify.worker import Tell


def blank(content: dict[str, Any]) -> Result:
    """A result that names what the file names, with nothing found yet; texts of the file are cut to a sane length."""
    told = content.get("failure")
    failure = told if isinstance(told, dict) else {}

    def text(name: str) -> str:
        return str(failure.get(name, ""))[:300]

    mode = str(content.get("mode"))[:20]
    return Result(text("subject") or str(content.get("name"))[:300], text("variant"), text("case"), mode, PASS,
                  node=text("node"))  # fmt: skip


def rerun(device: Device, job: dict[str, Any], tell: Tell) -> None:
    """A worker's task: the file named in the job, on ``device``."""
    content = read(Path(job["file"]))
    repro, result = parse(content), blank(content)
    tell({"total": 1})
    tell({"begin": 0, "check": vars(result)})
    start = time.perf_counter()
    try:
        findings, error, ulps = run(repro, device)
        result = judged(result, findings, error, ulps)
    except A1400Error as problem:
        result = failed(result, problem)
    result.seconds = time.perf_counter() - start
    tell({"result": vars(result)})


def run(repro: Repro, device: Device) -> tuple[list[Finding], float | None, float | None]:
    """What the launch breaks now, and how far its outputs are off."""
    loaded = LoadedLaunch(repro.launch, device)
    if repro.mode == "repeat":
        return repeated(loaded, max(repro.runs, 2))[1], None, None
    left = loaded.run()
    error = ulps = 0.0
    for name, expected in repro.expected.items():
        got = left.outputs[name]
        if message := compare(got, expected, repro.tolerance[name], repro.mode == "exact"):
            left.findings.append(Finding("values", f"{name}: {message}"))
        off = figures(got, expected)
        error, ulps = max(error, off[0]), max(ulps, off[1])
    return left.findings, error, ulps
