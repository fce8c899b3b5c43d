"""Run a case on a device and compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import ml_dtypes
import numpy as np

from a1400.backends.base import Device
from a1400.backends.registry import all_backends, find
from a1400.engine.model import Model
from a1400.errors import UnsupportedOpError
from a1400.frontends.onnx import load_onnx
from tests.onnx_sweep.case import HALVES, Draw, Node, Sweep, Tolerance, model_of, sweeps
from tests.onnx_sweep.references import NoReferenceError, expected


@dataclass(frozen=True)
class Outcome:
    """What became of a case; ``error`` is the largest difference as a share of what is allowed."""

    operator: str
    number: int
    type: str
    status: str  # passed, wrong, failed, no reference
    error: float
    text: str
    reference: str
    what: str
    seconds: float
    doubt: str = ""


def run_cases(operator: str, numbers: Sequence[int], device: str) -> list[Outcome]:
    """The cases ``numbers`` of ``operator`` on the device of that id, which stays open in this process."""
    return [run_case(sweeps()[operator], number, _opened(device)) for number in numbers]


@cache
def _opened(device: str) -> Device:
    info = find(None, device)
    return all_backends()[info.backend].open(info.index)


def run_case(declared: Sweep, number: int, device: Device) -> Outcome:
    """Draw case ``number``, run it on ``device`` and compare with the reference."""
    began = time.perf_counter()
    draw = Draw(declared, number)
    node = declared.make(draw)
    what = describe(draw, node)

    def outcome(status: str, error: float = 0.0, text: str = "", reference: str = "") -> Outcome:
        seconds = time.perf_counter() - began
        return Outcome(declared.operator, number, draw.type, status, error, text, reference, what, seconds, node.doubt)

    try:
        wanted, reference = expected(declared, draw, node)
    except NoReferenceError as error:
        return outcome("no reference", text=str(error))
    model, feeds = model_of(declared, draw, node)
    try:
        got = list(Model(load_onnx(model.SerializeToString()), device).run(feeds).values())
    except UnsupportedOpError as error:
        return outcome("failed", text=f"unsupported: {error}", reference=reference)
    except Exception as error:
        return outcome("failed", text=f"{type(error).__name__}: {error}", reference=reference)
    worst = 0.0
    for index, (have, want) in enumerate(zip(got, wanted)):
        error, text = compare(np.asarray(have), np.asarray(want), declared.tolerance, node.scale)
        if text:
            return outcome("wrong", error, f"output {index}: {text}", reference)
        worst = max(worst, error)
    return outcome("passed", worst, reference=reference)


def compare(have: np.ndarray, want: np.ndarray, tolerance: Tolerance, scale: float) -> tuple[float, str]:
    """The largest difference as a share of what is allowed, and what is wrong ("": nothing)."""
    if have.shape != want.shape:
        return np.inf, f"shape {list(have.shape)}, not {list(want.shape)}"
    if have.dtype != want.dtype:
        if want.dtype != np.float32 or have.dtype not in (*HALVES, np.float64):
            return np.inf, f"{have.dtype}, not {want.dtype}"
        with np.errstate(all="ignore"):
            want, have = (want.astype(have.dtype), have) if have.dtype in HALVES else (want, have.astype(np.float32))
    if not have.size:
        return 0.0, ""
    if have.dtype.kind in "biuOUS":
        if have.dtype.kind in "OUS" or tolerance.steps == 0:
            off = (have != want).astype(float)
            worst = np.inf if off.any() else 0.0
        else:
            off = np.abs(have.astype(np.float64) - want.astype(np.float64)) / tolerance.steps
            worst = float(off.max())
    else:
        info = ml_dtypes.finfo(have.dtype)
        eps, rel, summed = float(info.eps), tolerance.rel, float(info.eps)
        if have.dtype in HALVES:
            rel, summed = tolerance.half, float(np.finfo(np.float32).eps)
        of_half = eps * tolerance.half_abs if have.dtype in HALVES else 0.0
        a, b = have.astype(np.float64), want.astype(np.float64)
        with np.errstate(all="ignore"):
            allowed = eps * rel * np.abs(b) + (summed * tolerance.abs + of_half) * scale
            allowed = np.maximum(allowed, float(info.tiny))  # denormal numbers may be flushed to zero
            off = np.abs(a - b) / allowed
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            near = float(info.max) * (1 - 64 * eps)  # may round to infinity here and not there
            same |= (np.abs(a) >= near) & (np.abs(b) >= near) & (np.sign(a) == np.sign(b))
            off = np.where(same, 0.0, np.where(np.isfinite(off), off, np.inf))
        worst = float(off.max())
    if worst <= 1.0:
        return worst, ""
    where = np.unravel_index(int(np.argmax(off)), off.shape)
    count = int((off > 1).sum())
    place = [int(i) for i in where]
    return (
        worst,
        f"{count} of {have.size} differ, most at {place}: {have[where]!r}, not {want[where]!r} ({worst:.3g} x allowed)",
    )


def describe(draw: Draw, node: Node) -> str:
    """The case in a line."""
    parts = []
    for index, array in enumerate(node.inputs):
        if array is None:
            parts.append("-")
            continue
        array = np.asarray(array)
        text = f"{array.dtype.name}{list(array.shape)}"
        if 0 < array.size <= 6 and array.dtype.kind in "iu":
            text += f"={array.tolist()}"
        parts.append(text + ("*" if index in node.constants else ""))
    attrs = ", ".join(f"{k}={v!r}" for k, v in node.attrs.items() if v is not None)
    return f"{draw.operator}-{draw.opset}({', '.join(parts)}{'; ' if attrs else ''}{attrs})"
