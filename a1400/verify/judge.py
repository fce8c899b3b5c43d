"""From what a check did to its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from a1400.errors import A1400Error, DeviceError, DeviceMemoryError, KernelArgumentError, KernelCompileError
from a1400.kernels.launches import Finding
from a1400.verify.results import ERROR, FAIL, PASS, Result

_KINDS: tuple[tuple[type[A1400Error], str], ...] = (
    (KernelCompileError, "compile"),
    (KernelArgumentError, "argument"),
    (DeviceMemoryError, "memory"),
    (DeviceError, "device"),
)
_LONGEST = 1000


def judged(result: Result, findings: Sequence[Finding], error: float | None, ulps: float | None) -> Result:
    """``result`` with what was found: a pass where that is nothing."""
    if not findings:
        return replace(result, outcome=PASS, error=error, ulps=ulps)
    message = "; ".join(f.message for f in findings)[:_LONGEST]
    return replace(result, outcome=FAIL, kind=findings[0].kind, message=message, error=error, ulps=ulps)


def failed(result: Result, error: Exception) -> Result:
    """``result`` of a check that an error ended."""
    kind = next((name for cls, name in _KINDS if isinstance(error, cls)), type(error).__name__)
    return replace(result, outcome=ERROR, kind=kind, message=" ".join(str(error).split())[:_LONGEST])
