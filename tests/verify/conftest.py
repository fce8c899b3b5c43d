"""Run ``a1400 verify`` in this process (its workers are processes of their own) from the checkout's root."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from typer.testing import CliRunner

from a1400.cli.app import app
from a1400.verify.results import Report

ROOT = Path(__file__).resolve().parents[2]
_FIRST = "the first OpenCL device"


@dataclass
class Done:
    """What a run left: exit status, stdout, stderr, the report, the folder of repro files."""

    status: int
    text: str
    errors: str
    report: Report
    folder: Path


class Verify(Protocol):
    def __call__(self, *arguments: str, device: str | None = _FIRST) -> Done: ...


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> Iterator[Verify]:
    """``verify(*arguments)`` on the first OpenCL device under test, or on ``device``; None names none."""
    from a1400.pytest_plugin import NO_DEVICE, devices

    monkeypatch.chdir(ROOT)
    folder = tmp_path / "repros"
    folder.mkdir()

    def run(*arguments: str, device: str | None = _FIRST) -> Done:
        if device == _FIRST:
            found = [info.id for info in devices(pytestconfig) if info.backend == "opencl"]
            if not found:
                pytest.skip(NO_DEVICE)
            device = found[0]
        report = tmp_path / "report.json"
        report.unlink(missing_ok=True)
        more: list[Any] = ["--repro-dir", folder, "--json", report]
        if device is not None:
            more += ["--device", device]
        result = CliRunner().invoke(app, ["verify", *map(str, [*arguments, *more])])
        told = Report.from_json(report.read_text()) if report.exists() else Report("", "")
        return Done(result.exit_code, result.stdout, result.stderr, told, folder)

    yield run
