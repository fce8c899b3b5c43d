"""The parent's side of a model: its inputs, its reference in a process of its own, then every device."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from a1400.errors import A1400Error, InputError
from a1400.verify.arrays import save_arrays
from a1400.verify.campaign import Campaign, Options, Watcher, new_report
from a1400.verify.child import run_child
from a1400.verify.find import Found
from a1400.verify.results import Report
from a1400.verify.worker import info_to_json

#: how often longer a step on the host may take than a check on a device
_PATIENCE = 20


@dataclass(frozen=True)
class Settings:
    """How a model is run: seed of random inputs, sizes of symbolic dimensions, whole shapes, passes left out."""

    seed: int = 0
    dims: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    disable: tuple[str, ...] = ()
    precision: str | None = None


@dataclass
class Asked:
    """A model with everything that is decided before any device: its inputs by label, and remarks on them."""

    path: Path
    settings: Settings
    feeds: list[tuple[str, str, dict[str, np.ndarray]]]
    notes: list[str]
    sha256: str


def prepare_model(path: Path, items: Sequence[str], settings: Settings) -> Asked:
    """Read the model far enough to make its inputs: from files, else random with the settings' seed.

    Raises the front-end's errors for a model that cannot be read, :class:`InputError` or a usage error for its inputs.
    """
    from a1400.cli import inputs
    from a1400.frontends.onnx import load_onnx
    from a1400.optimizer import PASSES
    from a1400.optimizer.precision import PRECISIONS

    if unknown := [name for name in settings.disable if name not in PASSES]:
        raise InputError(f"there is no optimizer pass {', '.join(unknown)}; the passes are {', '.join(PASSES)}")
    if settings.precision not in (None, *PRECISIONS):
        raise InputError(f"there is no precision {settings.precision!r}; choose one of {', '.join(PRECISIONS)}")
    source = load_onnx(path)
    inputs.check_names(source.inputs, settings.dims, settings.shapes)
    digest = sum_of(path)
    if not items:
        notes: list[str] = []
        arrays = inputs.random_inputs(source.inputs, settings.dims, settings.shapes, notes, settings.seed)
        label = f"random, seed {settings.seed}"
        return Asked(path, settings, [(label, label, arrays)], notes, digest)
    given = inputs.gather(source.inputs, items, inputs.Reading.of(source), settings.dims, settings.shapes)
    feeds = [(", ".join(feed.labels), "given as files", feed.arrays) for feed in given.feeds]
    for _, _, arrays in feeds:
        _check(source.inputs, arrays)
    return Asked(path, settings, feeds, given.notes, digest)


def sum_of(path: Path) -> str:
    """SHA-256 of the model file."""
    state = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def _check(declared: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse what the engine would, before any process is started."""
    for name, info in declared.items():
        if not info.is_plain:
            raise InputError(f"input {name!r} is no tensor of numbers; verify checks models that take nothing else")
        if arrays[name].dtype != info.dtype:
            raise InputError(f"input {name!r} is {arrays[name].dtype}, the model needs {info.dtype}")
        if not info.accepts(arrays[name].shape):
            raise InputError(f"input {name!r} has shape {list(arrays[name].shape)}; the model takes {info}")


def verify_model(asked: Asked, devices: Sequence[Found], options: Options, watcher: Watcher) -> Report:
    """The model on each device against float64; raises :class:`A1400Error` where there can be no reference."""
    report = new_report(str(asked.path))
    report.notes.append("mode exact does not apply to a model: its weights are no small integers")
    if not set(options.modes) & {"close", "repeat"}:
        raise A1400Error("a model is checked in the modes close and repeat; exact does not apply to it")
    with tempfile.TemporaryDirectory(prefix="a1400-verify-") as folder:
        job = _job(asked, options, Path(folder))
        _reference(job, options, report)
        for found in devices:
            local = {**info_to_json(found.info), "index": found.index}
            own = found.job("model", options.plugins, info=info_to_json(found.info), local=local, **job)
            campaign = Campaign(found, options, watcher, own)
            campaign.go()
            report.runs.append(campaign.run)
    return report


def _job(asked: Asked, options: Options, folder: Path) -> dict[str, Any]:
    feeds = []
    for number, (label, origin, arrays) in enumerate(asked.feeds):
        file, expected = folder / f"feed{number}", folder / f"expected{number}"
        feeds.append({
            "label": label, "origin": origin, "file": str(file), "arrays": save_arrays(file, arrays),
            "expected_file": str(expected), "expected": [],
        })  # fmt: skip
    return {
        "model": str(asked.path), "subject": asked.path.name, "sha256": asked.sha256, "feeds": feeds, "kind": "f32",
        "disable": list(asked.settings.disable), "precision": asked.settings.precision,
        "modes": list(options.modes), "repro_dir": str(options.repro_dir),
    }  # fmt: skip


def _reference(job: dict[str, Any], options: Options, report: Report) -> None:
    """Fill in the expected outputs' descriptions; says how long the reference took."""

    def hear(message: dict[str, Any]) -> None:
        if "reference" in message:
            job["feeds"][message["reference"]]["expected"] = message["arrays"]
            job["kind"] = message["kind"]
            report.notes.append(
                f"float64 reference of {message['nodes']} nodes in {message['seconds']:.1f} s; "
                f"outputs are judged as {job['kind']}"
            )

    ending = run_child({**job, "task": "reference", "plugins": []}, os.environ, options.timeout * _PATIENCE, hear)
    if ending.how != "done":
        raise A1400Error(
            ending.detail if ending.how == "failed" else f"there is no float64 reference of the model: {ending.detail}"
        )
