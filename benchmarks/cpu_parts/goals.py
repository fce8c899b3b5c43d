"""What the project asks of its CPU default, and whether a run shows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.cpu_parts.engines import BASE

INTEL, POCL = "a1400-intel", "a1400-pocl"
Rows = Mapping[str, Mapping[str, Any]]

#: model -> least ratio to ONNX Runtime
LEAST = {
    "resnet18": 1.5, "yolo": 1.5, "unet": 2.0, "swin_tiny": 1.3, "segformer_b0": 1.3, "regnet_y_1_6gf": 1.3,
    "speech_lstm": 1.3, "speech_gru": 1.3, "bert_base": 1.1, "minilm": 1.1, "distilbert": 1.1, "vit_b16": 1.1,
    "fsrcnn": 3.0, "tutorial_mnist": 1.0, "tutorial_cifar": 1.0,
}  # fmt: skip
ACCURACY = 1e-4


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of no values."""
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ratios(rows: Rows, engine: str, other: str) -> dict[str, float]:
    """Model -> time of ``other`` over time of ``engine`` where both were measured."""
    found = {name: row["engines"].get(engine, {}).get("ratios", {}).get(other) for name, row in rows.items()}
    return {name: value for name, value in found.items() if value is not None}


def means(rows: Rows, engines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Engine -> its geometric mean of ratios to ONNX Runtime, over how many models, and the lowest."""
    made = {}
    for engine in engines:
        found = ratios(rows, engine, BASE)
        if found:
            lowest = min(found, key=lambda name: found[name])
            made[engine] = {"mean": geometric_mean(found.values()), "models": len(found), "lowest": found[lowest],
                            "lowest_model": lowest}  # fmt: skip
    return made


def check(rows: Rows) -> list[dict[str, Any]]:
    """Each goal with what was measured (None: it was not) and whether it is met."""
    made: list[dict[str, Any]] = []

    def goal(text: str, bound: float, value: float | None, unit: str = "x", most: bool = False, of: str = "") -> None:
        met = None if value is None else value <= bound if most else value >= bound
        made.append({"goal": text, "most" if most else "least": bound, "unit": unit, "measured": value, "of": of,
                     "met": met})  # fmt: skip

    def worst(found: Mapping[str, float], pick: Callable[..., str] = min) -> tuple[float | None, str]:
        name = pick(found, key=lambda n: found[n]) if found else None
        return (found[name], name) if name is not None else (None, "")

    base = ratios(rows, INTEL, BASE)
    goal("geometric mean, of ONNX Runtime's speed", 1.25, geometric_mean(base.values()))
    value, name = worst(base)
    goal("slowest model, of ONNX Runtime's speed", 0.95, value, of=name)
    for name, bound in LEAST.items():
        if name in rows:
            goal(f"{rows[name]['title']}, of ONNX Runtime's speed", bound, base.get(name))
    pocl = ratios(rows, POCL, INTEL)
    goal("PoCL, geometric mean of the speed on Intel's runtime", 1 / 1.2, geometric_mean(pocl.values()))
    goal("geometric mean, of OpenVINO's speed", 1.0, geometric_mean(ratios(rows, INTEL, "openvino").values()))
    for other, title in (("torch", "PyTorch eager's"), ("tinygrad", "tinygrad's")):
        value, name = worst(ratios(rows, INTEL, other))
        goal(f"slowest model, of {title} speed", 1.0, value, of=name)
    made += _starts(rows.get("resnet50", {}).get("engines", {}))
    for engine, title in ((INTEL, "Intel"), (POCL, "PoCL")):
        errors = {n: e for n, row in rows.items() if (e := _error(row["engines"].get(engine, {}))) is not None}
        value, name = worst(errors, max)
        goal(f"largest error on {title}, of the output's scale", ACCURACY, value, "", True, name)
    return made


def _starts(cells: Mapping[str, Any]) -> list[dict[str, Any]]:
    ours, theirs = cells.get(INTEL, {}), cells.get(BASE, {})
    made = []
    for kind, bound in (("warm", 1.0), ("cold", 8.0)):
        value = ready(ours, kind)
        made.append({"goal": f"ResNet-50 ready, {kind} start", "most": bound, "unit": "s", "measured": value, "of": "",
                     "met": None if value is None else value < bound})  # fmt: skip
    value = ours["peak_memory"] / theirs["peak_memory"] if "median" in ours and theirs.get("peak_memory") else None
    made.append({"goal": "ResNet-50's peak memory, of ONNX Runtime's", "most": 1.2, "unit": "x", "measured": value,
                 "of": "", "met": None if value is None else value <= 1.2})  # fmt: skip
    return made


def ready(cell: Mapping[str, Any], kind: str) -> float | None:
    """Seconds from the call that loads to the first answer; None where that start was not measured."""
    start = cell.get("start", {}).get(kind)
    return start["load"] + start["first_run"] if start else None


def _error(cell: Mapping[str, Any]) -> float | None:
    """The distance from float64 where known, else from ONNX Runtime."""
    return cell.get("error_reference", cell.get("error"))
