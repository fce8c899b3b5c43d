"""The kernels' own cases on one device: which checks there are, running one, and writing down one that fails."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

import a1400
from a1400 import dtypes
from a1400.backends.base import Device, DeviceInfo
from a1400.errors import A1400Error
from a1400.kernels import load_all
from a1400.kernels.check import SEED, Outcome, Prepared, can_run, launch_data, modes, prepare, run_prepared, tolerance
from a1400.kernels.spec import Case, KernelSpec, Variant
from a1400.tuning import settings_to_verify
from a1400.verify import repro
from a1400.verify.judge import failed, judged
from a1400.verify.results import PASS, Result
from a1400.verify.worker import Tell, info_from_json

RUNS = 10
#: cases of each variant that ``quick`` keeps
QUICK = 2
_RULE = (
    "inputs: numpy.random.default_rng(seed), array after array in the order of the arguments, then, in exact mode, the "
    "slots' operands; small integers in exact mode, uniform otherwise; the values themselves are in the arguments"
)


@dataclass(frozen=True)
class Check:
    """One case of one variant with certain tunables in one mode; ``number`` is its place among all."""

    number: int
    spec: KernelSpec
    variant: Variant
    case: Case
    tunables: dict[str, int]
    mode: str

    @property
    def exact(self) -> bool:
        """Whether its data is small integers."""
        return self.mode == "exact"

    def blank(self) -> Result:
        """Its result before anything was found."""
        types = {name: dtypes.short(dtype) for name, dtype in self.case.types.items()}
        return Result(
            self.spec.name, self.variant.name, self.case.name, self.mode, PASS, dict(self.tunables), types
        )  # fmt: skip


def matches(patterns: list[str], spec: KernelSpec) -> bool:
    """Whether a kernel is asked for: no pattern asks for all."""
    return not patterns or any(fnmatchcase(spec.name, pattern) for pattern in patterns)


def checks(info: DeviceInfo, job: dict[str, Any]) -> tuple[list[Check], int]:
    """Every check that the job wants and ``info`` can run, always in the same order; and how many ``quick`` left out.

    Checks on the same data stand together, so that data and reference answer are made once.
    """
    found: list[Check] = []
    left_out = 0
    for spec, case, index, variant in _runnable(info, job["kernels"]):
        for tunables in settings_to_verify(spec, variant, info):
            if variant.fit(info, case.types, case.scalars, tunables) is None:
                continue
            wanted = [*(("exact",) if True in modes(spec, case) else ()), "close", "repeat"]
            for mode in (m for m in wanted if m in job["modes"]):
                if job["quick"] and index >= QUICK:
                    left_out += 1
                else:
                    found.append(Check(len(found), spec, variant, case, tunables, mode))
    return found, left_out


def _runnable(info: DeviceInfo, patterns: list[str]) -> Iterator[tuple[KernelSpec, Case, int, Variant]]:
    for spec in load_all().values():
        if not matches(patterns, spec):
            continue
        seen: dict[str, int] = {}
        for case in spec.cases():
            for variant in spec.variants:
                if can_run(spec, variant, case, info):
                    index = seen.get(variant.name, 0)
                    seen[variant.name] = index + 1
                    yield spec, case, index, variant


class _Data:
    """The data of the case at hand, in both forms; checks come case by case."""

    def __init__(self) -> None:
        self._case: Case | None = None
        self._made: dict[bool, Prepared] = {}

    def of(self, check: Check) -> Prepared:
        if check.case is not self._case:
            self._case, self._made = check.case, {}
        if check.exact not in self._made:
            self._made[check.exact] = prepare(check.spec, check.case, check.exact)
        return self._made[check.exact]


def run_checks(device: Device, job: dict[str, Any], tell: Tell) -> None:
    """A worker's task: all checks from ``job["start"]`` on, without the variants in ``job["skip"]``.

    ``job["info"]`` describes the device as the user knows it; failures are written to ``job["repro_dir"]``.
    """
    info = info_from_json(job["info"])
    wanted, left_out = checks(device.info, job)
    tell({"total": len(wanted), "left_out": left_out})
    data = _Data()
    skip = set(job["skip"])
    for check in wanted[job["start"] :]:
        if f"{check.spec.name}/{check.variant.name}" in skip:
            tell({"skipped": check.number})
            continue
        tell({"begin": check.number, "check": vars(check.blank())})
        start = time.perf_counter()
        result, digest = _run(check, data, device)
        result.seconds = time.perf_counter() - start
        if not result.passed:
            _write(check, data, info, device.info, result, Path(job["repro_dir"]))
        tell({"result": vars(result), "number": check.number, "digest": digest})


def _run(check: Check, data: _Data, device: Device) -> tuple[Result, str]:
    try:
        prepared = data.of(check)
        runs = RUNS if check.mode == "repeat" else 1
        outcome = run_prepared(check.variant, prepared, device, check.tunables, runs)
    except Exception as error:  # the driver's, or of a spec that does not hold together: found either way
        return failed(check.blank(), error), ""
    return judged(check.blank(), outcome.findings, outcome.error, outcome.ulps), _digest(outcome) if check.exact else ""


def _write(
    check: Check, data: _Data, info: DeviceInfo, local: DeviceInfo, result: Result, folder: Path
) -> None:  # fmt: skip
    try:
        result.repro = repro.write(folder, info, result, _content(check, data.of(check), info, local, result))
    except A1400Error:
        raise  # the folder cannot be written
    except Exception as error:
        result.message += f" (and there is no launch to write down: {type(error).__name__}: {error})"


def _digest(outcome: Outcome) -> str:
    """Of all outputs; one zero and one NaN, since a comparison knows only one."""
    state = hashlib.sha256()
    for name, array in sorted(outcome.outputs.items()):
        plain = array
        if dtypes.is_float(array.dtype):
            plain = np.where(np.isnan(array), np.float64(np.nan), array.astype(np.float64) + 0.0)
        state.update(name.encode() + np.ascontiguousarray(plain).tobytes())
    return state.hexdigest()


def describe(info: DeviceInfo, job: dict[str, Any]) -> dict[str, Any]:
    """A worker's task: the repro file's content of a check that ended its process; touches no device."""
    number = job["number"]
    check = checks(info_from_json(job["local"]), job)[0][number]
    return _content(check, _Data().of(check), info, info_from_json(job["local"]), Result(**job["result"]))


def _content(check: Check, prepared: Prepared, info: DeviceInfo, local: DeviceInfo, result: Result) -> dict[str, Any]:
    data = launch_data(check.variant, prepared, local, check.tunables)
    written = {b.name: b.array.dtype for b in data.buffers() if b.role != "in"}
    told = repro.Repro(data, check.mode, RUNS)
    if check.mode != "repeat":
        told.expected = {name: np.asarray(prepared.expected[name]) for name in written}
        told.tolerance = {name: tolerance(check.spec, check.variant, dtype) for name, dtype in written.items()}
    told.facts = {
        "kernel": check.spec.name,
        "variant": check.variant.name,
        "case": check.case.name,
        "types": result.types,
        "tunables": check.tunables,
        "scalars": {name: float(v) if isinstance(v, float) else int(v) for name, v in check.case.scalars.items()},
        "slots": {name: code.key for name, (code, _) in check.case.slots.items()},
        "seed": SEED,
        "rule": _RULE,
    }
    return repro.document(told, result, info, a1400.__version__)
