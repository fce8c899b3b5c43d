"""Run the failure in a repro file again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from a1400.errors import BackendNotFoundError, InputError
from a1400.verify import repro
from a1400.verify.campaign import Campaign, Options, Watcher, new_report
from a1400.verify.find import Found
from a1400.verify.models import Asked, Settings, sum_of, verify_model
from a1400.verify.results import MODES, Report
from a1400.verify.worker import info_to_json


def where_to_run(content: Mapping[str, Any], found: Sequence[Found], named: bool) -> list[Found]:
    """The device that the file names, else every device of its language; devices ``named`` by the user are kept.

    Raises :class:`BackendNotFoundError` where none compiles the file's language.
    """
    language = content.get("language")
    fit = [f for f in found if f.info.backend == language]
    if not fit:
        raise BackendNotFoundError(f"no device here runs the repro file's language, {str(language)[:40]!r}")
    device = content.get("device")
    key = device.get("key") if isinstance(device, dict) else None
    same = [f for f in fit if f.info.key == key]
    return same[:1] if same and not named else fit


def run_again(
    file: Path, content: Mapping[str, Any], model: Path | None, devices: Sequence[Found], options: Options,
    watcher: Watcher,
) -> Report:  # fmt: skip
    """The file's launch (or, of a model's file, ``model`` on the file's inputs) on each device."""
    if content.get("kind") == "model":
        return _model_again(content, model, devices, options, watcher)
    repro.parse(content)  # what is wrong with the file is said before any process is started
    report = new_report()
    for found in devices:
        local = {**info_to_json(found.info), "index": found.index}
        job = found.job("rerun", options.plugins, info=info_to_json(found.info), local=local, file=str(file))
        campaign = Campaign(found, options, watcher, job)
        campaign.go()
        for result in campaign.run.results:
            result.repro = "" if result.passed else str(file)
            if not result.passed:
                result.message = f"still fails: {result.message}"
        report.runs.append(campaign.run)
    return report


def _model_again(
    content: Mapping[str, Any], model: Path | None, devices: Sequence[Found], options: Options, watcher: Watcher
) -> Report:
    name = str(content.get("model"))[:200]
    if model is None:  # a file must not choose what is opened
        raise InputError(f"this failure is of the model {name!r}: give the model too, a1400 verify MODEL --repro FILE")
    if not model.is_file():
        raise InputError(f"model file {model} does not exist")
    digest = sum_of(model)
    disable, precision = content.get("disable"), content.get("precision")
    if not isinstance(disable, list) or not (precision is None or isinstance(precision, str)):
        raise InputError("the repro file's disable and precision are not a list and a name")
    settings = Settings(disable=tuple(map(str, disable)), precision=precision)
    mode = content.get("mode")
    asked = Asked(model, settings, [("as in the repro file", "repro file", repro.parse_feeds(content))], [], digest)
    report = verify_model(asked, devices, replace(options, modes=tuple(m for m in MODES if m == mode)), watcher)
    if digest != content.get("model_sha256"):
        report.notes.append(f"{model} is not the file that failed: its SHA-256 differs")
    return report
